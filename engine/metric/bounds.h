// Bounds and distributions behind the sampling attacks; without LibTorch.
//
//   double rate = ClopperPearsonUpper(0, 128, 0.01);     // 0.035: no hit in 128 draws
//   double mean = DkwMeanUpper(similarities, 0.01);      // of scores in [0,1]
//   SkewNormal fit = FitSkewNormal(nlls);                // by moments
//   double share = fit.Below(secret_nll);                // of all alternatives
//
// Threads    pure functions; any. Errors: none; arguments must be in their ranges.
#ifndef LETHE_ENGINE_METRIC_BOUNDS_H_
#define LETHE_ENGINE_METRIC_BOUNDS_H_

#include <cstdint>
#include <span>
#include <vector>

namespace lethe {

// I_x(a, b), the distribution function of Beta(a, b) at x; a, b > 0, x in [0,1].
double RegularisedIncompleteBeta(double a, double b, double x);

// The largest rate under which `hits` or fewer of `draws` are seen with probability alpha (Clopper
// and Pearson 1934): an upper limit that fails with probability alpha at most.
double ClopperPearsonUpper(int64_t hits, int64_t draws, double alpha);

// An upper limit for the mean of a score in [0,1], of which `values` are draws, at least one:
// Dvoretzky, Kiefer and Wolfowitz with Massart's constant. It fails with probability alpha at most.
double DkwMeanUpper(std::vector<double> values, double alpha);

// Owen's T: 1/(2 pi) integral_0^a exp(-h^2 (1 + x^2) / 2) / (1 + x^2) dx. Absolute error < 1e-13.
double OwensT(double h, double a);

struct SkewNormal {
  double location = 0, scale = 1, shape = 0;
  // The share of the distribution below x: Phi(z) - 2 T(z, shape), z = (x - location) / scale. In
  // the lower tail of a large positive shape, where that is a difference of equals, it is never
  // below 1e-14.
  double Below(double x) const;
};

// The skew-normal with the mean, variance and skewness of `values`, at least two that differ. A
// skewness beyond what the family has (.995) is cut to .99.
SkewNormal FitSkewNormal(std::span<const double> values);

}  // namespace lethe

#endif  // LETHE_ENGINE_METRIC_BOUNDS_H_
