// The connection to a Lethe server.
//
//   LETHE_ASSIGN_OR_RETURN(auto channel, OpenChannel({.address = "127.0.0.1:7700"}));
//   auto stub = v1::DeletionService::NewStub(channel);
//
// The channel connects by itself, and again after a server's restart; a call on it never waits for
// a connection longer than its own deadline.
//
// Errors     INVALID_ARGUMENT/ADDRESS_MALFORMED, INVALID_ARGUMENT/TLS_INCOMPLETE,
//            FILE_ERROR for an unreadable key file.
#ifndef LETHE_CLIENT_CHANNEL_H_
#define LETHE_CLIENT_CHANNEL_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "grpcpp/channel.h"

namespace lethe {

struct ChannelOptions {
  std::string address = "127.0.0.1:7700";  // host:port
  // TLS is used when a root file is given; certificate and key go together. All PEM.
  std::string tls_root_file;
  std::string tls_certificate_file;
  std::string tls_key_file;
  // Largest message either way: a job with a full batch of tickets fits.
  int max_message_bytes = 64 << 20;
};

absl::StatusOr<std::shared_ptr<grpc::Channel>> OpenChannel(const ChannelOptions& options);

}  // namespace lethe

#endif  // LETHE_CLIENT_CHANNEL_H_
