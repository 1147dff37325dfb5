// The program lethe-server as a child of the test: its output goes to files of a temporary folder.
//
//   class Mine : public ServerProcess {};
//   TEST_F(Mine, Ends) { Start(Options()); Ports(); kill(pid, SIGTERM); EXPECT_EQ(Exit(), 0); }
//
// Needs      LETHE_SERVER_PROGRAM, defined by CMake for the test.
#ifndef LETHE_TESTS_SERVER_SERVER_PROCESS_H_
#define LETHE_TESTS_SERVER_SERVER_PROCESS_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/temp_folder.h"

namespace lethe {

inline std::string Slurp(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

class ServerProcess : public ::testing::Test {
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

}  // namespace lethe

#endif  // LETHE_TESTS_SERVER_SERVER_PROCESS_H_
