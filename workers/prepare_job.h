// PREPARE: reads a registered Hugging Face folder, copies it under the model folder, tokenises the
// registered sets and measures what unseen text looks like to the model.
//
// Copied     what a loader of safetensors reads. Weights in other formats and training state stay
//            behind: they would keep what the checkpoint is later made to forget.
// Errors     INVALID_ARGUMENT/HOLDOUT_TOO_SMALL; what text/sequence.h says of the sets, with file
//            and line; what engine/prepare.h says of the model; FILE_ERROR, DISK_FULL.
#ifndef LETHE_WORKERS_PREPARE_JOB_H_
#define LETHE_WORKERS_PREPARE_JOB_H_

#include <filesystem>

#include "absl/status/statusor.h"
#include "engine/device.h"
#include "engine/progress.h"
#include "engine/step_options.h"
#include "lethe/v1/job.pb.h"

namespace lethe {

absl::StatusOr<v1::PrepareResult> PrepareJob(const v1::Job& job,
                                             const std::filesystem::path& models,
                                             const Device& device, const StepOptions& steps,
                                             const ProgressCallback& progress);

// False for files that may hold weights or training state beside the safetensors.
bool BelongsToCheckpoint(const std::filesystem::path& file_name);

}  // namespace lethe

#endif  // LETHE_WORKERS_PREPARE_JOB_H_
