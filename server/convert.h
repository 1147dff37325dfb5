// Records of the store as messages of the API.
//
// Threads    pure functions; any.
#ifndef LETHE_SERVER_CONVERT_H_
#define LETHE_SERVER_CONVERT_H_

#include <lethe/v1/job.pb.h>
#include <lethe/v1/model.pb.h>
#include <lethe/v1/ticket.pb.h>

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/config.h"
#include "storage/command/commands.h"

namespace lethe {

// `progress` may be null: no worker holds the ticket's job.
void ToTicket(const storage::TicketRecord& record, const v1::Progress* progress, v1::Ticket* out);
void ToModel(const storage::ModelRecord& record, v1::Model* out);
void ToCheckpoint(const storage::CheckpointRecord& record, v1::Checkpoint* out);
void ToLimits(const ServerConfig& config, v1::Limits* out);

void ToTimestamp(absl::Time time, google::protobuf::Timestamp* out);
// Nothing for a time that is out of protobuf's range.
std::optional<absl::Time> FromTimestamp(const google::protobuf::Timestamp& time);
std::optional<absl::Duration> FromDuration(const google::protobuf::Duration& duration);
void ToDuration(absl::Duration duration, google::protobuf::Duration* out);

// The same bytes for equal messages of one process, maps included.
std::string DeterministicBytes(const google::protobuf::MessageLite& message);

std::string Etag(uint64_t version);
// Nothing for an empty etag; ABORTED/ETAG_MISMATCH for one that no ticket has.
absl::StatusOr<std::optional<uint64_t>> ParseEtag(const std::string& etag);

}  // namespace lethe

#endif  // LETHE_SERVER_CONVERT_H_
