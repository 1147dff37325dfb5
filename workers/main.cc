// lethe-worker: leases all jobs but the verifier's and runs them on this machine's GPU or CPU.
#include <memory>

#include "engine/device.h"
#include "workers/host/host.h"
#include "workers/worker_runner.h"

int main(int argc, char** argv) {
  using namespace lethe;
  LetThreadsSleep(argv);
  HostOptions options;
  const char kWhat[] =
      "Leases jobs from lethe-server: prepares registered models, reads corpora and trains their "
      "teachers, and unlearns tickets.\n"
      "Example:\n"
      "  lethe-worker --server 127.0.0.1:7700 --model-folder /var/lib/lethe/models --device auto";
  if (auto code = ParseHostOptions("lethe-worker", kWhat, argc, argv, &options)) return *code;
  return RunHost(options,
                 {v1::JOB_KIND_PREPARE, v1::JOB_KIND_UNLEARN, v1::JOB_KIND_INGEST,
                  v1::JOB_KIND_TRAIN, v1::JOB_KIND_RETRAIN},
                 [&](const Device& device, HostMetrics* metrics) {
                   return std::make_unique<WorkerRunner>(
                       options.model_folder, device,
                       StepOptions{options.precision, options.recompute}, metrics);
                 });
}
