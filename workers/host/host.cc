#include "workers/host/host.h"

#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <prometheus/exposer.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <exception>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status.h"

namespace lethe {
namespace {

// The gRPC health service: SERVING while the loop takes jobs. Null when no address is given.
absl::StatusOr<std::unique_ptr<grpc::Server>> OpenHealth(const std::string& address, int* port) {
  *port = 0;
  if (address.empty()) return nullptr;
  grpc::EnableDefaultHealthCheckService(true);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials(), port);
  // A server needs a service whose calls it polls for; this one refuses everything else.
  static grpc::CallbackGenericService refuses_the_rest;
  builder.RegisterCallbackGenericService(&refuses_the_rest);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || *port == 0) {
    return Error(absl::StatusCode::kUnavailable, "ADDRESS_IN_USE",
                 absl::StrCat("cannot listen for health checks on ", address));
  }
  return server;
}

absl::StatusOr<std::unique_ptr<prometheus::Exposer>> OpenMetrics(
    const std::string& address, const std::shared_ptr<prometheus::Registry>& registry, int* port) {
  *port = 0;
  if (address.empty()) return nullptr;
  // prometheus-cpp throws when it cannot listen.
  try {
    auto exposer = std::make_unique<prometheus::Exposer>(address, 1);
    exposer->RegisterCollectable(registry);
    const auto ports = exposer->GetListeningPorts();
    if (!ports.empty()) *port = ports.front();
    return exposer;
  } catch (const std::exception&) {
    return Error(absl::StatusCode::kUnavailable, "ADDRESS_IN_USE",
                 absl::StrCat("cannot serve metrics on ", address));
  }
}

int Refuse(const absl::Status& status) {
  std::cerr << status.message() << " (" << ErrorReason(status) << ")\n";
  LogError("cannot run", {{"reason", ErrorReason(status)}});
  return status.code() == absl::StatusCode::kInvalidArgument ? 2 : 1;
}

}  // namespace

void KeepMemoryPrivate() {
  const rlimit none = {0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

int RunHost(const HostOptions& options, const std::vector<v1::JobKind>& kinds,
            const MakeRunner& make_runner) {
  KeepMemoryPrivate();
  Stop stop;
  StopOnSignals signals(&stop);
  InitLogging({.process = options.program, .level = options.log_level, .file = options.log_file});

  absl::StatusOr<Device> device = OpenDevice(options.device);
  if (!device.ok()) return Refuse(device.status());
  HostMetrics metrics(options.program, kinds);
  int health_port = 0, metrics_port = 0;
  auto exposer = OpenMetrics(options.metrics_address, metrics.registry(), &metrics_port);
  if (!exposer.ok()) return Refuse(exposer.status());
  auto health = OpenHealth(options.health_address, &health_port);
  if (!health.ok()) return Refuse(health.status());
  auto channel = OpenChannel(options.channel);
  if (!channel.ok()) return Refuse(channel.status());
  if (!options.port_file.empty()) {
    const absl::Status written =
        WriteFileAtomically(options.port_file, absl::StrCat(health_port, " ", metrics_port, "\n"));
    if (!written.ok()) return Refuse(written);
  }

  std::unique_ptr<JobRunner> runner = make_runner(*device, &metrics);
  LeaseLoopOptions loop_options;
  loop_options.worker_id = options.worker_id;
  loop_options.kinds = kinds;
  loop_options.drain_grace = options.drain_grace;
  LeaseLoop loop(*channel, loop_options, runner.get(), &metrics);
  LogInfo("ready", {{"worker", options.worker_id},
                    {"device", device->name},
                    {"threads", device->threads},
                    {"server", options.channel.address}});
  absl::Status ended;
  {
    Stop::Subscription drain(&stop, [&] {
      if (*health != nullptr) (*health)->GetHealthCheckService()->SetServingStatus(false);
      loop.Drain();
    });
    ended = loop.Run();
  }
  if (*health != nullptr) (*health)->Shutdown(std::chrono::system_clock::now());
  if (!ended.ok()) return Refuse(ended);
  LogInfo("drained", {{"worker", options.worker_id}});
  return 0;
}

}  // namespace lethe
