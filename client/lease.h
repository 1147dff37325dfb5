// Lease: one acquired job while it is ours. Internal to the lease loop.
//
// States     kHeld, then at most one of the ends; `cancelled` is set
//            with each end but kCompleted and kFailed.
// Threads    heartbeats have a thread of their own; all other calls come
//            from the loop's thread, Report from any.
#ifndef LETHE_CLIENT_LEASE_H_
#define LETHE_CLIENT_LEASE_H_

#include <atomic>
#include <functional>
#include <optional>
#include <thread>

#include "client/lease_loop.h"

namespace lethe {

class Lease : public JobControl {
 public:
  Lease(LeaseLoop* loop, const v1::Job& job, absl::Time acquired);
  ~Lease() override;  // ends the heartbeats

  const std::atomic<bool>& cancelled() const override { return cancelled_; }
  void Report(const v1::Progress& progress) override;

  // Sends the outcome, again and again until it is accepted or the lease is over; says how the
  // lease ended.
  LeaseEnd Deliver(const JobOutcome& outcome);

 private:
  void HeartbeatLoop();
  absl::Status Heartbeat();
  void OnHeartbeatReply(const v1::HeartbeatResponse& response);
  // Waits until the next heartbeat is due, at most `pause`; false when the thread is to end.
  bool WaitForNext(absl::Duration pause) ABSL_LOCKS_EXCLUDED(mu_);
  bool EndOrUrgent() const ABSL_SHARED_LOCKS_REQUIRED(mu_) { return done_ || urgent_; }

  LeaseEnd SendUntilAnswered(LeaseEnd accepted, const std::function<absl::Status()>& send,
                             absl::Status* refusal);
  LeaseEnd Fail(const JobFailure& failure, LeaseEnd accepted);
  absl::Status Complete(const JobResult& result);

  void End(LeaseEnd end) ABSL_LOCKS_EXCLUDED(mu_);
  std::optional<LeaseEnd> end() const ABSL_LOCKS_EXCLUDED(mu_);
  void Contacted() ABSL_LOCKS_EXCLUDED(mu_);
  bool SurelyOver() const ABSL_LOCKS_EXCLUDED(mu_);
  // After the drain's grace the work is cancelled, to be given back.
  void CheckDrain() ABSL_LOCKS_EXCLUDED(mu_);

  LeaseLoop* const loop_;
  const v1::Job& job_;
  const absl::Duration interval_;
  std::atomic<bool> cancelled_{false};

  mutable absl::Mutex mu_;
  v1::Progress progress_ ABSL_GUARDED_BY(mu_);
  bool urgent_ ABSL_GUARDED_BY(mu_) = false;  // a new phase waits to be told
  bool done_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<LeaseEnd> end_ ABSL_GUARDED_BY(mu_);
  absl::Time contact_ ABSL_GUARDED_BY(mu_);  // the server's last answer
  std::optional<absl::Time> drain_since_ ABSL_GUARDED_BY(mu_);
  Stop over_;  // thrown with done_ or an end: wakes pauses, cancels heartbeats in flight

  std::thread heartbeats_;  // last: it uses all of the above
};

}  // namespace lethe

#endif  // LETHE_CLIENT_LEASE_H_
