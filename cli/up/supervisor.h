// Supervisor: keeps the processes of `lethe up` running and ends them in order.
//
//   Supervisor supervisor(&io);
//   LETHE_RETURN_IF_ERROR(
//       supervisor.Add({"worker-1", 1, {program, "--server", a}, logs / "worker-1.log"}));
//   while (!stop->WaitFor(absl::Milliseconds(100))) supervisor.Tick(absl::Now());
//   supervisor.EndInOrder();
//
// A process that ends is started again after a pause with full jitter, that doubles from a second
// up to half a minute and begins again after a minute of good health. Ends come stage by stage, the
// highest first: SIGTERM, the grace, then SIGKILL.
//
// Threads    one.
#ifndef LETHE_CLI_UP_SUPERVISOR_H_
#define LETHE_CLI_UP_SUPERVISOR_H_

#include <filesystem>
#include <list>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "cli/io.h"
#include "cli/up/child_process.h"
#include "client/retry.h"

namespace lethe {

struct ServiceSpec {
  std::string name;                    // "worker-1"
  int stage = 0;                       // the highest stage ends first, all of it at once
  std::vector<std::string> arguments;  // program first
  std::filesystem::path log;
};

class Supervisor {
 public:
  explicit Supervisor(const CliIo* io) : io_(io) {}

  // Starts it.
  absl::Status Add(ServiceSpec spec);
  // From now on it is started with these arguments.
  void Replace(const std::string& name, std::vector<std::string> arguments);
  // Notices ends, starts again what is due.
  void Tick(absl::Time now);
  // The process id; 0 while it is down.
  pid_t PidOf(const std::string& name) const;
  // What it ended with, when it has ended since Add or its last start.
  std::optional<ChildExit> ExitOf(const std::string& name) const;
  // All of them.
  void EndInOrder(absl::Duration grace);

 private:
  struct Service {
    ServiceSpec spec;
    std::optional<ChildProcess> child;
    std::optional<ChildExit> exit;
    absl::Time started, restart_at;
    Backoff backoff;
  };

  absl::Status StartService(Service* service, absl::Time now);
  void EndTogether(const std::vector<Service*>& services, absl::Duration grace);
  const Service* Find(const std::string& name) const;

  const CliIo* const io_;
  std::list<Service> services_;
};

}  // namespace lethe

#endif  // LETHE_CLI_UP_SUPERVISOR_H_
