#include "cli/up/child_process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace lethe {
namespace {

// Between fork and exec: only what is safe in the child of a process with threads.
[[noreturn]] void BecomeChild(char* const* arguments, int log, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(127);  // it died before the line above
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null = open("/dev/null", O_RDONLY);
  if (null >= 0) dup2(null, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  execv(arguments[0], arguments);
  _exit(127);
}

}  // namespace

std::string ChildExit::Text() const {
  return signal != 0 ? absl::StrCat("signal ", signal) : absl::StrCat("exit code ", code);
}

absl::StatusOr<ChildProcess> ChildProcess::Start(const std::vector<std::string>& arguments,
                                                 const std::filesystem::path& log) {
  if (access(arguments.front().c_str(), X_OK) != 0) {
    return Error(absl::StatusCode::kNotFound, "PROGRAM_NOT_FOUND",
                 absl::StrCat("the program ", arguments.front(),
                              " is not there; it stands beside `lethe` in an installation"));
  }
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (fd < 0) {
    return Error(absl::StatusCode::kInternal, "SPAWN_FAILED",
                 absl::StrCat("cannot write ", log.string(), ": ", strerror(errno)));
  }
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) BecomeChild(argv.data(), fd, parent);
  const int error = errno;
  close(fd);
  if (pid < 0) {
    return Error(absl::StatusCode::kInternal, "SPAWN_FAILED",
                 absl::StrCat("cannot start ", arguments.front(), ": ", strerror(error)));
  }
  return ChildProcess(pid);
}

std::optional<ChildExit> ChildProcess::Poll() {
  int status = 0;
  if (pid_ == 0 || waitpid(pid_, &status, WNOHANG) != pid_) return std::nullopt;
  pid_ = 0;
  ChildExit exit;
  if (WIFSIGNALED(status)) exit.signal = WTERMSIG(status);
  if (WIFEXITED(status)) exit.code = WEXITSTATUS(status);
  return exit;
}

void ChildProcess::Signal(int signal) {
  if (pid_ > 0) kill(pid_, signal);
}

}  // namespace lethe
