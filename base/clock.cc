#include "base/clock.h"

#include <algorithm>

#include "absl/time/civil_time.h"
#include "absl/time/clock.h"

namespace lethe {
namespace {

class RealClock : public Clock {
 public:
  absl::Time Now() override { return absl::Now(); }
};

}  // namespace

Clock* SystemClock() {
  static RealClock* clock = new RealClock;
  return clock;
}

absl::Time AddMonthsClamped(absl::Time from, int months) {
  const absl::TimeZone utc = absl::UTCTimeZone();
  const absl::CivilSecond start = absl::ToCivilSecond(from, utc);
  const absl::CivilMonth month = absl::CivilMonth(start) + months;
  const int last_day =
      (absl::CivilDay(month + 1) - 1).day();  // civil time would carry 31 February into March
  const absl::CivilSecond end(month.year(), month.month(), std::min(start.day(), last_day),
                              start.hour(), start.minute(), start.second());
  return absl::FromCivil(end, utc);
}

}  // namespace lethe
