// A lethe-server of one's own: started beside this program's binary, stopped with the object.
//
//   LETHE_ASSIGN_OR_RETURN(auto server, ServerProcess::Start(folder, {"--log-level", "warn"}));
//   grpc::CreateChannel(server->address(), ...);
#ifndef LETHE_BENCH_SERVER_PROCESS_H_
#define LETHE_BENCH_SERVER_PROCESS_H_

#include <sys/types.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace lethe {

class ServerProcess {
 public:
  static absl::StatusOr<std::unique_ptr<ServerProcess>> Start(
      const std::filesystem::path& folder, const std::vector<std::string>& options);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  const std::string& address() const { return address_; }
  // Processor time that it has used so far, all threads together.
  double CpuSeconds() const;
  std::filesystem::path model_folder() const { return folder_ / "models"; }

 private:
  ServerProcess(std::filesystem::path folder, pid_t pid) : folder_(std::move(folder)), pid_(pid) {}

  const std::filesystem::path folder_;
  const pid_t pid_;
  std::string address_;
};

}  // namespace lethe

#endif  // LETHE_BENCH_SERVER_PROCESS_H_
