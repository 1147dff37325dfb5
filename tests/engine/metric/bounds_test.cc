// Bounds against scipy: bounds_golden.py printed the values. scipy's own errors are some 1e-14
// relative; ours are those of lgamma and a fraction of hundreds of terms.
#include "engine/metric/bounds.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace lethe {
namespace {

TEST(Bounds, IncompleteBeta) {
  const struct {
    double a, b, x, want;
  } kGolden[] = {
      {0.5, 0.5, 0.3, 0.3690101195655454}, {1, 128, 0.01, 0.7237483323007914},
      {4, 125, 0.05, 0.8873232986888917},  {30, 2, 0.9, 0.1695646331008649},
      {500, 700, 0.4, 0.1205162890894316}, {2, 3, 0.999, 0.999999996003},
  };
  for (const auto& g : kGolden) {
    EXPECT_NEAR(RegularisedIncompleteBeta(g.a, g.b, g.x), g.want, 1e-11) << g.a << " " << g.b;
  }
  EXPECT_EQ(RegularisedIncompleteBeta(3, 4, 0), 0);
  EXPECT_EQ(RegularisedIncompleteBeta(3, 4, 1), 1);
}

TEST(Bounds, ClopperPearson) {
  const struct {
    int64_t hits, draws;
    double alpha, want;
  } kGolden[] = {
      {0, 128, 0.01, 0.03533838008880078},    {1, 128, 0.01, 0.0507345392494282},
      {3, 32, 0.05, 0.2248161085892257},      {31, 32, 0.01, 0.9996859763203383},
      {500, 1000, 0.001, 0.5492289460152177},
  };
  for (const auto& g : kGolden) {
    EXPECT_NEAR(ClopperPearsonUpper(g.hits, g.draws, g.alpha), g.want, 1e-10) << g.hits;
  }
  EXPECT_EQ(ClopperPearsonUpper(32, 32, 0.01), 1);
}

// What the limit promises: with the rate at the limit, no more hits than these come with
// probability alpha. The binomial is summed by hand.
TEST(Bounds, ClopperPearsonIsWhatItsDefinitionSays) {
  for (int64_t hits = 0; hits < 12; ++hits) {
    const double rate = ClopperPearsonUpper(hits, 12, 0.05);
    double below = 0, choose = 1;
    for (int64_t k = 0; k <= hits; ++k) {
      below += choose * std::pow(rate, k) * std::pow(1 - rate, 12 - k);
      choose = choose * static_cast<double>(12 - k) / static_cast<double>(k + 1);
    }
    EXPECT_NEAR(below, 0.05, 1e-9) << hits;
  }
}

// n = 128, alpha = .01: the band is .134 (METHODS, D). Scores all 0 leave exactly the band.
TEST(Bounds, DkwMean) {
  EXPECT_NEAR(DkwMeanUpper({0.1, 0.1, 0.4, 0.8, 1.0, 0.0, 0.25, 0.3}, 0.05), 0.7620284467, 1e-6);
  EXPECT_NEAR(DkwMeanUpper(std::vector<double>(128, 0.0), 0.01), std::sqrt(std::log(100) / 256),
              1e-12);
  EXPECT_NEAR(DkwMeanUpper(std::vector<double>(128, 1.0), 0.01), 1, 1e-12);
}

TEST(Bounds, OwensT) {
  const struct {
    double h, a, want;
  } kGolden[] = {
      {0, 1, 0.125},
      {0.5, 0.3, 0.04078670734425011},
      {1, 1, 0.06674188216570097},
      {1.5, 4, 0.03340360062965087},
      {-2, 3, 0.01137506597154504},
      {0.1, 50, 0.2300860809372096},
      {3, -0.7, -0.00065910752010291},
      {6, 2, 4.932938225188509e-10},
      {0, 8, 0.2302082879197172},
  };
  for (const auto& g : kGolden) EXPECT_NEAR(OwensT(g.h, g.a), g.want, 1e-13) << g.h << " " << g.a;
}

TEST(Bounds, SkewNormalBelow) {
  const struct {
    double location, scale, shape, x, want;
  } kGolden[] = {
      {0, 1, 0, -1, 0.1586552539314571},     {20, 5, 3, 18, 0.01282069370214589},
      {20, 5, 3, 16, 0.0004814181351789626}, {20, 5, -4, 10, 0.04550026389635842},
      {1, 2, 8, 4, 0.8663855974622838},      {0, 1, -2, -5, 5.733031437583886e-07},
  };
  for (const auto& g : kGolden) {
    const SkewNormal s{g.location, g.scale, g.shape};
    EXPECT_NEAR(s.Below(g.x), g.want, 1e-12) << g.location << " " << g.x;
  }
  EXPECT_GT((SkewNormal{0, 1, 5}.Below(-40)), 0);
}

TEST(Bounds, SkewNormalFit) {
  const std::vector<double> values = {3.1, 4.7, 5.0, 5.2, 6.9, 7.3, 9.9, 12.4};
  const SkewNormal fit = FitSkewNormal(values);
  EXPECT_NEAR(fit.location, 3.426893547983076, 1e-7);  // scipy solved for it to 1e-8
  EXPECT_NEAR(fit.scale, 4.427575498841169, 1e-7);
  EXPECT_NEAR(fit.shape, 3.3562060092728356, 1e-6);
  // Symmetric values: a normal with their mean and deviation.
  const SkewNormal normal = FitSkewNormal(std::vector<double>{1, 2, 3});
  EXPECT_NEAR(normal.shape, 0, 1e-4);
  EXPECT_NEAR(normal.Below(2), 0.5, 1e-4);
}

// The limit for the mean holds for draws of known mean.
TEST(Bounds, DkwHoldsOnDraws) {
  std::mt19937_64 random(4);
  int failed = 0;
  for (int trial = 0; trial < 500; ++trial) {
    std::vector<double> draws;
    for (int i = 0; i < 64; ++i) {
      const double u = static_cast<double>(random() >> 11) * 0x1p-53;
      draws.push_back(u * u);  // mean 1/3
    }
    failed += DkwMeanUpper(draws, 0.05) < 1.0 / 3;
  }
  EXPECT_LE(failed, 25 + 3 * 5);  // 5 % of 500, and three deviations of 4.9
}

}  // namespace
}  // namespace lethe
