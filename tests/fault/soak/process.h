// Process: a child that a fault test starts, freezes and kills.
//
//   LETHE_ASSIGN_OR_RETURN(Process server, Process::Start({bin / "lethe-server", ...}, log));
//   server.Kill();                    // SIGKILL; returns once the kernel has reaped it
//   LETHE_ASSIGN_OR_RETURN(std::string end, server.Terminate(absl::Seconds(20)));
//
// Lifetime   the kernel kills the child when this process dies, the destructor does too: nothing
//            is left running, whatever the test does.
// Threads    one; Start from a thread that lives as long as the child.
// Errors     INTERNAL/SPAWN_FAILED; DEADLINE_EXCEEDED/STILL_RUNNING.
#ifndef LETHE_TESTS_FAULT_SOAK_PROCESS_H_
#define LETHE_TESTS_FAULT_SOAK_PROCESS_H_

#include <sys/types.h>

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace lethe::soak {

class Process {
 public:
  // What it writes is appended to `log`.
  static absl::StatusOr<Process> Start(const std::vector<std::string>& arguments,
                                       const std::filesystem::path& log);
  Process() = default;
  Process(Process&& other) noexcept
      : pid_(std::exchange(other.pid_, 0)), end_(std::move(other.end_)) {}
  Process& operator=(Process&& other) noexcept;
  ~Process() { Kill(); }

  bool Running();  // false also for one that was never started
  void Kill();
  void Freeze();
  void Thaw();
  absl::StatusOr<std::string> Terminate(absl::Duration patience);
  absl::StatusOr<std::string> WaitForEnd(absl::Duration patience);
  // How it ended; empty while it runs.
  const std::string& end() const { return end_; }

 private:
  explicit Process(pid_t pid) : pid_(pid) {}
  void Reap(int options);

  pid_t pid_ = 0;
  std::string end_;
};

// Polls, with a pause of a few milliseconds: the events of another process come to us only as
// files and exits. DEADLINE_EXCEEDED/WAITED_TOO_LONG names `what`.
absl::Status WaitUntil(const std::string& what, absl::Duration patience,
                       const std::function<bool()>& condition);

}  // namespace lethe::soak

#endif  // LETHE_TESTS_FAULT_SOAK_PROCESS_H_
