#include "workers/unlearn_job.h"

#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "engine/unlearn.h"
#include "text/sequence.h"
#include "workers/host/job_input.h"
#include "workers/incoming_work.h"

namespace lethe {

namespace fs = std::filesystem;

absl::StatusOr<v1::UnlearnResult> UnlearnJob(const v1::Job& job, const fs::path& models,
                                             const Device& device, const StepOptions& steps,
                                             const ProgressCallback& progress) {
  const v1::UnlearnWork& work = job.unlearn();
  UnlearnRequest request;
  LETHE_ASSIGN_OR_RETURN(request.base_folder, UnderModels(models, work.base_folder()));
  LETHE_ASSIGN_OR_RETURN(const fs::path output, UnderModels(models, work.output_folder()));
  LETHE_ASSIGN_OR_RETURN(IncomingWork incoming, IncomingWork::Start(models, job));
  LETHE_ASSIGN_OR_RETURN(const fs::path data, UnderModels(models, work.data_folder()));
  request.out_folder = incoming.checkpoint();
  request.base_digest = work.base_digest();
  request.forget = SequencesOf(work.tickets());
  std::error_code error;
  if (fs::exists(data / "retain.jsonl", error)) {
    LETHE_ASSIGN_OR_RETURN(request.retain, LoadSequences(data / "retain.jsonl", nullptr));
  }
  LETHE_ASSIGN_OR_RETURN(request.watch, LoadSequences(data / "holdout.jsonl", nullptr));
  request.method = work.rung().method();
  request.preset = work.rung().preset();
  for (const auto& [name, value] : work.rung().overrides()) request.overrides[name] = value;
  request.thresholds = FromProto(work.thresholds());
  request.seed = job.seed();
  request.digest_key = DigestKey(job);
  request.lineage = {{"model", job.model_id()},
                     {"job", job.job_id()},
                     {"fence", absl::StrCat(job.fence())},
                     {"base_digest", work.base_digest()}};
  request.device = device;
  request.precision = steps.precision;
  request.recompute = steps.recompute;

  LETHE_ASSIGN_OR_RETURN(const UnlearnResult made, Unlearn(request, progress));
  LETHE_RETURN_IF_ERROR(incoming.Publish(output));
  v1::UnlearnResult result;
  result.set_candidate_digest(made.out_digest);
  *result.mutable_run() = ToProto(made.run);
  return result;
}

}  // namespace lethe
