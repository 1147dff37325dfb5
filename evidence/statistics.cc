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

// The chance that a standard normal exceeds x.
double NormalTail(double x) { return 0.5 * std::erfc(x / std::sqrt(2.0)); }

// The chance that Student's t exceeds x > 0; the finite series for whole degrees of freedom
// (Abramowitz and Stegun 26.7.3, 26.7.4).
double StudentTail(double x, size_t freedom) {
  const double theta = std::atan(x / std::sqrt(static_cast<double>(freedom)));
  const double cosine = std::cos(theta);
  const bool odd = freedom % 2 == 1;
  double term = odd ? cosine : 1;
  double sum = freedom == 1 ? 0 : term;
  for (size_t k = odd ? 3 : 2; k + 2 <= freedom; k += 2) {
    term *= cosine * cosine * static_cast<double>(k - 1) / static_cast<double>(k);
    sum += term;
  }
  const double inside =
      odd ? (theta + std::sin(theta) * sum) * 2 / std::acos(-1.0) : std::sin(theta) * sum;
  return (1 - inside) / 2;
}

// Where a falling function of x > 0 reaches `tail`, to 1e-6.
template <typename Function>
double Solve(Function function, double tail) {
  if (tail >= 0.5) return 0;
  double low = 0;
  double high = 1e9;
  for (int i = 0; i < 120; ++i) {
    const double middle = (low + high) / 2;
    (function(middle) > tail ? low : high) = middle;
  }
  return std::round(low * 1e6) / 1e6;
}

// P(U = u) for u = 0 .. n m under the null hypothesis: the last of n + m values is a forgotten one
// with chance n / (n + m), and then exceeds all m control values.
Values MannWhitney(size_t n, size_t m) {
  std::vector<Values> row(n + 1,
                          Values(n * m + 1, 0));  // row[i]: i forgotten, j control, j growing
  for (Values& cell : row) cell[0] = 1;           // no control: U = 0
  for (size_t j = 1; j <= m; ++j) {
    for (size_t i = 1; i <= n; ++i) {
      const double last = static_cast<double>(i) / static_cast<double>(i + j);
      for (size_t u = i * j + 1; u-- > 0;) {
        row[i][u] = (1 - last) * row[i][u] + (u >= j ? last * row[i - 1][u - j] : 0);
      }
    }
  }
  return row[n];
}

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

double Skewness(Values values) {
  if (values.size() < 3) return 0;
  const double mean = Mean(values);
  Values squares, cubes;
  for (const double value : values) {
    squares.push_back((value - mean) * (value - mean));
    cubes.push_back(squares.back() * (value - mean));
  }
  const double variance = Mean(squares);
  return variance > 0 ? Mean(cubes) / std::pow(variance, 1.5) : 0;
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

double AucReach(double tail, size_t forgotten, size_t control) {
  constexpr size_t kMostExact = 512;
  const size_t pairs = forgotten * control;
  if (pairs > kMostExact) {
    const double n = static_cast<double>(forgotten);
    const double m = static_cast<double>(control);
    return std::min(0.5, NormalQuantile(tail) * std::sqrt((n + m + 1) / (12 * n * m)));
  }
  const Values chance = MannWhitney(forgotten, control);
  double beyond = 0;  // P(U > u)
  size_t u = pairs;
  while (u > 0 && beyond + chance[u] <= tail) beyond += chance[u--];
  return std::max(0.0, static_cast<double>(u) / static_cast<double>(pairs) - 0.5);
}

double MeanDifferenceError(size_t forgotten, const Values& control) {
  const double n = static_cast<double>(forgotten);
  const double m = static_cast<double>(control.size());
  return StandardDeviation(control) * std::sqrt(1 / n + 1 / m);
}

double NormalQuantile(double tail) { return Solve(NormalTail, tail); }

double ExponentialReach(double from, double tail) {
  return tail >= from ? 0 : std::round(std::log(from / tail) * 1e6) / 1e6;
}

double StudentQuantile(double tail, size_t freedom) {
  constexpr size_t kLikeNormal = 200;
  if (freedom > kLikeNormal) return NormalQuantile(tail);
  return Solve([freedom](double x) { return StudentTail(x, freedom); }, tail);
}

}  // namespace lethe::evidence
