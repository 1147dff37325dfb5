// A channel to a server that is slow to shake hands: far away, or on a busy machine.
#include "client/channel.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "client/call.h"
#include "gtest/gtest.h"
#include "tests/support/fake_lethe_services.h"

namespace lethe {
namespace {

// Accepts one connection at once and hands it to gRPC only after `pause`.
class SlowServer {
 public:
  explicit SlowServer(absl::Duration pause) {
    grpc::ServerBuilder builder;
    builder.RegisterService(&tickets_);
    server_ = builder.BuildAndStart();
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof at;
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&at), size), 0);
    EXPECT_EQ(listen(listener_, 1), 0);
    EXPECT_EQ(getsockname(listener_, reinterpret_cast<sockaddr*>(&at), &size), 0);
    address_ = absl::StrCat("127.0.0.1:", ntohs(at.sin_port));
    thread_ = std::thread([this, pause] {
      const int connection = accept(listener_, nullptr, nullptr);
      if (connection < 0) return;
      absl::SleepFor(pause);
      fcntl(connection, F_SETFL, O_NONBLOCK);
      grpc::AddInsecureChannelFromFd(server_.get(), connection);
    });
  }
  ~SlowServer() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
    server_->Shutdown(absl::ToChronoTime(absl::Now()));
  }
  const std::string& address() const { return address_; }

 private:
  FakeDeletionService tickets_;
  std::unique_ptr<grpc::Server> server_;
  int listener_ = -1;
  std::string address_;
  std::thread thread_;
};

// Longer than the pause between attempts: giving up after that would mean never to connect.
TEST(Channel, AConnectionMayTakeItsTime) {
  SlowServer server(absl::Milliseconds(400));
  const auto stub = v1::DeletionService::NewStub(*OpenChannel({.address = server.address()}));
  const auto ticket = Caller({}).Call<v1::DeletionService::StubInterface>(
      stub.get(), &v1::DeletionService::StubInterface::GetTicket, v1::GetTicketRequest(),
      Repeat::kSafe);
  EXPECT_TRUE(ticket.ok()) << ticket.status();
}

}  // namespace
}  // namespace lethe
