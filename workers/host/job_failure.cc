#include "workers/host/job_failure.h"

#include <string>
#include <string_view>

#include "absl/strings/numbers.h"
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
    {"TEACHERS_NEEDED", kMethod},
    {"NO_TEACHER_LEFT", kMethod},
    // Something is wrong with this machine's view of the model folder.
    {"OUT_FOLDER_EXISTS", kInfrastructure},
    {"BASE_CHANGED", kInfrastructure},
    {"CANDIDATE_CHANGED", kInfrastructure},
    {"PATH_OUTSIDE", kInfrastructure},
    {"FILE_ERROR", kInfrastructure},
    {"DISK_FULL", kInfrastructure},
    {"OUT_OF_MEMORY", kInfrastructure},
    {"NO_CUDA", kInfrastructure},
    {"TEACHER_CHANGED", kInfrastructure},
    {"FORMAT_VERSION_UNKNOWN", kInfrastructure},
    {"MODEL_NOT_FINITE", kInput},
    {"NOTHING_TO_ATTACK", kInput},
    // An id that the corpus never gave: no other attempt will find it.
    {"SEQUENCE_UNKNOWN", kInput},
};

v1::FailureCause CauseByTable(const absl::Status& status, std::string_view reason,
                              v1::JobKind kind) {
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
      return kind == v1::JOB_KIND_PREPARE || kind == v1::JOB_KIND_INGEST ? kInput : kMethod;
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
      // A fault of ours: it burns attempts, so that it does not go round for ever.
      return kMethod;
    default:
      return kInfrastructure;
  }
}

v1::FailureCause CauseOf(const absl::Status& status, std::string_view reason,
                         const ErrorMetadata& details, v1::JobKind kind) {
  const v1::FailureCause cause = CauseByTable(status, reason, kind);
  // A teacher that does not fit is no fault of the ticket: rungs without teachers may do it.
  return cause == kInput && details.contains("teacher") ? kMethod : cause;
}

// A number of the metadata; 0 where there is none.
template <typename Number>
Number NumberOf(const ErrorMetadata& details, const std::string& name) {
  const auto found = details.find(name);
  Number number = 0;
  return found != details.end() && absl::SimpleAtoi(found->second, &number) ? number : 0;
}

}  // namespace

JobFailure FailureOf(const absl::Status& status, v1::JobKind kind) {
  std::string reason = ErrorReason(status);
  const ErrorMetadata details = ErrorDetails(status);
  const v1::FailureCause cause = CauseOf(status, reason, details, kind);
  if (reason.empty()) reason = absl::StatusCodeToString(status.code());
  JobFailure failure{.cause = cause, .reason = reason, .message = std::string(status.message())};
  if (kind == v1::JOB_KIND_INGEST && cause == kInput) {  // a full disk is no line's fault
    failure.line = NumberOf<int64_t>(details, "line");
    failure.source = NumberOf<int32_t>(details, "source");
  }
  return failure;
}

}  // namespace lethe
