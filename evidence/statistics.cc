#include "evidence/statistics.h"

#include <algorithm>
#include <cmath>

namespace lethe::evidence {
namespace {

double SumInOrder(Values& values) {
  std::sort(values.begin(), values.end());
  double sum = 0;
  for (double value : values) sum += value;
  return sum;
}

// 1 - Phi(x): the chance that a standard normal exceeds x.
double UpperTail(double x) { return 0.5 * std::erfc(x / std::sqrt(2.0)); }

}  // namespace

double Mean(Values values) {
  const double count = static_cast<double>(values.size());
  return SumInOrder(values) / count;
}

double StandardDeviation(Values values) {
  if (values.size() < 2) return 0;
  const double mean = Mean(values);
  for (double& value : values) value = (value - mean) * (value - mean);
  const double count = static_cast<double>(values.size());
  return std::sqrt(SumInOrder(values) / (count - 1));
}

double Quantile(Values values, double share) {
  std::sort(values.begin(), values.end());
  const double place = share * static_cast<double>(values.size() - 1);
  const size_t low = static_cast<size_t>(place);
  const size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (place - static_cast<double>(low)) * (values[high] - values[low]);
}

double Largest(const Values& values) { return *std::max_element(values.begin(), values.end()); }

double Smallest(const Values& values) { return *std::min_element(values.begin(), values.end()); }

double Auc(const Values& forgotten, const Values& control) {
  Values sorted = control;
  std::sort(sorted.begin(), sorted.end());
  double halves =
      0;  // two for a win, one for a tie: whole numbers, so the sum is exact in any order
  for (double score : forgotten) {
    const auto [low, high] = std::equal_range(sorted.begin(), sorted.end(), score);
    halves += static_cast<double>((low - sorted.begin()) + (high - sorted.begin()));
  }
  return halves / 2 / static_cast<double>(forgotten.size()) / static_cast<double>(control.size());
}

double AucNullError(size_t forgotten, size_t control) {
  const double n = static_cast<double>(forgotten);
  const double m = static_cast<double>(control);
  return std::sqrt((n + m + 1) / (12 * n * m));
}

double MeanDifferenceError(size_t forgotten, const Values& control) {
  const double n = static_cast<double>(forgotten);
  const double m = static_cast<double>(control.size());
  return StandardDeviation(control) * std::sqrt(1 / n + 1 / m);
}

double LargestOf(size_t n, double z) {
  if (z <= 0) return 0;  // no allowance for chance was wanted
  if (n <= 1) return z;
  const double tail = UpperTail(z) / static_cast<double>(n);
  double low = z;
  double high = 40;  // UpperTail(38) is the smallest double
  for (int i = 0; i < 100; ++i) {
    const double middle = (low + high) / 2;
    (UpperTail(middle) > tail ? low : high) = middle;
  }
  return std::round(low * 1e6) / 1e6;
}

}  // namespace lethe::evidence
