#include "storage/command/hand_in.h"

#include "base/digest.h"
#include "base/status.h"

namespace lethe::storage {

absl::Status ResultMismatch(std::string_view what, const JobId& job) {
  return Error(absl::StatusCode::kInvalidArgument, "RESULT_MISMATCH", what, {{"job", job.value}});
}

absl::Status ResultMalformed(std::string_view what, const JobId& job) {
  return Error(absl::StatusCode::kInvalidArgument, "RESULT_MALFORMED", what, {{"job", job.value}});
}

std::string ResultDigest(std::initializer_list<std::string_view> parts) {
  Sha256 sha;
  for (std::string_view part : parts) {
    sha.Update(std::to_string(part.size()) + ":");
    sha.Update(part);
  }
  return sha.Hex();
}

absl::StatusOr<HeldLease> CheckLease(const JobRecord& job, Fence fence, JobKind kind,
                                     const std::string& digest) {
  const JobId id{job.job_id()};
  if (job.kind() != static_cast<int32_t>(kind)) {
    return ResultMismatch("the result is not of this job's kind", id);
  }
  if (fence.value == 0 || job.fence() != fence.value) return LeaseLost(id);
  if (job.state() == static_cast<int32_t>(JobState::kLeased)) return HeldLease::kHeld;
  if (job.state() == static_cast<int32_t>(JobState::kSucceeded) && job.result_digest() == digest) {
    return HeldLease::kRepeated;
  }
  return LeaseLost(id);
}

Decision Repeated(const JobRecord& job) {
  Changes changes;
  changes.receipt.job = job;
  changes.receipt.repeated = true;
  return changes;
}

absl::Status CheckFresh(const JobId& job, const View& view) {
  if (!IsRandomId(job.value, 'j')) return Malformed("a job id is not one");
  LETHE_ASSIGN_OR_RETURN(const std::optional<JobRecord> taken, view.FindJob(job));
  if (taken.has_value()) return Malformed("a new job's id is taken");
  return absl::OkStatus();
}

}  // namespace lethe::storage
