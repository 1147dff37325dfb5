// The one place where an absl::Status becomes what a caller of gRPC sees.
//
//   call->Finish(ToGrpcStatus(status));
//
// Wire       the code and message as they are; grpc-status-details-bin holds a google.rpc.Status
//            with an ErrorInfo (domain "lethe", the reason, the metadata) and, where it fits:
//            BadRequest (metadata "field"; several: field_violations.h), PreconditionFailure
//            (FAILED_PRECONDITION), ResourceInfo (NOT_FOUND), RetryInfo (metadata
//            "retry_after_ms").
// Errors     a status without a reason is a bug of ours: it goes out as
//            INTERNAL with reason UNEXPECTED and is logged.
// Threads    any.
#ifndef LETHE_SERVER_ERRORS_H_
#define LETHE_SERVER_ERRORS_H_

#include <grpcpp/support/status.h>

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/status.h"

namespace lethe {

grpc::Status ToGrpcStatus(const absl::Status& status);

// INVALID_ARGUMENT about one field of the request, written as the path of the proto,
// "targets[3].text".
absl::Status FieldError(std::string_view reason, std::string_view field, std::string_view message,
                        ErrorMetadata metadata = {});

// RESOURCE_EXHAUSTED or UNAVAILABLE with the pause after which a repeat makes sense.
absl::Status RetryLater(absl::StatusCode code, std::string_view reason, std::string_view message,
                        absl::Duration pause);

absl::Status ServerDraining();

// ABORTED/LEASE_LOST. `job` may be anything that a worker sent: it is repeated only when it is an id
// of ours.
absl::Status LeaseLost(const std::string& job);

}  // namespace lethe

#endif  // LETHE_SERVER_ERRORS_H_
