// Admission and the count of calls in flight: what is over the limit is refused at once instead of
// queued, and a drain knows when the last has ended.
//
//   LETHE_RETURN_IF_ERROR(gate.Enter());  ...  gate.Leave();
//
// Errors     RESOURCE_EXHAUSTED/TOO_MANY_CALLS with RetryInfo;
//            UNAVAILABLE/SERVER_DRAINING once Close was called.
// Threads    any.
#ifndef LETHE_SERVER_RPC_CALL_GATE_H_
#define LETHE_SERVER_RPC_CALL_GATE_H_

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/errors.h"

namespace lethe {

class CallGate {
 public:
  explicit CallGate(int64_t limit) : limit_(limit) {}

  absl::Status Enter() {
    absl::MutexLock lock(&mu_);
    if (closed_) return ServerDraining();
    if (inside_ >= limit_) {
      return RetryLater(absl::StatusCode::kResourceExhausted, "TOO_MANY_CALLS",
                        "the server answers as many calls as it may; call again a little later",
                        absl::Milliseconds(200));
    }
    ++inside_;
    return absl::OkStatus();
  }
  void Leave() {
    absl::MutexLock lock(&mu_);
    --inside_;
  }
  // From now on nothing enters.
  void Close() {
    absl::MutexLock lock(&mu_);
    closed_ = true;
  }
  // False when calls are still inside after `limit`.
  bool WaitUntilEmpty(absl::Duration limit) {
    absl::MutexLock lock(&mu_);
    return mu_.AwaitWithTimeout(absl::Condition(this, &CallGate::Empty), limit);
  }
  int64_t inside() const {
    absl::MutexLock lock(&mu_);
    return inside_;
  }

 private:
  bool Empty() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return inside_ == 0; }

  const int64_t limit_;
  mutable absl::Mutex mu_;
  int64_t inside_ ABSL_GUARDED_BY(mu_) = 0;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace lethe

#endif  // LETHE_SERVER_RPC_CALL_GATE_H_
