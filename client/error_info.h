// Errors on the wire, back to absl::Status with base/status.h's reason and metadata: the
// counterpart of what server/ sends as google.rpc.ErrorInfo (domain "lethe").
//
//   absl::Status status = FromGrpc(stub->GetTicket(&context, request, &ticket));
//   if (ErrorReason(status) == "TICKET_NOT_FOUND") ...
//
// Of a request with several wrong fields the message speaks of the first; each other field is a key
// of the metadata, with what is wrong with it.
//
// Two reasons are made here, for calls that no answer of ours came back from: NOT_REACHABLE
// (UNAVAILABLE without an ErrorInfo: no connection) and NO_ANSWER (DEADLINE_EXCEEDED without one).
#ifndef LETHE_CLIENT_ERROR_INFO_H_
#define LETHE_CLIENT_ERROR_INFO_H_

#include <optional>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/support/status.h"

namespace lethe {

absl::Status FromGrpc(const grpc::Status& status);

// How long the server asks to wait before the call is repeated (google.rpc.RetryInfo).
std::optional<absl::Duration> RetryDelay(const absl::Status& status);

}  // namespace lethe

#endif  // LETHE_CLIENT_ERROR_INFO_H_
