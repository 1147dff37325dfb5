#include "bench/server_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status.h"

namespace lethe {

namespace fs = std::filesystem;

absl::StatusOr<std::unique_ptr<ServerProcess>> ServerProcess::Start(
    const fs::path& folder, const std::vector<std::string>& options) {
  const fs::path program = fs::read_symlink("/proc/self/exe").parent_path() / "lethe-server";
  const fs::path port_file = folder / "ports";
  std::error_code ec;
  fs::remove(port_file, ec);
  std::vector<std::string> words = {program.string(),
                                    "--listen-address=127.0.0.1:0",
                                    "--metrics-address=none",
                                    "--data-folder=" + (folder / "data").string(),
                                    "--model-folder=" + (folder / "models").string(),
                                    "--key-file=" + (folder / "key").string(),
                                    "--port-file=" + port_file.string()};
  words.insert(words.end(), options.begin(), options.end());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t pid = 0;
  const int failed =
      posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) {
    return Error(absl::StatusCode::kNotFound, "PROGRAM_NOT_FOUND",
                 absl::StrCat("cannot start ", program.string(), ": build lethe-server too"));
  }
  std::unique_ptr<ServerProcess> server(new ServerProcess(folder, pid));
  for (int i = 0; i < 3'000; ++i) {
    std::ifstream file(port_file);
    int port = 0;
    if (file >> port) {
      server->address_ = absl::StrCat("127.0.0.1:", port);
      return server;
    }
    if (waitpid(pid, nullptr, WNOHANG) == pid) break;
    absl::SleepFor(absl::Milliseconds(10));
  }
  return Error(absl::StatusCode::kUnavailable, "SERVER_NOT_READY", "lethe-server did not start");
}

double ServerProcess::CpuSeconds() const {
  clockid_t clock = 0;
  timespec used{};
  if (clock_getcpuclockid(pid_, &clock) != 0 || clock_gettime(clock, &used) != 0) return 0;
  return static_cast<double>(used.tv_sec) + 1e-9 * static_cast<double>(used.tv_nsec);
}

ServerProcess::~ServerProcess() {
  kill(pid_, SIGTERM);
  waitpid(pid_, nullptr, 0);
}

}  // namespace lethe
