// The program lethe-server from outside: configuration, ports, signals, exit codes.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <lethe/v1/model_service.grpc.pb.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/server/server_process.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

using Process = ServerProcess;

// A GET as Prometheus sends it.
std::string HttpGet(int port, const std::string& path) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  std::string body;
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0) {
    const std::string get = "GET " + path + " HTTP/1.0\r\n\r\n";
    EXPECT_EQ(send(fd, get.data(), get.size(), 0), static_cast<ssize_t>(get.size()));
    char buffer[65536];
    for (ssize_t n = 0; (n = recv(fd, buffer, sizeof(buffer), 0)) > 0;) body.append(buffer, n);
  }
  close(fd);
  return body;
}

TEST_F(Process, ServesAndEndsOnSigterm) {
  Start(Options());
  const auto [port, metrics] = Ports();
  const auto channel =
      grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials());
  const auto stub = v1::ModelService::NewStub(channel);
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  v1::ListModelsResponse models;
  EXPECT_TRUE(stub->ListModels(&context, {}, &models).ok());
  EXPECT_THAT(HttpGet(metrics, "/metrics"), HasSubstr("lethe_build_info{version="));
  kill(pid, SIGTERM);
  EXPECT_EQ(Exit(), 0);
  EXPECT_THAT(Slurp(folder / "err"), HasSubstr("\"message\":\"drained\""));
}

TEST_F(Process, AKilledServerStartsAgain) {
  Start(Options());
  Ports();
  kill(pid, SIGKILL);
  EXPECT_EQ(Exit(), -SIGKILL);
  fs::remove(folder / "ports");
  Start(Options());
  Ports();
  kill(pid, SIGINT);
  EXPECT_EQ(Exit(), 0);
}

TEST_F(Process, MistakesEndItWithUsage) {
  EXPECT_EQ(Run({"--max-polls", "0"}), 64);
  EXPECT_THAT(Slurp(folder / "err"), HasSubstr("data_folder: required"));
  EXPECT_THAT(Slurp(folder / "err"), HasSubstr("max_polls: 0 is outside"));
  EXPECT_EQ(Run({"--no-such-flag"}), 64);
  std::ofstream(folder / "c.toml") << "data_folder = \"/d\"\nlisten_adress = \"x\"\n";
  EXPECT_EQ(Run({"--config", (folder / "c.toml").string()}), 64);
  EXPECT_THAT(Slurp(folder / "err"), HasSubstr("did you mean listen_address?"));
}

TEST_F(Process, PrintsItsConfiguration) {
  EXPECT_EQ(Run({"--data-folder", "/d", "--reflection", "false", "--print-config"}), 0);
  EXPECT_THAT(Slurp(folder / "out"), HasSubstr("reflection = false  # flag --reflection"));
  EXPECT_EQ(Run({"--version"}), 0);
  EXPECT_EQ(Run({"--help"}), 0);
  EXPECT_THAT(Slurp(folder / "out"), HasSubstr("--lease-duration"));
}

TEST_F(Process, ASecondOneOnTheFolderSaysWhy) {
  Start(Options());
  Ports();
  const pid_t first = pid;
  EXPECT_EQ(Run({"--data-folder", (folder / "data").string(), "--listen-address", "127.0.0.1:0",
                 "--metrics-address", "none"}),
            69);
  EXPECT_THAT(Slurp(folder / "err"), HasSubstr("lethe-server: "));
  pid = first;
  kill(pid, SIGTERM);
  EXPECT_EQ(Exit(), 0);
}

// docs/config.md is what the program prints; `lethe-server
// --print-config-docs > docs/config.md` makes it again.
TEST_F(Process, DocsAreOfThisVersion) {
  EXPECT_EQ(Run({"--print-config-docs"}), 0);
  EXPECT_EQ(Slurp(folder / "out"), Slurp(LETHE_DOCS_CONFIG));
}

}  // namespace
}  // namespace lethe
