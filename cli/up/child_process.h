// One child process of `lethe up`.
//
//   LETHE_ASSIGN_OR_RETURN(
//       ChildProcess child, ChildProcess::Start({"/usr/bin/lethe-worker", "--server", a}, log));
//   if (std::optional<ChildExit> exit = child.Poll()) ...     // it has ended
//
// The child has a process group of its own, so that Ctrl-C reaches only `lethe up`, which then ends
// the children in order; should `lethe up` itself be killed, the kernel sends the child SIGTERM.
// What it writes is appended to `log`.
//
// Threads    one; Start from a thread that lives as long as the child (its death is the signal).
// Errors     NOT_FOUND/PROGRAM_NOT_FOUND; INTERNAL/SPAWN_FAILED.
#ifndef LETHE_CLI_UP_CHILD_PROCESS_H_
#define LETHE_CLI_UP_CHILD_PROCESS_H_

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace lethe {

// How a process ended.
struct ChildExit {
  int code = 0;              // when it exited
  int signal = 0;            // when a signal ended it
  std::string Text() const;  // "exit code 1", "signal 9"
};

class ChildProcess {
 public:
  static absl::StatusOr<ChildProcess> Start(const std::vector<std::string>& arguments,
                                            const std::filesystem::path& log);
  // A child must have ended, or be given up, before its object goes.
  ChildProcess(ChildProcess&& other) noexcept : pid_(other.pid_) { other.pid_ = 0; }
  ChildProcess& operator=(ChildProcess&& other) noexcept {
    pid_ = other.pid_;
    other.pid_ = 0;
    return *this;
  }

  pid_t pid() const { return pid_; }
  // Whether it has ended; after that it is not to be asked again.
  std::optional<ChildExit> Poll();
  void Signal(int signal);

 private:
  explicit ChildProcess(pid_t pid) : pid_(pid) {}
  pid_t pid_ = 0;
};

}  // namespace lethe

#endif  // LETHE_CLI_UP_CHILD_PROCESS_H_
