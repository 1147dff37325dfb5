#include "engine/train/guard.h"

#include <gtest/gtest.h>

#include <limits>

namespace lethe {
namespace {

TEST(RunningBand, NotFiniteIsAVerdictOfItsOwnFromTheFirstValueOn) {
  for (const double bad :
       {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
        -std::numeric_limits<double>::infinity()}) {
    RunningBand band;
    EXPECT_EQ(band.Judge(bad), BandVerdict::kNotFinite);
    // It left nothing behind: the band works as if it had never come.
    for (int i = 0; i < 10; ++i) EXPECT_EQ(band.Judge(1.0), BandVerdict::kInside);
    EXPECT_EQ(band.Judge(bad), BandVerdict::kNotFinite);
    EXPECT_EQ(band.Judge(1.0), BandVerdict::kInside);
    EXPECT_DOUBLE_EQ(band.mean(), 1.0);
  }
}

// By hand: ten times 1 gives mean 1, deviation 0; the floor is .05 (1 + 1) = .1, the width 20, so
// the edge is 1 + 2 = 3.
TEST(RunningBand, EdgeByHand) {
  RunningBand band;
  for (int i = 0; i < 10; ++i) ASSERT_EQ(band.Judge(1.0), BandVerdict::kInside);
  EXPECT_EQ(band.Judge(3.001), BandVerdict::kOutside);
  EXPECT_EQ(band.Judge(2.999), BandVerdict::kInside);
}

TEST(RunningBand, AValueOutsideDoesNotWidenTheBand) {
  RunningBand band;
  for (int i = 0; i < 10; ++i) ASSERT_EQ(band.Judge(1.0), BandVerdict::kInside);
  for (int i = 0; i < 200; ++i) ASSERT_EQ(band.Judge(1e6), BandVerdict::kOutside);
  EXPECT_DOUBLE_EQ(band.mean(), 1.0);
  EXPECT_DOUBLE_EQ(band.deviation(), 0.0);
}

TEST(RunningBand, FollowsASlowRiseAndAnyFall) {
  RunningBand band;
  double value = 1;
  for (int i = 0; i < 60; ++i) ASSERT_EQ(band.Judge(value *= 1.1), BandVerdict::kInside) << i;
  ASSERT_EQ(band.Judge(-1e9), BandVerdict::kInside);
}

TEST(RunningBand, WarmUpJudgesNothingButFiniteness) {
  RunningBand band({.warm_up = 3});
  EXPECT_EQ(band.Judge(1), BandVerdict::kInside);
  EXPECT_EQ(band.Judge(1e9), BandVerdict::kInside);
  EXPECT_EQ(band.Judge(1), BandVerdict::kInside);
}

}  // namespace
}  // namespace lethe
