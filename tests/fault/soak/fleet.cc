#include "tests/fault/soak/fleet.h"

#include <algorithm>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "client/channel.h"

namespace lethe::soak {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kStartPatience = absl::Seconds(60);
constexpr absl::Duration kDrainPatience = absl::Seconds(60);

std::string Seconds(absl::Duration duration) { return absl::FormatDuration(duration); }

}  // namespace

const char* RoleName(Role role) {
  switch (role) {
    case Role::kServer:
      return "server";
    case Role::kWorker1:
      return "worker-1";
    case Role::kWorker2:
      return "worker-2";
    case Role::kVerifier:
      return "verifier";
  }
  return "";
}

Fleet::Fleet(const fs::path& folder, const fs::path& programs)
    : folder_(folder), programs_(programs) {}

absl::Status Fleet::Prepare() {
  std::error_code error;
  for (const fs::path& made : {folder_ / "db", models(), logs(), folder_ / "run"}) {
    fs::create_directories(made, error);
    if (error) return SystemError("cannot create", made, error.value());
  }
  return absl::OkStatus();
}

fs::path Fleet::PortFile(Role role) const {
  return folder_ / "run" / absl::StrCat(RoleName(role), ".ports");
}
fs::path Fleet::Log(Role role) const { return logs() / absl::StrCat(RoleName(role), ".log"); }

std::string Fleet::Tail(Role role) const {
  std::ifstream in(Log(role));
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  std::string text = absl::StrCat("\n  ", Log(role).string(), " ends with:");
  for (size_t i = lines.size() > 5 ? lines.size() - 5 : 0; i < lines.size(); ++i) {
    absl::StrAppend(&text, "\n  ", lines[i].substr(0, 300));
  }
  return text;
}

absl::Status Fleet::Start(const std::vector<Role>& roles) {
  for (const Role role : roles) {
    if (processes_[role].Running()) continue;
    LETHE_RETURN_IF_ERROR(role == Role::kServer ? StartServer() : StartHost(role));
    expected_.push_back(role);
  }
  return absl::OkStatus();
}

absl::Status Fleet::StartServer() {
  const int before = port_;
  LETHE_ASSIGN_OR_RETURN(const bool same, TryServer(port_));
  if (same) return absl::OkStatus();
  LETHE_ASSIGN_OR_RETURN(const bool other, TryServer(0));
  if (!other) {
    return Error(absl::StatusCode::kInternal, "SERVER_ENDED",
                 absl::StrCat("the server does not start", Tail(Role::kServer)));
  }
  if (before == 0) return absl::OkStatus();
  for (const Role role : {Role::kWorker1, Role::kWorker2, Role::kVerifier}) {
    if (!processes_[role].Running()) continue;
    processes_[role].Kill();
    LETHE_RETURN_IF_ERROR(StartHost(role));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Fleet::TryServer(int port) {
  const fs::path port_file = PortFile(Role::kServer);
  std::error_code error;
  fs::remove(port_file, error);
  LETHE_ASSIGN_OR_RETURN(processes_[Role::kServer],
                         Process::Start({programs_ / "lethe-server",
                                         "--listen-address",
                                         absl::StrCat("127.0.0.1:", port),
                                         "--metrics-address",
                                         "127.0.0.1:0",
                                         "--port-file",
                                         port_file,
                                         "--data-folder",
                                         folder_ / "db",
                                         "--model-folder",
                                         models(),
                                         "--key-file",
                                         folder_ / "vault.key",
                                         "--lease-duration",
                                         Seconds(kLease),
                                         "--maintenance-interval",
                                         "50ms",
                                         "--retry-base",
                                         "100ms",
                                         "--retry-cap",
                                         "500ms",
                                         "--worker-loss-limit",
                                         "20",
                                         "--infrastructure-retry-limit",
                                         "20"},
                                        Log(Role::kServer)));
  Process& server = processes_[Role::kServer];
  int listening = 0;
  LETHE_RETURN_IF_ERROR(WaitUntil("the server to listen", kStartPatience, [&] {
    std::ifstream in(port_file);
    return (in >> listening && listening > 0) || !server.Running();
  }));
  if (listening > 0) {
    LETHE_RETURN_IF_ERROR(Listening(listening));
    return true;
  }
  if (port != 0 && Tail(Role::kServer).find("is it in use?") != std::string::npos) return false;
  return Error(
      absl::StatusCode::kInternal, "SERVER_ENDED",
      absl::StrCat("the server ended at its start with ", server.end(), Tail(Role::kServer)));
}

absl::Status Fleet::Listening(int port) {
  if (port == port_) return absl::OkStatus();
  port_ = port;
  LETHE_ASSIGN_OR_RETURN(auto channel, OpenChannel({.address = absl::StrCat("127.0.0.1:", port)}));
  auto stubs = std::make_shared<Stubs>();
  stubs->deletion = v1::DeletionService::NewStub(channel);
  stubs->model = v1::ModelService::NewStub(channel);
  absl::MutexLock lock(&mu_);
  stubs_ = std::move(stubs);
  return absl::OkStatus();
}

absl::Status Fleet::StartHost(Role role) {
  const char* program = role == Role::kVerifier ? "lethe-verifier" : "lethe-worker";
  std::error_code error;
  fs::remove(PortFile(role), error);
  LETHE_ASSIGN_OR_RETURN(
      processes_[role],
      Process::Start({programs_ / program, "--server", absl::StrCat("127.0.0.1:", port_),
                      "--model-folder", models(), "--worker-id", RoleName(role), "--device", "cpu",
                      "--threads", "1", "--port-file", PortFile(role)},
                     Log(role)));
  return absl::OkStatus();
}

void Fleet::Kill(const std::vector<Role>& roles) {
  for (const Role role : roles) {
    processes_[role].Kill();
    std::erase(expected_, role);
  }
}

absl::Status Fleet::Drain(const std::vector<Role>& roles) {
  for (const Role role : roles) {
    std::erase(expected_, role);
    // Before a process has loaded its libraries nobody listens to the signal, which then simply
    // ends it.
    LETHE_RETURN_IF_ERROR(WaitUntil("a process to be up", kStartPatience, [&] {
      return fs::exists(PortFile(role)) || !processes_[role].Running();
    }));
    LETHE_ASSIGN_OR_RETURN(const std::string end, processes_[role].Terminate(kDrainPatience));
    if (end != "exit code 0") {
      return Error(
          absl::StatusCode::kInternal, "DRAIN_FAILED",
          absl::StrCat(RoleName(role), " was asked to drain and ended with ", end, Tail(role)));
    }
  }
  return absl::OkStatus();
}

absl::Status Fleet::CheckAlive() {
  for (const Role role : expected_) {
    if (processes_[role].Running()) continue;
    return Error(
        absl::StatusCode::kInternal, "PROCESS_ENDED",
        absl::StrCat(RoleName(role), " ended by itself with ", processes_[role].end(), Tail(role)));
  }
  return absl::OkStatus();
}

std::shared_ptr<const Stubs> Fleet::stubs() const {
  absl::MutexLock lock(&mu_);
  return stubs_;
}

}  // namespace lethe::soak
