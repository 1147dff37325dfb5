#include "engine/metric/bounds.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace lethe {
namespace {

double Phi(double z) { return 0.5 * std::erfc(-z / std::numbers::sqrt2); }

// The continued fraction of I_x(a, b) by Lentz's method; converges fast for x < (a+1) / (a+b+2).
double BetaFraction(double a, double b, double x) {
  constexpr double kTiny = 1e-300;
  const auto away_from_zero = [](double v) { return std::abs(v) < kTiny ? kTiny : v; };
  double c = 1, d = 1 / away_from_zero(1 - (a + b) * x / (a + 1));
  double value = d;
  for (int m = 1; m <= 10000; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    double change = 1;
    for (const double term : {even, odd}) {
      d = 1 / away_from_zero(1 + term * d);
      c = away_from_zero(1 + term / c);
      change = c * d;
      value *= change;
    }
    if (std::abs(change - 1) < 1e-15) break;
  }
  return value;
}

// Gauss and Legendre with ten points on [from, to]. Nodes and weights solve P_10(x) = 0.
double Integrate10(double from, double to, const auto& f) {
  static constexpr double kNode[] = {0.1488743389816312, 0.4333953941292472, 0.6794095682990244,
                                     0.8650633666889845, 0.9739065285171717};
  static constexpr double kWeight[] = {0.2955242247147529, 0.2692667193099964, 0.2190863625159821,
                                       0.1494513491505806, 0.0666713443086881};
  const double middle = (from + to) / 2, half = (to - from) / 2;
  double sum = 0;
  for (int i = 0; i < 5; ++i) {
    sum += kWeight[i] * (f(middle - half * kNode[i]) + f(middle + half * kNode[i]));
  }
  return sum * half;
}

}  // namespace

double RegularisedIncompleteBeta(double a, double b, double x) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const double log_front =
      std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x);
  if (x < (a + 1) / (a + b + 2)) return std::exp(log_front) * BetaFraction(a, b, x) / a;
  return 1 - std::exp(log_front) * BetaFraction(b, a, 1 - x) / b;
}

double ClopperPearsonUpper(int64_t hits, int64_t draws, double alpha) {
  if (hits >= draws) return 1;
  if (hits == 0) return -std::expm1(std::log(alpha) / static_cast<double>(draws));
  const auto a = static_cast<double>(hits + 1), b = static_cast<double>(draws - hits);
  double low = static_cast<double>(hits) / static_cast<double>(draws), high = 1;
  for (int i = 0; i < 100 && low < high; ++i) {  // the distribution function rises: halve
    const double middle = (low + high) / 2;
    (RegularisedIncompleteBeta(a, b, middle) < 1 - alpha ? low : high) = middle;
  }
  return high;
}

double DkwMeanUpper(std::vector<double> values, double alpha) {
  std::sort(values.begin(), values.end());
  const auto n = static_cast<double>(values.size());
  const double band = std::sqrt(std::log(1 / alpha) / (2 * n));
  // integral over [0,1] of 1 - max(0, F(x) - band), F constant between the values.
  double sum = 0, from = 0;
  for (size_t i = 0; i <= values.size(); ++i) {
    const double to = i < values.size() ? std::clamp(values[i], 0.0, 1.0) : 1;
    sum += (to - from) * (1 - std::max(0.0, static_cast<double>(i) / n - band));
    from = to;
  }
  return sum;
}

double OwensT(double h, double a) {
  if (a < 0) return -OwensT(h, -a);
  h = std::abs(h);
  if (a > 1) {  // T(h,a) + T(ah,1/a) in terms of Phi, so that the range of integration is bounded
    const double ph = Phi(h), pah = Phi(a * h), qh = Phi(-h), qah = Phi(-a * h);
    return (qh * pah + qah * ph) / 2 - OwensT(a * h, 1 / a);
  }
  constexpr int kPieces = 16;
  const auto f = [h](double x) { return std::exp(-h * h * (1 + x * x) / 2) / (1 + x * x); };
  double sum = 0;
  // Beyond x = 9/h the integrand is below 1e-17 of its start.
  const double end = std::min(a, h > 0 ? 9 / h : a);
  for (int i = 0; i < kPieces; ++i)
    sum += Integrate10(end * i / kPieces, end * (i + 1) / kPieces, f);
  return sum / (2 * std::numbers::pi);
}

double SkewNormal::Below(double x) const {
  const double z = (x - location) / scale;
  return std::clamp(Phi(z) - 2 * OwensT(z, shape), 1e-14, 1.0);
}

SkewNormal FitSkewNormal(std::span<const double> values) {
  const auto n = static_cast<double>(values.size());
  double mean = 0, square = 0, cube = 0;
  for (const double v : values) mean += v / n;
  for (const double v : values) {
    square += (v - mean) * (v - mean) / n;
    cube += (v - mean) * (v - mean) * (v - mean) / n;
  }
  const double skew = std::clamp(cube / std::pow(square, 1.5), -0.99, 0.99);
  // Azzalini 1985: |delta| from the skewness, then scale and location from the other moments.
  const double s = std::cbrt(skew * skew), t = std::cbrt((4 - std::numbers::pi) / 2);
  const double delta = std::copysign(std::sqrt(std::numbers::pi / 2 * s / (s + t * t)), skew);
  SkewNormal fit;
  fit.shape = delta / std::sqrt(1 - delta * delta);
  fit.scale = std::sqrt(square / (1 - 2 * delta * delta / std::numbers::pi));
  fit.location = mean - fit.scale * delta * std::sqrt(2 / std::numbers::pi);
  return fit;
}

}  // namespace lethe
