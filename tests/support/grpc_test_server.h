// A real gRPC server in the test's process, on a free port of the loopback, that can go away and
// come back under the same address.
//
//   GrpcTestServer server({&fake_work_service});
//   auto channel = OpenChannel({.address = server.address()});
//   server.Stop();  server.Start();
//
// Threads    Start and Stop from the test's thread.
#ifndef LETHE_TESTS_SUPPORT_GRPC_TEST_SERVER_H_
#define LETHE_TESTS_SUPPORT_GRPC_TEST_SERVER_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/security/server_credentials.h"
#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"

namespace lethe {

class GrpcTestServer {
 public:
  explicit GrpcTestServer(std::vector<grpc::Service*> services) : services_(std::move(services)) {
    Start();
  }
  ~GrpcTestServer() { Stop(); }

  void Start() {
    int port = 0;
    grpc::ServerBuilder builder;
    builder.AddListeningPort(absl::StrCat("127.0.0.1:", port_), grpc::InsecureServerCredentials(),
                             &port);
    for (grpc::Service* service : services_) builder.RegisterService(service);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr) << "cannot listen on port " << port_;
    port_ = port;
  }

  // Calls in flight are cut off.
  void Stop() {
    if (server_ == nullptr) return;
    server_->Shutdown(absl::ToChronoTime(absl::Now()));
    server_->Wait();
    server_.reset();
  }

  std::string address() const { return absl::StrCat("127.0.0.1:", port_); }

 private:
  const std::vector<grpc::Service*> services_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

// An error as the server sends it.
inline grpc::Status WireError(
    grpc::StatusCode code, const std::string& reason, const std::string& message = "made by a test",
    const std::vector<std::pair<std::string, std::string>>& metadata = {}) {
  google::rpc::ErrorInfo info;
  info.set_domain("lethe");
  info.set_reason(reason);
  for (const auto& [key, value] : metadata) (*info.mutable_metadata())[key] = value;
  google::rpc::Status status;
  status.set_code(code);
  status.set_message(message);
  status.add_details()->PackFrom(info);
  return grpc::Status(code, message, status.SerializeAsString());
}

}  // namespace lethe

#endif  // LETHE_TESTS_SUPPORT_GRPC_TEST_SERVER_H_
