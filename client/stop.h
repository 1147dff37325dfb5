// Stop: one switch that ends whatever waits. A signal handler's thread requests it; back-offs wake
// up and calls in flight are cancelled.
//
//   Stop stop;
//   StopOnSignals signals(&stop);                     // SIGTERM and SIGINT, from main only
//   if (stop.WaitFor(absl::Seconds(1))) return;       // true: the switch was thrown meanwhile
//
// Threads    any thread may call anything. `Request` is not for use inside a signal handler:
//            StopOnSignals has a thread of its own for that.
// Lifetime   a Stop outlives what waits on it; Subscription ends with its scope.
#ifndef LETHE_CLIENT_STOP_H_
#define LETHE_CLIENT_STOP_H_

#include <cstdint>
#include <functional>
#include <map>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace lethe {

class Stop {
 public:
  void Request() ABSL_LOCKS_EXCLUDED(mu_);
  bool requested() const ABSL_LOCKS_EXCLUDED(mu_);
  // Waits; true when the switch was thrown before the time was over.
  bool WaitFor(absl::Duration duration) const ABSL_LOCKS_EXCLUDED(mu_);

  // Calls `action` once when the switch is thrown while this object lives (at once when it already
  // is). `action` must not block, nor touch the Stop.
  class Subscription {
   public:
    Subscription(Stop* stop, std::function<void()> action);
    ~Subscription();
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;

   private:
    Stop* const stop_;
    uint64_t key_ = 0;
  };

 private:
  mutable absl::Mutex mu_;
  bool requested_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t next_key_ ABSL_GUARDED_BY(mu_) = 1;
  std::map<uint64_t, std::function<void()>> actions_ ABSL_GUARDED_BY(mu_);
};

// Blocks SIGTERM and SIGINT in this thread and all that it starts later, and throws the switch when
// one arrives. A second signal ends the process at once. Construct it first thing in main.
class StopOnSignals {
 public:
  explicit StopOnSignals(Stop* stop);
  ~StopOnSignals();
  StopOnSignals(const StopOnSignals&) = delete;
  StopOnSignals& operator=(const StopOnSignals&) = delete;

 private:
  std::thread thread_;
};

}  // namespace lethe

#endif  // LETHE_CLIENT_STOP_H_
