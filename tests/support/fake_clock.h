// A clock that stands still until a test moves it.
//
// Threads    any thread may call.
#ifndef LETHE_TESTS_SUPPORT_FAKE_CLOCK_H_
#define LETHE_TESTS_SUPPORT_FAKE_CLOCK_H_

#include "absl/synchronization/mutex.h"
#include "base/clock.h"

namespace lethe {

class FakeClock : public Clock {
 public:
  explicit FakeClock(absl::Time start = absl::FromUnixSeconds(1'790'000'000)) : now_(start) {}
  absl::Time Now() override {
    absl::MutexLock lock(&mu_);
    return now_;
  }
  void Advance(absl::Duration by) {
    absl::MutexLock lock(&mu_);
    now_ += by;
  }

 private:
  absl::Mutex mu_;
  absl::Time now_ ABSL_GUARDED_BY(mu_);
};

}  // namespace lethe

#endif  // LETHE_TESTS_SUPPORT_FAKE_CLOCK_H_
