// What a worker or verifier tells Prometheus.
//
//   HostMetrics metrics("lethe-worker", {v1::JOB_KIND_UNLEARN});
//   LeaseLoop loop(channel, options, &runner, &metrics);
//
// Rule       no label holds an id: kinds, ends and phases only.
// Threads    any.
#ifndef LETHE_WORKERS_HOST_METRICS_H_
#define LETHE_WORKERS_HOST_METRICS_H_

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <memory>
#include <string>
#include <vector>

#include "client/lease_loop.h"

namespace lethe {

class HostMetrics : public LeaseObserver {
 public:
  HostMetrics(const std::string& program, const std::vector<v1::JobKind>& kinds);

  std::shared_ptr<prometheus::Registry> registry() const { return registry_; }

  void OnAcquireFailed(const absl::Status& status) override;
  void OnAcquired(const v1::Job& job) override;
  void OnHeartbeat(const v1::Job& job, const absl::Status& status) override;
  void OnEnd(const v1::Job& job, LeaseEnd end, absl::Duration took) override;

  // A step of the running work took so long.
  void StepDone(absl::Duration took);
  // Tokens of the sequences that a job was given.
  void TokensTaken(int64_t tokens);

 private:
  const std::shared_ptr<prometheus::Registry> registry_;
  prometheus::Family<prometheus::Counter>* jobs_;
  prometheus::Family<prometheus::Histogram>* job_seconds_;
  prometheus::Counter* acquire_failures_;
  prometheus::Counter* heartbeat_failures_;
  prometheus::Counter* tokens_;
  prometheus::Gauge* busy_;
  prometheus::Histogram* step_seconds_;
};

// "prepare", "unlearn", "verify", …
std::string KindName(v1::JobKind kind);

}  // namespace lethe

#endif  // LETHE_WORKERS_HOST_METRICS_H_
