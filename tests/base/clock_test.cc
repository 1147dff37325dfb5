#include "base/clock.h"

#include <gtest/gtest.h>

namespace lethe {
namespace {

absl::Time Utc(const char* text) {
  absl::Time time;
  std::string error;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, &error)) << error;
  return time;
}

// Dates by hand from a calendar; Regulation (EEC) 1182/71:
// the same-numbered day, or the month's last.
TEST(AddMonthsClamped, ClampsToTheMonthsLastDay) {
  EXPECT_EQ(AddMonthsClamped(Utc("2026-01-31T10:00:00Z"), 1), Utc("2026-02-28T10:00:00Z"));
  EXPECT_EQ(AddMonthsClamped(Utc("2028-01-31T10:00:00Z"), 1), Utc("2028-02-29T10:00:00Z"));
  EXPECT_EQ(AddMonthsClamped(Utc("2026-08-31T00:00:00Z"), 1), Utc("2026-09-30T00:00:00Z"));
  EXPECT_EQ(AddMonthsClamped(Utc("2026-12-15T23:59:59Z"), 1), Utc("2027-01-15T23:59:59Z"));
  EXPECT_EQ(AddMonthsClamped(Utc("2026-11-30T01:02:03Z"), 3), Utc("2027-02-28T01:02:03Z"));
}

}  // namespace
}  // namespace lethe
