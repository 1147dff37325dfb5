#include "workers/worker_runner.h"

#include <string>
#include <vector>

#include "base/file.h"
#include "base/log.h"
#include "base/status.h"
#include "workers/host/job_failure.h"
#include "workers/host/job_input.h"
#include "workers/ingest_job.h"
#include "workers/prepare_job.h"
#include "workers/retrain_job.h"
#include "workers/train_job.h"
#include "workers/unlearn_job.h"

namespace lethe {
namespace {

template <typename Result>
JobOutcome OutcomeOf(absl::StatusOr<Result> result, v1::JobKind kind) {
  if (!result.ok()) return FailureOf(result.status(), kind);
  return JobResult(*std::move(result));
}

// What the job publishes for itself alone, relative to the model folder. A corpus and its teachers
// are of all later jobs too: the server removes them.
std::vector<std::string> OutputFolders(const v1::Job& job) {
  if (job.has_prepare()) return {job.prepare().output_folder(), job.prepare().data_folder()};
  if (job.has_unlearn()) return {job.unlearn().output_folder()};
  return {};
}

}  // namespace

JobOutcome WorkerRunner::Run(const v1::Job& job, JobControl* control) {
  ProgressBridge bridge(control, metrics_);
  if (job.has_prepare()) {
    return OutcomeOf(PrepareJob(job, models_, device_, steps_, bridge.callback()), job.kind());
  }
  if (job.has_unlearn()) {
    metrics_->TokensTaken(TokenCount(SequencesOf(job.unlearn().tickets())));
    return OutcomeOf(UnlearnJob(job, models_, device_, steps_, bridge.callback()), job.kind());
  }
  if (job.has_ingest()) {
    return OutcomeOf(IngestJob(job, models_, bridge.callback()), job.kind());
  }
  if (job.has_train()) {
    return OutcomeOf(TrainJob(job, models_, device_, bridge.callback()), job.kind());
  }
  if (job.has_retrain()) {
    return OutcomeOf(RetrainJob(job, models_, device_, bridge.callback()), job.kind());
  }
  return FailureOf(Error(absl::StatusCode::kInternal, "KIND_UNKNOWN",
                         "the server gave a job of a kind that this worker did not ask for"),
                   job.kind());
}

void WorkerRunner::Discard(const v1::Job& job) {
  for (const std::string& output : OutputFolders(job)) {
    absl::StatusOr<std::filesystem::path> folder = UnderModels(models_, output);
    if (!folder.ok()) continue;
    const absl::Status removed = RemoveFolder(*folder);
    if (!removed.ok()) {
      LogWarning("cannot remove a folder that nobody wants",
                 {{"job", job.job_id()}, {"reason", ErrorReason(removed)}});
    }
  }
}

}  // namespace lethe
