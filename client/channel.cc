#include "client/channel.h"

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"

namespace lethe {
namespace {

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> Credentials(
    const ChannelOptions& options) {
  const bool certificate = !options.tls_certificate_file.empty();
  const bool key = !options.tls_key_file.empty();
  if (options.tls_root_file.empty() && !certificate && !key)
    return grpc::InsecureChannelCredentials();
  if (options.tls_root_file.empty() || certificate != key) {
    return Error(absl::StatusCode::kInvalidArgument, "TLS_INCOMPLETE",
                 "TLS needs a file of root certificates, and a client certificate needs its key: "
                 "give both or neither");
  }
  grpc::SslCredentialsOptions ssl;
  LETHE_ASSIGN_OR_RETURN(ssl.pem_root_certs, ReadFile(options.tls_root_file, 1 << 20));
  if (certificate) {
    LETHE_ASSIGN_OR_RETURN(ssl.pem_cert_chain, ReadFile(options.tls_certificate_file, 1 << 20));
    LETHE_ASSIGN_OR_RETURN(ssl.pem_private_key, ReadFile(options.tls_key_file, 1 << 20));
  }
  return grpc::SslCredentials(ssl);
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::Channel>> OpenChannel(const ChannelOptions& options) {
  const size_t colon = options.address.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == options.address.size()) {
    return Error(
        absl::StatusCode::kInvalidArgument, "ADDRESS_MALFORMED",
        absl::StrCat("the server's address must be host:port, got '", options.address, "'"));
  }
  LETHE_ASSIGN_OR_RETURN(auto credentials, Credentials(options));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(options.max_message_bytes);
  arguments.SetMaxSendMessageSize(options.max_message_bytes);
  // After a restart the server is there again within seconds: gRPC's default of up to two minutes
  // between attempts would cost leases.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2'000);
  // In spite of its name no pause, but the least time that an attempt is given: a far or busy server
  // takes a while to shake hands. One that is refused ends at once.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5'000);
  // Each channel has its own connection, so that tests and processes of one machine do not share a
  // back-off.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // A proxy setting of the environment is for the web, not for this.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(options.address, credentials, arguments);
}

}  // namespace lethe
