// What TRAIN and RETRAIN share: the training of a corpus' teachers as its registration says.
//
//   LETHE_ASSIGN_OR_RETURN(TrainTeachersRequest request, TeacherRequest(corpus, setup, device));
//   LETHE_ASSIGN_OR_RETURN(auto trained, TrainTeachers(corpus, request, progress));
//   LETHE_ASSIGN_OR_RETURN(v1::TeacherResult result, ResultOf(corpus, request, trained[0]));
//
// Recipe     of the registration alone: in fp32, whatever this worker's own options are, so that a
//            state that one worker kept is the one that another looks for.
// Threads    free functions; any.
// Errors     INVALID_ARGUMENT/PATH_OUTSIDE; those of base/file.h.
#ifndef LETHE_WORKERS_TEACHER_TRAINING_H_
#define LETHE_WORKERS_TEACHER_TRAINING_H_

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "corpus/corpus.h"
#include "engine/device.h"
#include "engine/teachers.h"
#include "lethe/v1/job.pb.h"

namespace lethe {

struct TeacherSetup {
  std::filesystem::path teachers_folder, tokenizer_folder;
  v1::TeacherOptions options;

  // Of TrainWork and RetrainWork, which say it alike.
  template <typename Work>
  static absl::StatusOr<TeacherSetup> From(const std::filesystem::path& models, const Work& work);
};

absl::StatusOr<TrainTeachersRequest> TeacherRequest(const Corpus& corpus, const TeacherSetup& setup,
                                                    const Device& device);

absl::StatusOr<v1::TeacherResult> ResultOf(const Corpus& corpus,
                                           const TrainTeachersRequest& request,
                                           const ShardTraining& trained);

// One record of all: steps and seconds together, the seed of the registration, and a digest under
// `digest_key` of what they were trained on. `trained` is not empty.
v1::RunRecord RunOf(const std::vector<ShardTraining>& trained, const TrainTeachersRequest& request,
                    const std::string& digest_key);

}  // namespace lethe

#endif  // LETHE_WORKERS_TEACHER_TRAINING_H_
