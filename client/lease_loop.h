// The lease loop: what a worker and a verifier do all day.
//
//   LeaseLoop loop(channel, {.worker_id = "worker-1", .kinds = {v1::JOB_KIND_UNLEARN}}, &runner,
//                  &observer);
//   absl::Status status = loop.Run();  // until drained: loop.Drain(), from a Stop::Subscription
//
// One job at a time: acquire (long poll), run it on the calling thread while a thread of the loop
// sends heartbeats, hand in the result. What the server says in its heartbeats reaches the running
// work through JobControl:
//
//   CONTINUE    nothing
//   CANCEL      the work is cancelled and dropped; nothing is sent
//   DRAIN       the job is finished, then Run returns
//   LEASE_LOST  the work is cancelled and dropped: the job is somebody else's
//
// Lost server  the work goes on while heartbeats are repeated with back-off, until the lease has
//              surely ended (four heartbeat intervals after the last answer: a lease is three);
//              then it is cancelled and dropped. The end is judged by this machine's clock alone,
//              so the clocks of server and worker need not agree.
// Drain        no further job is acquired; a running one may finish within `drain_grace`, then it
//              is cancelled and given back with FAILURE_CAUSE_DRAINED.
// Memory only  the job carries the text to forget; the loop holds
//              the only copy and frees it after the job.
// Threads      Run on one thread; Drain and JobControl from any.
// Errors       Run returns OK after a drain; INVALID_ARGUMENT, PERMISSION_DENIED,
//              UNAUTHENTICATED or UNIMPLEMENTED when the server will never give this process a
//              job. Everything else is retried for ever.
#ifndef LETHE_CLIENT_LEASE_LOOP_H_
#define LETHE_CLIENT_LEASE_LOOP_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/random.h"
#include "client/call.h"
#include "client/retry.h"
#include "client/stop.h"
#include "grpcpp/channel.h"
#include "lethe/v1/work_service.grpc.pb.h"

namespace lethe {

// Why a job did not come to a result. `reason` is UPPER_SNAKE; neither field holds personal data.
// The server hears the reason; the message stands, cut short, in this process' log.
struct JobFailure {
  v1::FailureCause cause = v1::FAILURE_CAUSE_INFRASTRUCTURE;
  std::string reason;
  std::string message;
  int64_t line = 0;    // at fault, from 1; 0: none is
  int32_t source = 0;  // the file that it is of: FailJobRequest.source
};

using JobResult = std::variant<v1::PrepareResult, v1::UnlearnResult, v1::VerifyResult,
                               v1::IngestResult, v1::TrainResult, v1::RetrainResult>;
using JobOutcome = std::variant<JobResult, JobFailure>;

// The running work's view of its lease.
class JobControl {
 public:
  virtual ~JobControl() = default;
  // True when the work is to stop at the next step; poll it, or hand the flag down.
  virtual const std::atomic<bool>& cancelled() const = 0;
  // Tells how far the work is. Cheap: the newest report waits for the next heartbeat. A new phase
  // is sent soon.
  virtual void Report(const v1::Progress& progress) = 0;
};

// Does the work; implemented by workers/ and verifier/.
class JobRunner {
 public:
  virtual ~JobRunner() = default;
  // On the loop's thread. After a cancellation any outcome will do.
  virtual JobOutcome Run(const v1::Job& job, JobControl* control) = 0;
  // The server has refused the job's result for good, or never saw one and the job is no longer
  // ours: what was made for it may go.
  virtual void Discard(const v1::Job& job) {}
};

// How a lease ended; a label of metrics.
enum class LeaseEnd {
  kCompleted,    // the result was accepted
  kFailed,       // a failure was reported
  kDrained,      // given back because this process ends
  kCancelled,    // the server no longer wants it
  kLost,         // the server gave it to another
  kUnreachable,  // no answer until the lease had surely ended
};
const char* LeaseEndName(LeaseEnd end);  // "completed", ...

// Told of everything that happens; used by metrics and by tests. Calls come from the loop's threads
// and must not block.
class LeaseObserver {
 public:
  virtual ~LeaseObserver() = default;
  virtual void OnAcquireFailed(const absl::Status& status) {}
  virtual void OnAcquired(const v1::Job& job) {}
  virtual void OnHeartbeat(const v1::Job& job, const absl::Status& status) {}
  virtual void OnEnd(const v1::Job& job, LeaseEnd end, absl::Duration took) {}
};

struct LeaseLoopOptions {
  std::string worker_id;
  std::vector<v1::JobKind> kinds;
  absl::Duration acquire_wait = absl::Seconds(20);  // the server holds an AcquireJob so long
  absl::Duration call_deadline = absl::Seconds(10);
  absl::Duration drain_grace = absl::Seconds(10);
  RetryPolicy retry = {.first_pause = absl::Milliseconds(200),
                       .longest_pause = absl::Seconds(10),
                       .max_attempts = 0};
  Clock* clock = SystemClock();
  Random* random = SecureRandom();
};

class LeaseLoop {
 public:
  // `runner` and `observer` outlive the loop; `observer` may be null.
  LeaseLoop(std::shared_ptr<grpc::Channel> channel, LeaseLoopOptions options, JobRunner* runner,
            LeaseObserver* observer);

  absl::Status Run();
  // Begins to drain. Idempotent.
  void Drain() { drain_.Request(); }
  bool draining() const { return drain_.requested(); }

 private:
  friend class Lease;

  // One long poll; a response without a job when there was none.
  absl::StatusOr<v1::AcquireJobResponse> Acquire();
  void Work(const v1::Job& job, absl::Time acquired);

  const std::unique_ptr<v1::WorkService::Stub> stub_;
  const LeaseLoopOptions options_;
  JobRunner* const runner_;
  LeaseObserver* const observer_;
  LeaseObserver silent_;
  Stop drain_;
  std::atomic<bool> drained_by_server_{false};
};

}  // namespace lethe

#endif  // LETHE_CLIENT_LEASE_LOOP_H_
