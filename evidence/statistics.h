// The statistics of the verdict: few, plain, and the same on every machine.
//
//   double auc = Auc(forgotten_scores, control_scores);  // 1: every forgotten above every control
//   double reach = AucReach(0.01, forgotten_scores.size(), control_scores.size());
//
// Order      no result depends on the order of its input, to the last bit:
//            values are sorted before they are summed.
// Input      finite values, as ValidateMeasurements makes sure of;
//            `values` not empty where a mean is asked for.
// Threads    pure functions; any.
#ifndef LETHE_EVIDENCE_STATISTICS_H_
#define LETHE_EVIDENCE_STATISTICS_H_

#include <cstddef>
#include <optional>
#include <vector>

namespace lethe::evidence {

using Values = std::vector<double>;

double Mean(Values values);

// Standard deviation with n - 1; 0 for fewer than two values.
double StandardDeviation(Values values);

// Third central moment over the variance to 1.5, both with n; 0 for fewer than three values or none
// that differ.
double Skewness(Values values);

// Linear interpolation between order statistics (R's type 7, NumPy's default). `share` from 0 to 1.
double Quantile(Values values, double share);

double Largest(const Values& values);
double Smallest(const Values& values);

// Area under the ROC curve: the chance that a forgotten score exceeds a control score, ties
// counting half (Mann-Whitney U over n m).
double Auc(const Values& forgotten, const Values& control);

// How far above 0.5 the AUC of n forgotten and m control scores may lie, when both come from one
// distribution, so that chance goes beyond it no more often than `tail`. Exact (the Mann-Whitney
// distribution) while n m <= 512, normal above; 0.5 where even the most extreme order is not seldom
// enough. Ties make it err towards larger.
double AucReach(double tail, size_t forgotten, size_t control);

// The ROC curve, from (0, 0) to (1, 1): for each distinct score the shares of control and of
// forgotten scores that reach it.
struct RocPoint {
  double false_positives = 0;  // control
  double true_positives = 0;   // forgotten
};
std::vector<RocPoint> RocCurve(const Values& forgotten, const Values& control);

// The largest share of forgotten scores that a threshold picks out while it picks out at most
// `false_positives` of control. With fewer controls than 1 / false_positives it picks out none.
double TprAtFpr(const Values& forgotten, const Values& control, double false_positives);

// A 95 % interval of the AUC.
struct Interval {
  double low = 0;
  double high = 1;
};
// By bootstrap: 2000 resamples of each side, percentiles of their AUCs. The generator is our own
// (SplitMix64 from a constant seed), so the interval is the same on every machine. Resampling says
// nothing where the sides do not overlap (AUC 0 or 1): there, by the chance that n m pairs all
// fall that way, at most a^min(n, m) with a the true AUC, the interval is what leaves that 2.5 %.
// Nothing where a side has fewer than two values.
std::optional<Interval> AucInterval(const Values& forgotten, const Values& control);

// Two-sample Kolmogorov-Smirnov test, two-sided: the largest distance of the two distributions and
// the chance of one at least as large when both sides come from one distribution. Exact by counting
// lattice paths (Hodges 1957), to many digits also where it is tiny; ties make it err towards
// larger.
struct KsTest {
  double distance = 0;
  double p = 1;
};
KsTest KolmogorovSmirnov(Values first, Values second);

// Standard error of the difference of two means, when both come from the distribution that
// `control` shows: sd sqrt(1/n + 1/m). The spread of the forgotten is not used: it may be what is
// being judged.
double MeanDifferenceError(size_t forgotten, const Values& control);

// The value that a standard normal exceeds with probability `tail`; 0 for 0.5 and more. Rounded to
// 1e-6, so that libraries of mathematics agree.
double NormalQuantile(double tail);

// The same of Student's t: for a mean and deviation that were themselves estimated,
// from freedom + 1 values. Normal above 200.
double StudentQuantile(double tail, size_t freedom);

// How many standard deviations further an exponential tail has thinned from `from` to `tail`:
// ln(from / tail), at least 0. Rounded as above.
double ExponentialReach(double from, double tail);

}  // namespace lethe::evidence

#endif  // LETHE_EVIDENCE_STATISTICS_H_
