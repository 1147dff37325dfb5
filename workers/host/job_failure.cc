#include "workers/host/job_failure.h"

#include <string>
#include <string_view>

#include "base/status.h"

namespace lethe {
namespace {

constexpr v1::FailureCause kMethod = v1::FAILURE_CAUSE_METHOD;
constexpr v1::FailureCause kInput = v1::FAILURE_CAUSE_INPUT;
constexpr v1::FailureCause kInfrastructure = v1::FAILURE_CAUSE_INFRASTRUCTURE;

// Reasons whose code alone would say something else.
struct Row {
  std::string_view reason;
  v1::FailureCause cause;
};
constexpr Row kRows[] = {
    // This rung does not fit; another may.
    {"UNKNOWN_METHOD", kMethod},
    {"UNKNOWN_PRESET", kMethod},
    {"UNKNOWN_ATTACK", kMethod},
    {"BAD_PARAMETER", kMethod},
    {"RETAIN_NEEDED", kMethod},
    {"THRESHOLDS_NEEDED", kMethod},
    {"METHOD_DIVERGED", kMethod},
    {"UTILITY_LOST", kMethod},
    {"CANDIDATE_NOT_FINITE", kMethod},
    // Something is wrong with this machine's view of the model folder.
    {"OUT_FOLDER_EXISTS", kInfrastructure},
    {"BASE_CHANGED", kInfrastructure},
    {"CANDIDATE_CHANGED", kInfrastructure},
    {"PATH_OUTSIDE", kInfrastructure},
    {"FILE_ERROR", kInfrastructure},
    {"DISK_FULL", kInfrastructure},
    {"OUT_OF_MEMORY", kInfrastructure},
    {"NO_CUDA", kInfrastructure},
    {"MODEL_NOT_FINITE", kInput},
    {"NOTHING_TO_ATTACK", kInput},
};

v1::FailureCause CauseOf(const absl::Status& status, std::string_view reason, v1::JobKind kind) {
  for (const Row& row : kRows) {
    if (row.reason == reason) return row.cause;
  }
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kUnimplemented:
    case absl::StatusCode::kOutOfRange:
      return kInput;
    case absl::StatusCode::kFailedPrecondition:
      // What the worker handed in cannot be attacked: its method's fault.
      return kind == v1::JOB_KIND_PREPARE ? kInput : kMethod;
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      // A fault of ours: it burns attempts, so that it does not go round for ever.
      return kMethod;
    default:
      return kInfrastructure;
  }
}

}  // namespace

JobFailure FailureOf(const absl::Status& status, v1::JobKind kind) {
  std::string reason = ErrorReason(status);
  const v1::FailureCause cause = CauseOf(status, reason, kind);
  if (reason.empty()) reason = absl::StatusCodeToString(status.code());
  return {cause, reason, std::string(status.message())};
}

}  // namespace lethe
