// The statistics of the verdict: few, plain, and the same on every machine.
//
//   double auc = Auc(forgotten_scores, control_scores);        // 1: every forgotten one scores
//   above every control double se = AucNullError(forgotten_scores.size(), control_scores.size());
//
// Order      no result depends on the order of its input, to the last bit: values are sorted before
// they are summed. Input      finite values, as ValidateMeasurements makes sure of; `values` not
// empty where a mean is asked for. Threads    pure functions; any.
#ifndef LETHE_EVIDENCE_STATISTICS_H_
#define LETHE_EVIDENCE_STATISTICS_H_

#include <cstddef>
#include <vector>

namespace lethe::evidence {

using Values = std::vector<double>;

double Mean(Values values);

// Standard deviation with n - 1; 0 for fewer than two values.
double StandardDeviation(Values values);

// Linear interpolation between order statistics (R's type 7, NumPy's default). `share` from 0 to 1.
double Quantile(Values values, double share);

double Largest(const Values& values);
double Smallest(const Values& values);

// Area under the ROC curve: the chance that a forgotten score exceeds a control score, ties
// counting half (Mann-Whitney U over n m).
double Auc(const Values& forgotten, const Values& control);

// Standard error of the AUC when both come from one distribution: sqrt((n + m + 1) / (12 n m)).
// Ties only make it smaller.
double AucNullError(size_t forgotten, size_t control);

// Standard error of the difference of two means, when both come from the distribution that
// `control` shows: sd sqrt(1/n + 1/m). The spread of the forgotten is not used: it may be what is
// being judged.
double MeanDifferenceError(size_t forgotten, const Values& control);

// How many standard deviations above the mean the largest of `n` draws is allowed to lie, so that
// by chance it crosses as seldom as one draw crosses `z`: Phi^-1(1 - (1 - Phi(z)) / n). Rounded to
// 1e-6, so that libraries of mathematics agree.
double LargestOf(size_t n, double z);

}  // namespace lethe::evidence

#endif  // LETHE_EVIDENCE_STATISTICS_H_
