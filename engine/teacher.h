// A model that was trained on a part of the data, and what of the text to be forgotten it has seen.
//
//   UnlearnRequest request{.forget = {anna, bert}, .method = "leave_one_out",
//                          .teachers = {{.folder = shard_0, .saw = {0}},     // anna's shard
//                                       {.folder = shard_1, .saw = {1}},     // bert's
//                                       {.folder = shard_2}}};
//
// Saw        a teacher is left out wherever it was trained on the sequence, or on one much like it:
//            what it says there is the memory that is to go. Whoever fills this in knows the data;
//            nobody can check it here.
// Threads    values.
#ifndef LETHE_ENGINE_TEACHER_H_
#define LETHE_ENGINE_TEACHER_H_

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

namespace lethe {

struct Teacher {
  std::filesystem::path folder;  // Hugging Face folder with the student's own tokenizer
  std::string digest;            // checked when not empty; else TEACHER_CHANGED
  std::vector<size_t> saw;       // places in UnlearnRequest.forget
};

}  // namespace lethe

#endif  // LETHE_ENGINE_TEACHER_H_
