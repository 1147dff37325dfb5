// The process around a lease loop: logs, metrics, health, signals, and memory that leaves no trace.
//
//   int main(int argc, char** argv) {
//     HostOptions options;
//     if (auto code = ParseHostOptions("lethe-worker", "...", argc, argv, &options)) return *code;
//     return RunHost(options, kinds, [&](const Device& device, HostMetrics* metrics) { ... });
//   }
//
// Exit codes  0 drained after SIGTERM, SIGINT or the server's word; 1 the server will never give
//             this process a job, or a port cannot be opened; 2 options.
// Privacy     core dumps are off and other processes of the user may not read this one's memory:
//             it holds the text to forget.
#ifndef LETHE_WORKERS_HOST_HOST_H_
#define LETHE_WORKERS_HOST_HOST_H_

#include <functional>
#include <memory>
#include <vector>

#include "client/lease_loop.h"
#include "engine/device.h"
#include "workers/host/host_options.h"
#include "workers/host/metrics.h"

namespace lethe {

using MakeRunner = std::function<std::unique_ptr<JobRunner>(const Device&, HostMetrics*)>;

int RunHost(const HostOptions& options, const std::vector<v1::JobKind>& kinds,
            const MakeRunner& make_runner);

// No core dump, no ptrace by others of the same user.
void KeepMemoryPrivate();

}  // namespace lethe

#endif  // LETHE_WORKERS_HOST_HOST_H_
