// Expected values by hand or from Python's `statistics` module, as each test says.
#include "evidence/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace lethe::evidence {
namespace {

// mean, stdev and quantiles(n=20, method="inclusive")[-1] of Python's statistics module.
const Values kEight = {0, .1, .1, .2, .05, .15, .3, .1};

TEST(Statistics, MeanDeviationQuantileAsPython) {
  EXPECT_NEAR(Mean(kEight), 0.125, 1e-15);
  EXPECT_NEAR(StandardDeviation(kEight), 0.09258200997725514, 1e-15);
  EXPECT_NEAR(Quantile(kEight, 0.95), 0.265, 1e-15);
  EXPECT_EQ(Quantile(kEight, 0), 0);
  EXPECT_EQ(Quantile(kEight, 1), 0.3);
  EXPECT_EQ(Quantile({4}, 0.95), 4);
}

TEST(Statistics, OneValueHasNoDeviation) { EXPECT_EQ(StandardDeviation({5}), 0); }

// Sums of 0.1 and 1e16 depend on their order; these do not.
TEST(Statistics, OrderChangesNoBit) {
  Values values = {1e16, 0.1, -1e16, 0.7, 3e15, 0.3};
  const double mean = Mean(values);
  const double sd = StandardDeviation(values);
  std::sort(values.begin(), values.end());
  do {
    ASSERT_EQ(Mean(values), mean);
    ASSERT_EQ(StandardDeviation(values), sd);
  } while (std::next_permutation(values.begin(), values.end()));
}

// By counting pairs: 3 beats 1, 2 and ties 3 (2.5 of 3); 2 beats 1, ties 2 (1.5 of 3): 4 of 6.
TEST(Auc, CountsPairsAndHalvesTies) {
  EXPECT_NEAR(Auc({3, 2}, {1, 2, 3}), 4.0 / 6, 1e-15);
  EXPECT_EQ(Auc({5, 5}, {5, 5, 5}), 0.5);
  EXPECT_EQ(Auc({9}, {1, 2}), 1);
  EXPECT_EQ(Auc({0}, {1, 2}), 0);
}

// By listing all orders of n + m ranks (an independent program).
TEST(AucReach, ExactForSmallSets) {
  EXPECT_NEAR(AucReach(0.03, 3, 4), 11.0 / 12 - 0.5, 1e-12);  // beyond 11 of 12 lies 1 order of 35
  EXPECT_NEAR(AucReach(0.1, 3, 4), 10.0 / 12 - 0.5, 1e-12);
  EXPECT_NEAR(AucReach(0.1, 2, 8), 0.3125, 1e-12);
  EXPECT_EQ(AucReach(0.001, 3, 12), 0.5);  // even all above all has a chance of 1 in 455
  EXPECT_EQ(AucReach(0.02, 1, 8), 0.5);
  EXPECT_NEAR(AucReach(0.12, 1, 8), 0.375, 1e-12);
}

// Where the exact distribution ends (n m = 512) the normal one carries on: 1.959964 sqrt(49 / 6144)
// = .175035 for 16 against 32.
TEST(AucReach, ExactAndNormalMeet) {
  EXPECT_NEAR(AucReach(0.025, 16, 32), 0.175035, 0.003);
  EXPECT_NEAR(AucReach(0.025, 16, 33), 1.959964 * std::sqrt(50.0 / (12 * 16 * 33)), 1e-6);
}

// sd 0.0926 of the eight, two forgotten: sqrt(1/2 + 1/8) = 0.7906.
TEST(Statistics, MeanDifferenceError) {
  EXPECT_NEAR(MeanDifferenceError(2, kEight), 0.09258200997725514 * std::sqrt(0.625), 1e-15);
}

// NormalDist().inv_cdf(1 - tail) of Python's statistics module.
TEST(NormalQuantile, AsPython) {
  EXPECT_NEAR(NormalQuantile(0.025), 1.959964, 1e-6);
  EXPECT_NEAR(NormalQuantile(0.0007109406), 3.1901716, 1e-5);
  EXPECT_EQ(NormalQuantile(0.5), 0);
}

// By numerical integration of the density (an independent program).
TEST(StudentQuantile, AsIntegrated) {
  EXPECT_NEAR(StudentQuantile(0.025, 1), 12.706205, 2e-6);
  EXPECT_NEAR(StudentQuantile(0.025, 2), 4.302653, 2e-6);
  EXPECT_NEAR(StudentQuantile(0.05, 3), 2.353363, 2e-6);
  EXPECT_NEAR(StudentQuantile(0.005, 3), 5.840909, 2e-6);
  EXPECT_NEAR(StudentQuantile(0.005, 7), 3.499483, 2e-6);
  EXPECT_NEAR(StudentQuantile(0.00005, 31), 4.460989, 2e-6);
  EXPECT_NEAR(StudentQuantile(0.001, 30), 3.385185, 2e-6);
  EXPECT_NEAR(StudentQuantile(0.001, 200), NormalQuantile(0.001), 0.05);
}

// By numpy: mean of cubes over the mean of squares to 1.5.
TEST(Skewness, AsNumpy) {
  EXPECT_NEAR(Skewness({0, 0, 0, 1}), 1.1547005383792515, 1e-12);
  EXPECT_NEAR(Skewness({1, 2, 3, 10, 4, 2}), 1.4185056232264288, 1e-12);
  EXPECT_NEAR(Skewness({0, .1, .2, .3}), 0, 1e-12);
  EXPECT_EQ(Skewness({3, 3, 3}), 0);
  EXPECT_EQ(Skewness({1, 2}), 0);
}

}  // namespace
}  // namespace lethe::evidence
