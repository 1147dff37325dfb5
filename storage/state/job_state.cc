#include "storage/state/job_state.h"

#include "base/status.h"

namespace lethe::storage {

absl::StatusOr<JobTransition> Step(JobState from, JobEvent on) {
  for (const JobTransition& t : kJobTransitions) {
    if (t.from == from && t.on == on) return t;
  }
  return Error(absl::StatusCode::kFailedPrecondition, "WRONG_STATE",
               "the job's state does not allow this; docs/states.md has the table",
               {{"state", std::string(Name(from))}, {"event", std::string(Name(on))}});
}

std::string_view Name(JobState state) {
  switch (state) {
    case JobState::kNone:
      return "NONE";
    case JobState::kReady:
      return "READY";
    case JobState::kLeased:
      return "LEASED";
    case JobState::kSucceeded:
      return "SUCCEEDED";
    case JobState::kFailed:
      return "FAILED";
    case JobState::kCancelled:
      return "CANCELLED";
  }
  return "UNKNOWN";
}

std::string_view Name(JobEvent event) {
  switch (event) {
    case JobEvent::kForm:
      return "form";
    case JobEvent::kAcquire:
      return "acquire";
    case JobEvent::kComplete:
      return "complete";
    case JobEvent::kLeaseExpired:
      return "lease expired";
    case JobEvent::kWorkersLost:
      return "workers lost";
    case JobEvent::kInfrastructureFailed:
      return "infrastructure failed";
    case JobEvent::kRetriesUsedUp:
      return "retries used up";
    case JobEvent::kDrained:
      return "drained";
    case JobEvent::kMethodFailed:
      return "method failed";
    case JobEvent::kInputFailed:
      return "input failed";
    case JobEvent::kCancel:
      return "cancel";
  }
  return "unknown";
}

std::string_view Name(JobKind kind) {
  switch (kind) {
    case JobKind::kPrepare:
      return "PREPARE";
    case JobKind::kUnlearn:
      return "UNLEARN";
    case JobKind::kVerify:
      return "VERIFY";
    case JobKind::kIngest:
      return "INGEST";
    case JobKind::kTrain:
      return "TRAIN";
    case JobKind::kRetrain:
      return "RETRAIN";
  }
  return "UNKNOWN";
}

}  // namespace lethe::storage
