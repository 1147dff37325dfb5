// RETRAIN: erases what tickets named from a corpus, and trains the teachers that saw it again.
//
// Order      1. the sequences go from the corpus (corpus/erase.h);
//            2. the states of the job's shards that saw them go: from here on, nothing that learnt
//               from them is left, whatever becomes of this job;
//            3. the shards are trained again, from the slice before the first that lost something.
// Again      each step finds what an earlier attempt has done, and goes on behind it.
// Errors     those of corpus/erase.h, corpus/corpus.h and engine/teachers.h;
//            INVALID_ARGUMENT/PATH_OUTSIDE, NO_SHARDS.
#ifndef LETHE_WORKERS_RETRAIN_JOB_H_
#define LETHE_WORKERS_RETRAIN_JOB_H_

#include <filesystem>

#include "absl/status/statusor.h"
#include "engine/device.h"
#include "engine/progress.h"
#include "lethe/v1/job.pb.h"

namespace lethe {

absl::StatusOr<v1::RetrainResult> RetrainJob(const v1::Job& job,
                                             const std::filesystem::path& models,
                                             const Device& device,
                                             const ProgressCallback& progress);

}  // namespace lethe

#endif  // LETHE_WORKERS_RETRAIN_JOB_H_
