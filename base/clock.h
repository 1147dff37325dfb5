// Time that is passed in. Production code holds a Clock*, tests hold a FakeClock
// (tests/support/fake_clock.h).
//
// Threads    any thread may call Now().
#ifndef LETHE_BASE_CLOCK_H_
#define LETHE_BASE_CLOCK_H_

#include "absl/time/time.h"

namespace lethe {

class Clock {
 public:
  virtual ~Clock() = default;
  virtual absl::Time Now() = 0;
};

// The machine's wall clock; lives for ever.
Clock* SystemClock();

// Calendar arithmetic for legal deadlines: the same-numbered day `months` later, at the same UTC
// time of day, clamped to the last day of a shorter month (31 January + 1 month = 28 or 29
// February). GDPR Art. 12(3), Regulation 1182/71.
absl::Time AddMonthsClamped(absl::Time from, int months);

}  // namespace lethe

#endif  // LETHE_BASE_CLOCK_H_
