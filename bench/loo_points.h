// What bench_loo keeps of its runs: a line of JSON for the set-up and for each look at a model, so that
// seeds may run in processes of their own and be read together.
//
//   {"set_up": {"seed": 3, "tokens": 2013454, ...}}
//   {"seed": 3, "run": "ascent", "step": 8, "beam": 0.12, "retained": 1.93, ...}
//
// Threads    one at a time. Errors: of the files; INVALID_ARGUMENT/LINE_MALFORMED.
#ifndef LETHE_BENCH_LOO_POINTS_H_
#define LETHE_BENCH_LOO_POINTS_H_

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "bench/loo_measure.h"

namespace lethe::loo {

struct Point {
  double step = 0;
  Figures figures;
};
using Curve = std::vector<Point>;  // by step

struct Points {
  std::map<int, Figures> set_ups;                    // by seed
  std::map<std::string, std::map<int, Curve>> runs;  // by run, by seed

  const Curve* Find(const std::string& run, int seed) const;
};

std::string SetUpLine(int seed, const Figures& figures);
std::string PointLine(int seed, const std::string& run, const Point& point);

// Appends a line and flushes it; an empty name does nothing.
absl::Status AppendLine(const std::filesystem::path& file, const std::string& line);

absl::StatusOr<Points> ReadPoints(const std::vector<std::filesystem::path>& files);

}  // namespace lethe::loo

#endif  // LETHE_BENCH_LOO_POINTS_H_
