// The program lethe-server from outside: configuration, ports, signals, exit codes.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <lethe/v1/model_service.grpc.pb.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/temp_folder.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

std::string Slurp(const fs::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

class Process : public ::testing::Test {
 protected:
  // Starts the program; its output goes to files.
  void Start(std::vector<std::string> words) {
    words.insert(words.begin(), LETHE_SERVER_PROGRAM);
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    const int flags = O_CREAT | O_WRONLY | O_TRUNC;
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, (folder / "out").c_str(), flags,
                                     0600);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, (folder / "err").c_str(), flags,
                                     0600);
    ASSERT_EQ(posix_spawn(&pid, LETHE_SERVER_PROGRAM, &actions, nullptr, arguments.data(), environ),
              0);
    posix_spawn_file_actions_destroy(&actions);
  }
  int Exit() {
    int status = 0;
    waitpid(pid, &status, 0);
    pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  int Run(std::vector<std::string> words) {
    Start(std::move(words));
    return Exit();
  }
  // The ports once both are open.
  std::pair<int, int> Ports() {
    while (waitpid(pid, nullptr, WNOHANG) == 0) {
      std::ifstream file(folder / "ports");
      int port = 0, metrics = 0;
      if (file >> port >> metrics) return {port, metrics};
      std::this_thread::yield();
    }
    ADD_FAILURE() << "the server ended: " << Slurp(folder / "err");
    return {};
  }
  std::vector<std::string> Options() {
    return {"--data-folder", (folder / "data").string(),  "--listen-address",  "127.0.0.1:0",
            "--port-file",   (folder / "ports").string(), "--metrics-address", "127.0.0.1:0"};
  }
  void TearDown() override {
    if (pid == 0) return;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
  }

  TempFolder folder;
  pid_t pid = 0;
};

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
