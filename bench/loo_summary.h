// What the curves of bench_loo say together: utility at equal extraction, method beside method.
//
//   loo::PrintSummary(points);                                         // the tables
//   loo::RiseAt(curve, "beam", 0.1, "retained");                       // of one curve
//
// Rise       of log-perplexity, nats a token, above the deployed model's: the least that a curve has
//            where its extraction is at most a share of the deployed model's. Between two looks both
//            are taken to move along a straight line. Every method so has the benefit of being stopped
//            at its best place.
// Interval   of the mean over seeds: Student's, 95 %, of differences within a seed.
// Threads    pure but for the printing; any. Errors: none; what a curve does not reach is absent.
#ifndef LETHE_BENCH_LOO_SUMMARY_H_
#define LETHE_BENCH_LOO_SUMMARY_H_

#include <optional>
#include <string>
#include <vector>

#include "bench/loo_points.h"

namespace lethe::loo {

inline constexpr double kLevels[] = {0.5, 0.25, 0.1, 0};  // shares of what came out at first

// `curve` begins with the deployed model.
std::optional<double> RiseAt(const Curve& curve, const std::string& extraction, double share,
                             const std::string& utility);

// The deployed model and the run behind it; empty where either is missing.
Curve FromBase(const Points& points, const std::string& run, int seed);

struct Interval {
  double mean = 0, half = 0;  // half: 0 of fewer than two values
  size_t count = 0;
};
Interval MeanOf(const std::vector<double>& values);

void PrintSummary(const Points& points);
// Of tickets one after another and in batches; nothing where there are none.
void PrintTickets(const Points& points);

// The deployed model says the secrets told most often, and the retrained one none: else a sentence.
std::string WhatIsWrong(const Points& points);

}  // namespace lethe::loo

#endif  // LETHE_BENCH_LOO_SUMMARY_H_
