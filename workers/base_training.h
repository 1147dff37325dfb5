// The training of the deployed model itself on its corpus: BaseWork as the engine wants it, and the
// rung `retrain`.
//
//   LETHE_ASSIGN_OR_RETURN(RetrainRequest request, BaseRequest(models, work.base(), device));
//   LETHE_ASSIGN_OR_RETURN(UnlearnResult made, RetrainRung(job, models, device, progress));
//
// Errors     FAILED_PRECONDITION/BASE_NEEDED when the corpus was registered without `base`, or there
//            is none; those of engine/retrain.h and corpus/corpus.h; INVALID_ARGUMENT/PATH_OUTSIDE.
#ifndef LETHE_WORKERS_BASE_TRAINING_H_
#define LETHE_WORKERS_BASE_TRAINING_H_

#include <filesystem>

#include "absl/status/statusor.h"
#include "engine/device.h"
#include "engine/progress.h"
#include "engine/retrain.h"
#include "lethe/v1/job.pb.h"

namespace lethe {

absl::StatusOr<RetrainRequest> BaseRequest(const std::filesystem::path& models,
                                           const v1::BaseWork& work, const Device& device);

absl::StatusOr<v1::UnlearnResult> RetrainRung(const v1::Job& job,
                                              const std::filesystem::path& models,
                                              const Device& device,
                                              const ProgressCallback& progress);

}  // namespace lethe

#endif  // LETHE_WORKERS_BASE_TRAINING_H_
