// UNLEARN: makes a candidate checkpoint that has forgotten the tickets of a job.
//
// Teachers   of methods that need them: those that the job says are ready, each left out wherever
//            its shard holds the sequence or one much like it (engine/teachers.h). For other methods
//            the corpus is not opened.
// Errors     what engine/unlearn.h says; FILE_ERROR for sets that are not where the job says; of the
//            corpus also those of corpus/corpus.h, SHARD_UNKNOWN, TEACHER_MISSING.
#ifndef LETHE_WORKERS_UNLEARN_JOB_H_
#define LETHE_WORKERS_UNLEARN_JOB_H_

#include <filesystem>

#include "absl/status/statusor.h"
#include "engine/device.h"
#include "engine/progress.h"
#include "engine/step_options.h"
#include "lethe/v1/job.pb.h"

namespace lethe {

absl::StatusOr<v1::UnlearnResult> UnlearnJob(const v1::Job& job,
                                             const std::filesystem::path& models,
                                             const Device& device, const StepOptions& steps,
                                             const ProgressCallback& progress);

}  // namespace lethe

#endif  // LETHE_WORKERS_UNLEARN_JOB_H_
