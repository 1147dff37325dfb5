// Errors of Lethe: absl::Status with a machine-readable reason.
//
//   return Error(absl::StatusCode::kAborted, "LEASE_LOST",
//                "the lease of this job was given to another worker; acquire again",
//                {{"job", job.id}});
//
//   LETHE_ASSIGN_OR_RETURN(Ticket ticket, view.GetTicket(id));
//   LETHE_RETURN_IF_ERROR(writer.Close());
//
// Rules      a reason is UPPER_SNAKE and stable: clients switch on it. A message says what is
//            wrong and what to do next, and holds no personal data: everything variable that is
//            safe to show is in the metadata.
// Threads    values; any.
// Wire       server/ turns these into google.rpc.ErrorInfo
//            (domain "lethe"); client/ turns them back.
#ifndef LETHE_BASE_STATUS_H_
#define LETHE_BASE_STATUS_H_

#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lethe {

using ErrorMetadata = std::map<std::string, std::string>;

// A status with a reason. `reason` must match [A-Z][A-Z0-9_]{0,62}.
absl::Status Error(absl::StatusCode code, std::string_view reason, std::string_view message,
                   const ErrorMetadata& metadata = {});

// The reason given to Error(), or "" when the status has none (or is OK).
std::string ErrorReason(const absl::Status& status);

// The metadata given to Error().
ErrorMetadata ErrorDetails(const absl::Status& status);

// The same status with `context` and ": " before its message; reason and metadata are kept.
absl::Status Annotate(const absl::Status& status, std::string_view context);

// The same status with more metadata; what has a name of `metadata` already is replaced.
absl::Status WithDetails(absl::Status status, const ErrorMetadata& metadata);

}  // namespace lethe

#define LETHE_RETURN_IF_ERROR(expr)                                                    \
  do {                                                                                 \
    if (::absl::Status lethe_status = (expr); !lethe_status.ok()) return lethe_status; \
  } while (false)

#define LETHE_CONCAT_INNER(a, b) a##b
#define LETHE_CONCAT(a, b) LETHE_CONCAT_INNER(a, b)
#define LETHE_ASSIGN_OR_RETURN(lhs, expr) \
  LETHE_ASSIGN_OR_RETURN_IMPL(LETHE_CONCAT(lethe_statusor_, __LINE__), lhs, expr)
#define LETHE_ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr) \
  auto tmp = (expr);                                \
  if (!tmp.ok()) return std::move(tmp).status();    \
  lhs = std::move(tmp).value()

#endif  // LETHE_BASE_STATUS_H_
