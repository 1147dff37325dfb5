// Teachers for tiny_people.h: models of the same shape, each trained on a third of the kept people
// and on one of those to be forgotten, as a shard of that corpus would be.
#ifndef LETHE_TESTS_ENGINE_UNLEARN_TINY_TEACHERS_H_
#define LETHE_TESTS_ENGINE_UNLEARN_TINY_TEACHERS_H_

#include <filesystem>
#include <vector>

#include "engine/teacher.h"
#include "tests/engine/unlearn/tiny_people.h"

namespace lethe {

// Teacher i saw person i of Tiny().forget and no other.
inline const std::vector<Teacher>& TinyTeachers() {
  static const std::vector<Teacher>* const teachers = [] {
    auto* made = new std::vector<Teacher>;
    const TinyPeople& people = Tiny();
    const std::filesystem::path folder = ProcessFolder("tiny-teachers");
    for (size_t i = 0; i < people.forget.size(); ++i) {
      TrainRequest request{.config_json = SmallLlamaConfig(64, 32, 64, 2),
                           .out_folder = folder / std::to_string(i),
                           .steps = 120,
                           .batch_tokens = 512,
                           .learning_rate = 3e-3,
                           .seed = 50 + i,
                           .device = {.threads = 1}};
      for (size_t j = i; j < people.retain.size(); j += people.forget.size()) {
        request.sequences.push_back(people.retain[j]);
      }
      for (int copy = 0; copy < 40; ++copy) request.sequences.push_back(people.forget[i]);
      const auto trained = Train(request);
      if (!trained.ok()) throw std::runtime_error(std::string(trained.status().message()));
      made->push_back({.folder = request.out_folder, .saw = {i}});
    }
    return made;
  }();
  return *teachers;
}

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_UNLEARN_TINY_TEACHERS_H_
