#include "client/lease_loop.h"

#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "client/lease.h"

namespace lethe {
namespace {

// The server will never give this process a job: trying again is of no use.
bool IsHopeless(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kUnimplemented:
      return true;
    default:
      return false;
  }
}

// Whether the outcome of the work is certainly not the server's: what was made may go. After
// kUnreachable it may have been accepted, and only the answer was lost.
bool IsDiscarded(LeaseEnd end) {
  return end != LeaseEnd::kCompleted && end != LeaseEnd::kUnreachable;
}

}  // namespace

const char* LeaseEndName(LeaseEnd end) {
  switch (end) {
    case LeaseEnd::kCompleted:
      return "completed";
    case LeaseEnd::kFailed:
      return "failed";
    case LeaseEnd::kDrained:
      return "drained";
    case LeaseEnd::kCancelled:
      return "cancelled";
    case LeaseEnd::kLost:
      return "lost";
    case LeaseEnd::kUnreachable:
      return "unreachable";
  }
  return "";
}

LeaseLoop::LeaseLoop(std::shared_ptr<grpc::Channel> channel, LeaseLoopOptions options,
                     JobRunner* runner, LeaseObserver* observer)
    : stub_(v1::WorkService::NewStub(std::move(channel))),
      options_(std::move(options)),
      runner_(runner),
      observer_(observer != nullptr ? observer : &silent_) {}

absl::Status LeaseLoop::Run() {
  Backoff backoff(options_.retry, options_.random);
  while (!draining() && !drained_by_server_) {
    absl::StatusOr<v1::AcquireJobResponse> response = Acquire();
    if (draining() && !response.ok()) break;
    if (!response.ok()) {
      observer_->OnAcquireFailed(response.status());
      if (IsHopeless(response.status())) return Annotate(response.status(), "acquiring a job");
      if (backoff.pauses() == 0) {
        LogWarning("cannot acquire a job; trying again",
                   {{"reason", ErrorReason(response.status())}});
      }
      drain_.WaitFor(backoff.Next(response.status()));
      continue;
    }
    backoff.Reset();
    if (response->has_job()) Work(response->job(), options_.clock->Now());
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::AcquireJobResponse> LeaseLoop::Acquire() {
  v1::AcquireJobRequest request;
  request.set_worker_id(options_.worker_id);
  for (v1::JobKind kind : options_.kinds) request.add_kinds(kind);
  request.mutable_wait()->set_seconds(absl::ToInt64Seconds(options_.acquire_wait));
  request.mutable_wait()->set_nanos(
      static_cast<int32_t>(absl::ToInt64Nanoseconds(options_.acquire_wait % absl::Seconds(1))));
  v1::AcquireJobResponse response;
  // A drain cancels the long poll. Should the server grant a job in that very moment, its lease
  // runs out there.
  const Caller caller({.stop = &drain_, .random = options_.random});
  const absl::Status status = caller.Once(
      options_.acquire_wait + options_.call_deadline,
      [&](grpc::ClientContext* context) { return stub_->AcquireJob(context, request, &response); });
  if (!status.ok()) return status;
  return response;
}

void LeaseLoop::Work(const v1::Job& job, absl::Time acquired) {
  LogInfo("job acquired", {{"job", job.job_id()},
                           {"kind", v1::JobKind_Name(job.kind())},
                           {"model", job.model_id()},
                           {"fence", job.fence()}});
  observer_->OnAcquired(job);
  LeaseEnd end;
  {
    Lease lease(this, job, acquired);
    const JobOutcome outcome = runner_->Run(job, &lease);
    end = lease.Deliver(outcome);
  }
  if (IsDiscarded(end)) runner_->Discard(job);
  const absl::Duration took = options_.clock->Now() - acquired;
  LogInfo("job ended", {{"job", job.job_id()},
                        {"kind", v1::JobKind_Name(job.kind())},
                        {"end", LeaseEndName(end)},
                        {"seconds", absl::ToDoubleSeconds(took)}});
  observer_->OnEnd(job, end, took);
}

}  // namespace lethe
