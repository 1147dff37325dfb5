// Statistics that the report shows. Expected values by scipy and scikit-learn (roc_golden.py),
// or in closed form, as each test says.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "evidence/statistics.h"

namespace lethe::evidence {
namespace {

const Values kOverlapF = {0.9, 0.4, 0.7, 0.65, 0.2};
const Values kOverlapC = {0.1, 0.5, 0.3, 0.65, 0.05, 0.6, 0.45, 0.2};
const Values kTiesF = {1, 1, 2, 3};
const Values kTiesC = {1, 2, 2, 0, 0, 3};

Values Wide(int count, int stride, int turn, double scale, double shift) {
  Values out;
  for (int i = 0; i < count; ++i) out.push_back((i * stride % turn) / scale + shift);
  return out;
}
Values WideF() { return Wide(40, 37, 101, 100, 0.25); }
Values WideC() { return Wide(120, 53, 97, 96, 0); }

// sklearn.metrics.roc_curve with drop_intermediate=False.
TEST(Roc, CurveAsScikitLearn) {
  const std::vector<RocPoint> curve = RocCurve(kTiesF, kTiesC);
  const std::vector<std::pair<double, double>> want = {
      {0, 0}, {1.0 / 6, 0.25}, {0.5, 0.5}, {4.0 / 6, 1}, {1, 1}};
  ASSERT_EQ(curve.size(), want.size());
  for (size_t i = 0; i < want.size(); ++i) {
    EXPECT_NEAR(curve[i].false_positives, want[i].first, 1e-15);
    EXPECT_NEAR(curve[i].true_positives, want[i].second, 1e-15);
  }
}

TEST(Roc, TprAtFprAsScikitLearn) {
  EXPECT_NEAR(TprAtFpr(kOverlapF, kOverlapC, 0.01), 0.4, 1e-15);
  EXPECT_NEAR(TprAtFpr(kOverlapF, kOverlapC, 0.2), 0.6, 1e-15);
  EXPECT_EQ(TprAtFpr(kTiesF, kTiesC, 0.01), 0);
  EXPECT_NEAR(TprAtFpr(kTiesF, kTiesC, 0.2), 0.25, 1e-15);
  EXPECT_NEAR(TprAtFpr(WideF(), WideC(), 0.01), 0.275, 1e-15);
}

// numpy's quantiles of scikit-learn's AUCs over resamples drawn by a second SplitMix64.
TEST(AucInterval, BootstrapAsScikitLearn) {
  const auto near = [](const Values& f, const Values& c, double low, double high) {
    const auto interval = AucInterval(f, c);
    ASSERT_TRUE(interval.has_value());
    EXPECT_NEAR(interval->low, low, 1e-12);
    EXPECT_NEAR(interval->high, high, 1e-12);
  };
  near(kOverlapF, kOverlapC, 0.4, 1);
  near(kTiesF, kTiesC, 0.25, 0.895833333333333);
  near(WideF(), WideC(), 0.627067708333333, 0.808552083333333);
}

// Closed form: a^3 = .025 for a = .292402; all of 3 above all of 5.
TEST(AucInterval, WithoutOverlapPairsBoundIt) {
  const auto above = AucInterval({7, 8, 9}, {1, 2, 3, 4, 5});
  ASSERT_TRUE(above.has_value());
  EXPECT_NEAR(above->low, 0.29240177, 1e-8);
  EXPECT_EQ(above->high, 1);
  const auto below = AucInterval({1, 2, 3}, {7, 8, 9, 10, 11});
  EXPECT_EQ(below->low, 0);
  EXPECT_NEAR(below->high, 1 - 0.29240177, 1e-8);
  EXPECT_FALSE(AucInterval({1}, {1, 2}).has_value());
}

TEST(AucInterval, OrderChangesNoBit) {
  const Values f = WideF(), c = WideC();
  EXPECT_EQ(AucInterval(Values(f.rbegin(), f.rend()), c)->low, AucInterval(f, c)->low);
  EXPECT_EQ(AucInterval(f, Values(c.rbegin(), c.rend()))->high, AucInterval(f, c)->high);
}

// scipy.stats.ks_2samp(method="exact").
TEST(KolmogorovSmirnov, AsScipy) {
  const auto near = [](const Values& a, const Values& b, double distance, double p) {
    const KsTest test = KolmogorovSmirnov(a, b);
    EXPECT_NEAR(test.distance, distance, 1e-12);
    EXPECT_NEAR(test.p, p, 1e-12);
  };
  near(kOverlapF, kOverlapC, 0.475, 0.4001554001554);
  near(kTiesF, kTiesC, 1.0 / 3, 0.923809523809524);
  near(WideF(), WideC(), 0.2833333333333333, 0.0142492718490335);
  near({1, 2}, {1, 2}, 0, 1);
}

// n = 300, D = 119 / 300: 1.834066e-21 by 2 sum (-1)^(i-1) C(600, 300 - 119 i) / C(600, 300).
TEST(KolmogorovSmirnov, ExactFarOut) {
  Values a, b;
  for (int i = 0; i < 300; ++i) {
    a.push_back(i);
    b.push_back(i + 119 - 0.5);
  }
  const KsTest test = KolmogorovSmirnov(a, b);
  EXPECT_NEAR(test.distance, 119.0 / 300, 1e-12);
  EXPECT_NEAR(test.p / 1.834066e-21, 1, 1e-6);
}

}  // namespace
}  // namespace lethe::evidence
