#include "tests/fault/soak/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status.h"

namespace lethe::soak {
namespace {

constexpr absl::Duration kPollPause = absl::Milliseconds(3);

// Between fork and exec: only what is safe in the child of a process with threads.
[[noreturn]] void BecomeChild(char* const* arguments, int log, pid_t parent) {
  setpgid(0, 0);  // Ctrl-C is for the driver alone
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // it died before the line above
  const int null = open("/dev/null", O_RDONLY);
  if (null >= 0) dup2(null, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  execv(arguments[0], arguments);
  _exit(127);
}

absl::Status SpawnFailed(const std::string& program, int error) {
  return Error(absl::StatusCode::kInternal, "SPAWN_FAILED",
               absl::StrCat("cannot start ", program, ": ", strerror(error)));
}

}  // namespace

absl::StatusOr<Process> Process::Start(const std::vector<std::string>& arguments,
                                       const std::filesystem::path& log) {
  if (access(arguments.front().c_str(), X_OK) != 0) return SpawnFailed(arguments.front(), errno);
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const int fd = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (fd < 0) return SpawnFailed(arguments.front(), errno);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) BecomeChild(argv.data(), fd, parent);
  const int error = errno;
  close(fd);
  if (pid < 0) return SpawnFailed(arguments.front(), error);
  return Process(pid);
}

Process& Process::operator=(Process&& other) noexcept {
  Kill();
  pid_ = std::exchange(other.pid_, 0);
  end_ = std::move(other.end_);
  return *this;
}

void Process::Reap(int options) {
  int status = 0;
  if (pid_ == 0 || waitpid(pid_, &status, options) != pid_) return;
  pid_ = 0;
  end_ = WIFSIGNALED(status) ? absl::StrCat("signal ", WTERMSIG(status))
                             : absl::StrCat("exit code ", WEXITSTATUS(status));
}

bool Process::Running() {
  Reap(WNOHANG);
  return pid_ != 0;
}

void Process::Kill() {
  if (pid_ == 0) return;
  kill(pid_, SIGKILL);
  Reap(0);
}

void Process::Freeze() {
  if (pid_ != 0) kill(pid_, SIGSTOP);
}

void Process::Thaw() {
  if (pid_ != 0) kill(pid_, SIGCONT);
}

absl::StatusOr<std::string> Process::Terminate(absl::Duration patience) {
  if (pid_ != 0) kill(pid_, SIGTERM);
  return WaitForEnd(patience);
}

absl::StatusOr<std::string> Process::WaitForEnd(absl::Duration patience) {
  const absl::Status ended = WaitUntil("a process to end", patience, [this] { return !Running(); });
  if (!ended.ok()) return ended;
  return end_;
}

absl::Status WaitUntil(const std::string& what, absl::Duration patience,
                       const std::function<bool()>& condition) {
  const absl::Time until = absl::Now() + patience;
  while (!condition()) {
    if (absl::Now() > until) {
      return Error(absl::StatusCode::kDeadlineExceeded, "WAITED_TOO_LONG",
                   absl::StrCat("waited ", absl::FormatDuration(patience), " for ", what));
    }
    absl::SleepFor(kPollPause);
  }
  return absl::OkStatus();
}

}  // namespace lethe::soak
