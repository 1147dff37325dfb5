// Fleet: server, workers and verifier as processes on one data folder.
//
//   LETHE_ASSIGN_OR_RETURN(std::unique_ptr<Fleet> fleet, Fleet::Make(folder, programs, {}));
//   LETHE_RETURN_IF_ERROR(fleet->StartAll());
//   fleet->Kill({Role::kServer});   LETHE_RETURN_IF_ERROR(fleet->Start({Role::kServer}));
//
// Port       the server takes a free port at its first start and the same at each restart, so that
//            workers find it again; should another process have taken the port meanwhile, a new one
//            is taken and workers and verifier are started anew.
// Threads    processes from one thread; `stubs` from any.
// Errors     of Process; WAITED_TOO_LONG, with the end of the process's log.
#ifndef LETHE_TESTS_FAULT_SOAK_FLEET_H_
#define LETHE_TESTS_FAULT_SOAK_FLEET_H_

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "lethe/v1/deletion_service.grpc.pb.h"
#include "lethe/v1/model_service.grpc.pb.h"
#include "tests/fault/soak/process.h"

namespace lethe::soak {

enum class Role { kServer, kWorker1, kWorker2, kVerifier };
inline constexpr Role kRoles[] = {Role::kServer, Role::kWorker1, Role::kWorker2, Role::kVerifier};
const char* RoleName(Role role);  // "server", "worker-1", ...

inline constexpr absl::Duration kLease = absl::Milliseconds(1500);

// Connections to the server as it listens now.
struct Stubs {
  std::unique_ptr<v1::DeletionService::Stub> deletion;
  std::unique_ptr<v1::ModelService::Stub> model;
};

class Fleet {
 public:
  Fleet(const std::filesystem::path& folder, const std::filesystem::path& programs);

  absl::Status Prepare();  // makes the folders
  absl::Status Start(const std::vector<Role>& roles);
  void Kill(const std::vector<Role>& roles);
  // SIGTERM; each must end with exit code 0.
  absl::Status Drain(const std::vector<Role>& roles);
  Process& process(Role role) { return processes_[role]; }

  // Whoever has ended without being asked to: that is a failure of the soak.
  absl::Status CheckAlive();

  std::shared_ptr<const Stubs> stubs() const;
  std::filesystem::path store() const { return folder_ / "db" / "store"; }
  std::filesystem::path models() const { return folder_ / "models"; }
  std::filesystem::path logs() const { return folder_ / "logs"; }

 private:
  absl::Status StartServer();
  absl::Status StartHost(Role role);
  absl::StatusOr<bool> TryServer(int port);  // false: the port is taken
  absl::Status Listening(int port);
  std::string Tail(Role role) const;
  std::filesystem::path Log(Role role) const;
  std::filesystem::path PortFile(Role role) const;

  const std::filesystem::path folder_, programs_;
  std::map<Role, Process> processes_;
  std::vector<Role> expected_;  // to be running
  int port_ = 0;
  mutable absl::Mutex mu_;
  std::shared_ptr<const Stubs> stubs_ ABSL_GUARDED_BY(mu_);
};

}  // namespace lethe::soak

#endif  // LETHE_TESTS_FAULT_SOAK_FLEET_H_
