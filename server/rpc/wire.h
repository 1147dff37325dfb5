// Messages to and from the wire. Requests reach us as raw bytes, because gRPC's own parser turns a
// malformed message, or a string that is not UTF-8, into an UNIMPLEMENTED without a word.
//
//   LETHE_RETURN_IF_ERROR(ParseMessage(bytes, &request));
//
// Errors     INVALID_ARGUMENT: TEXT_NOT_UTF8 for the text of a target, MALFORMED_REQUEST otherwise,
//            both with the field where it is known. Nothing of the content is repeated.
// Threads    any. InstallProtobufLog is called once, before the first parse.
#ifndef LETHE_SERVER_RPC_WIRE_H_
#define LETHE_SERVER_RPC_WIRE_H_

#include <google/protobuf/message_lite.h>
#include <grpcpp/support/byte_buffer.h>

#include "absl/status/status.h"

namespace lethe {

// Sends protobuf's own messages to our log, and lets ParseMessage learn which field was not UTF-8.
void InstallProtobufLog();

absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message);

grpc::ByteBuffer SerialiseMessage(const google::protobuf::MessageLite& message);

}  // namespace lethe

#endif  // LETHE_SERVER_RPC_WIRE_H_
