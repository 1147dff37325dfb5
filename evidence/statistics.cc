#include "evidence/statistics.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

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

// SplitMix64 (Steele, Lea and Flood 2014): whole numbers alone, the same everywhere.
class SplitMix {
 public:
  explicit SplitMix(uint64_t seed) : state_(seed) {}

  // One of 0 .. count-1. The remainder favours the smaller ones by less than count / 2^64.
  size_t Below(size_t count) { return static_cast<size_t>(Next() % count); }

 private:
  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  uint64_t state_;
};

// How often each distinct score, from the smallest, stands on either side.
struct Tally {
  std::vector<size_t> forgotten, control;  // a count a distinct score
  std::vector<size_t> place_of_forgotten, place_of_control;
};

Tally TallyOf(const Values& forgotten, const Values& control) {
  Values scores = forgotten;
  scores.insert(scores.end(), control.begin(), control.end());
  std::sort(scores.begin(), scores.end());
  scores.erase(std::unique(scores.begin(), scores.end()), scores.end());
  Tally tally;
  const auto count = [&](const Values& values, std::vector<size_t>& counts,
                         std::vector<size_t>& places) {
    counts.assign(scores.size(), 0);
    for (const double value : values) {
      const auto at = std::lower_bound(scores.begin(), scores.end(), value);
      places.push_back(static_cast<size_t>(at - scores.begin()));
      ++counts[places.back()];
    }
    std::sort(places.begin(), places.end());  // so that the order of the input does not matter
  };
  count(forgotten, tally.forgotten, tally.place_of_forgotten);
  count(control, tally.control, tally.place_of_control);
  return tally;
}

// AUC of counts by distinct score: two for a win, one for a tie.
double AucOfCounts(const std::vector<size_t>& forgotten, const std::vector<size_t>& control) {
  size_t halves = 0, n = 0, below = 0;
  for (size_t i = 0; i < forgotten.size(); ++i) {
    halves += forgotten[i] * (2 * below + control[i]);
    n += forgotten[i];
    below += control[i];
  }
  return static_cast<double>(halves) / 2 / static_cast<double>(n) / static_cast<double>(below);
}

std::vector<size_t> Resample(const std::vector<size_t>& places, size_t scores, SplitMix& random) {
  std::vector<size_t> counts(scores, 0);
  for (size_t i = 0; i < places.size(); ++i) ++counts[places[random.Below(places.size())]];
  return counts;
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

std::vector<RocPoint> RocCurve(const Values& forgotten, const Values& control) {
  const Tally tally = TallyOf(forgotten, control);
  std::vector<RocPoint> curve = {{0, 0}};
  size_t wrong = 0, right = 0;
  for (size_t i = tally.control.size(); i-- > 0;) {
    wrong += tally.control[i];
    right += tally.forgotten[i];
    curve.push_back({static_cast<double>(wrong) / static_cast<double>(control.size()),
                     static_cast<double>(right) / static_cast<double>(forgotten.size())});
  }
  return curve;
}

double TprAtFpr(const Values& forgotten, const Values& control, double false_positives) {
  double most = 0;
  for (const RocPoint& point : RocCurve(forgotten, control)) {
    if (point.false_positives <= false_positives) most = point.true_positives;
  }
  return most;
}

std::optional<Interval> AucInterval(const Values& forgotten, const Values& control) {
  constexpr int kResamples = 2000;
  constexpr double kEachSide = 0.025;
  if (forgotten.size() < 2 || control.size() < 2) return std::nullopt;
  const Tally tally = TallyOf(forgotten, control);
  const double auc = AucOfCounts(tally.forgotten, tally.control);
  const double pairs = static_cast<double>(std::min(forgotten.size(), control.size()));
  const double bound = std::pow(kEachSide, 1 / pairs);
  if (auc == 1) return Interval{bound, 1};
  if (auc == 0) return Interval{0, 1 - bound};
  SplitMix random(20250101);
  Values aucs;
  for (int i = 0; i < kResamples; ++i) {
    const auto f = Resample(tally.place_of_forgotten, tally.forgotten.size(), random);
    const auto c = Resample(tally.place_of_control, tally.control.size(), random);
    aucs.push_back(AucOfCounts(f, c));
  }
  return Interval{Quantile(aucs, kEachSide), Quantile(std::move(aucs), 1 - kEachSide)};
}

// A path from (0, 0) to (n, m) takes a step for each value in order. The chance that a random path
// leaves the band |i / n - j / m| < d is summed over positive terms alone, so small ones stay exact.
KsTest KolmogorovSmirnov(Values first, Values second) {
  const Tally tally = TallyOf(first, second);
  const auto n = static_cast<int64_t>(first.size());
  const auto m = static_cast<int64_t>(second.size());
  int64_t widest = 0;  // distance times n m, a whole number
  int64_t i = 0, j = 0;
  for (size_t score = 0; score < tally.forgotten.size(); ++score) {
    i += static_cast<int64_t>(tally.forgotten[score]);
    j += static_cast<int64_t>(tally.control[score]);
    widest = std::max(widest, std::abs(i * m - j * n));
  }
  const auto outside = [&](int64_t x, int64_t y) { return std::abs(x * m - y * n) >= widest; };
  Values left(static_cast<size_t>(m) + 1, 0);  // by j: the chance to have left the band
  for (int64_t x = 0; x <= n; ++x) {
    for (int64_t y = 0; y <= m; ++y) {
      double& cell = left[static_cast<size_t>(y)];
      if (outside(x, y)) {
        cell = 1;
      } else if (x == 0) {
        cell = y == 0 ? 0 : left[static_cast<size_t>(y - 1)];
      } else if (y > 0) {
        cell = (static_cast<double>(x) * cell +
                static_cast<double>(y) * left[static_cast<size_t>(y - 1)]) /
               static_cast<double>(x + y);
      }
    }
  }
  return {static_cast<double>(widest) / static_cast<double>(n * m), std::min(1.0, left.back())};
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
