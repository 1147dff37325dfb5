// Options of the processes that lease jobs: flags over environment over a TOML file over defaults.
//
//   HostOptions options;
//   if (std::optional<int> code = ParseHostOptions("lethe-worker", "...", argc, argv, &options)) {
//     return *code;
//   }
//
// Every flag --some-name can be given as some-name in the file of --config, and as LETHE_SOME_NAME
// in the environment (the server's address as LETHE_SERVER).
#ifndef LETHE_WORKERS_HOST_HOST_OPTIONS_H_
#define LETHE_WORKERS_HOST_HOST_OPTIONS_H_

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "client/channel.h"
#include "engine/catalog.h"
#include "engine/device.h"

namespace lethe {

struct HostOptions {
  ChannelOptions channel;    // where the server is
  std::string program;       // "lethe-worker"
  std::string worker_id;     // default: program, host name and process id
  std::string model_folder;  // shared with the server
  DeviceOptions device;
  std::string metrics_address;  // of Prometheus' /metrics; empty: none
  std::string health_address;   // of the gRPC health service; empty: none
  std::string port_file;        // "HEALTH_PORT METRICS_PORT" once both are open
  absl::Duration drain_grace = absl::Seconds(10);
  std::string log_level = "info";
  std::string log_file;
  // Worker only, engine/unlearn.h: what steps compute in, and whether activations are recomputed.
  std::string precision = "auto";
  bool recompute = false;
  // Verifier only: at most so many sequences of each set are attacked or measured.
  int max_control = kMaxControl;
  int max_utility = kMaxUtility;
};

// Reads them. A value is the exit code of a process that is not to run: 0 after --help or
// --version, 2 after a mistake, which has been printed.
std::optional<int> ParseHostOptions(const std::string& program, const std::string& what, int argc,
                                    char** argv, HostOptions* options);

}  // namespace lethe

#endif  // LETHE_WORKERS_HOST_HOST_OPTIONS_H_
