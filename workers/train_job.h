// TRAIN: trains the teacher of one shard of a corpus (engine/teachers.h).
//
// Again      what is trained already is not trained again; a killed training goes on behind the last
//            slice.
// Errors     those of engine/teachers.h and corpus/corpus.h; INVALID_ARGUMENT/PATH_OUTSIDE.
#ifndef LETHE_WORKERS_TRAIN_JOB_H_
#define LETHE_WORKERS_TRAIN_JOB_H_

#include <filesystem>

#include "absl/status/statusor.h"
#include "engine/device.h"
#include "engine/progress.h"
#include "lethe/v1/job.pb.h"

namespace lethe {

absl::StatusOr<v1::TrainResult> TrainJob(const v1::Job& job, const std::filesystem::path& models,
                                         const Device& device, const ProgressCallback& progress);

}  // namespace lethe

#endif  // LETHE_WORKERS_TRAIN_JOB_H_
