#include "workers/host/metrics.h"

#include "absl/strings/ascii.h"
#include "base/version.h"

namespace lethe {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildGauge;
using prometheus::BuildHistogram;

const prometheus::Histogram::BucketBoundaries kJobSeconds = {0.5, 1,   2,   5,    10,   30,   60,
                                                             120, 300, 600, 1800, 3600, 14400};
const prometheus::Histogram::BucketBoundaries kStepSeconds = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                                              0.5,   1,    2.5,   5,    10,  30};

}  // namespace

std::string KindName(v1::JobKind kind) {
  const std::string name = v1::JobKind_Name(kind);
  const std::string prefix = "JOB_KIND_";
  return absl::AsciiStrToLower(
      name.compare(0, prefix.size(), prefix) == 0 ? name.substr(prefix.size()) : "unknown");
}

HostMetrics::HostMetrics(const std::string& program, const std::vector<v1::JobKind>& kinds)
    : registry_(std::make_shared<prometheus::Registry>()) {
  jobs_ = &BuildCounter()
               .Name("lethe_worker_jobs_total")
               .Help("Jobs that this process has had, by kind and by how the lease ended.")
               .Register(*registry_);
  job_seconds_ = &BuildHistogram()
                      .Name("lethe_worker_job_seconds")
                      .Help("Wall time of a job, from its lease to its end.")
                      .Register(*registry_);
  // All series exist from the start, so that rate() and alerts work before the first event.
  for (v1::JobKind kind : kinds) {
    for (LeaseEnd end : {LeaseEnd::kCompleted, LeaseEnd::kFailed, LeaseEnd::kDrained,
                         LeaseEnd::kCancelled, LeaseEnd::kLost, LeaseEnd::kUnreachable}) {
      jobs_->Add({{"kind", KindName(kind)}, {"end", LeaseEndName(end)}});
    }
    job_seconds_->Add({{"kind", KindName(kind)}}, kJobSeconds);
  }
  acquire_failures_ = &BuildCounter()
                           .Name("lethe_worker_acquire_failures_total")
                           .Help("Calls for a job that the server did not answer.")
                           .Register(*registry_)
                           .Add({});
  heartbeat_failures_ = &BuildCounter()
                             .Name("lethe_worker_heartbeat_failures_total")
                             .Help("Heartbeats that failed.")
                             .Register(*registry_)
                             .Add({});
  tokens_ = &BuildCounter()
                 .Name("lethe_worker_tokens_total")
                 .Help("Tokens of the tickets' sequences in the jobs of this process.")
                 .Register(*registry_)
                 .Add({});
  busy_ = &BuildGauge()
               .Name("lethe_worker_busy")
               .Help("1 while a job runs.")
               .Register(*registry_)
               .Add({});
  step_seconds_ = &BuildHistogram()
                       .Name("lethe_worker_step_seconds")
                       .Help("Wall time of an optimizer step or of a batch of an attack.")
                       .Register(*registry_)
                       .Add({}, kStepSeconds);
  BuildGauge()
      .Name("lethe_worker_build_info")
      .Help("1; the labels say what runs.")
      .Register(*registry_)
      .Add({{"program", program}, {"version", LetheVersion()}})
      .Set(1);
}

void HostMetrics::OnAcquireFailed(const absl::Status&) { acquire_failures_->Increment(); }

void HostMetrics::OnAcquired(const v1::Job&) { busy_->Set(1); }

void HostMetrics::OnHeartbeat(const v1::Job&, const absl::Status& status) {
  if (!status.ok()) heartbeat_failures_->Increment();
}

void HostMetrics::OnEnd(const v1::Job& job, LeaseEnd end, absl::Duration took) {
  busy_->Set(0);
  jobs_->Add({{"kind", KindName(job.kind())}, {"end", LeaseEndName(end)}}).Increment();
  job_seconds_->Add({{"kind", KindName(job.kind())}}, kJobSeconds)
      .Observe(absl::ToDoubleSeconds(took));
}

void HostMetrics::StepDone(absl::Duration took) {
  step_seconds_->Observe(absl::ToDoubleSeconds(took));
}

void HostMetrics::TokensTaken(int64_t tokens) { tokens_->Increment(static_cast<double>(tokens)); }

}  // namespace lethe
