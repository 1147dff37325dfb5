// Runs jobs with the engine: all kinds but those of the verifier.
//
//   WorkerRunner runner(model_folder, device, {.precision = "bf16"}, &metrics);
//   LeaseLoop loop(channel, options, &runner, &metrics);
//
// Files      a checkpoint shows under its output folder whole or not at all; each lease has an
//            output folder of its own, so a worker that lost its lease can do no harm. A corpus and
//            its teachers are changed in place behind locks, from one whole state to the next.
// Privacy    the text to forget stays in memory: no file, log line, metric or failure holds it.
// Threads    Run and Discard on one thread.
#ifndef LETHE_WORKERS_WORKER_RUNNER_H_
#define LETHE_WORKERS_WORKER_RUNNER_H_

#include <filesystem>

#include "client/lease_loop.h"
#include "engine/device.h"
#include "engine/step_options.h"
#include "workers/host/metrics.h"

namespace lethe {

class WorkerRunner : public JobRunner {
 public:
  WorkerRunner(std::filesystem::path models, Device device, StepOptions steps, HostMetrics* metrics)
      : models_(std::move(models)),
        device_(std::move(device)),
        steps_(std::move(steps)),
        metrics_(metrics) {}

  JobOutcome Run(const v1::Job& job, JobControl* control) override;
  void Discard(const v1::Job& job) override;

 private:
  const std::filesystem::path models_;
  const Device device_;
  const StepOptions steps_;
  HostMetrics* const metrics_;
};

}  // namespace lethe

#endif  // LETHE_WORKERS_WORKER_RUNNER_H_
