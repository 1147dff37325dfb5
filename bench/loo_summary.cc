#include "bench/loo_summary.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "bench/loo_methods.h"

namespace lethe::loo {
namespace {

// Beam search finds one of four guesses among 10,000; of so few people hardly ever two.
constexpr double kByChance = 0.02;

// Student's t, .975, of 1, 2, ... degrees of freedom.
constexpr double kStudent[] = {12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262};

std::vector<int> SeedsOf(const Points& points) {
  std::vector<int> seeds;
  const auto base = points.runs.find("base");
  if (base == points.runs.end()) return seeds;
  for (const auto& [seed, curve] : base->second) seeds.push_back(seed);
  return seeds;
}

std::vector<double> Values(const Points& points, const std::string& run, const std::string& name) {
  std::vector<double> values;
  for (const int seed : SeedsOf(points)) {
    const Curve* curve = points.Find(run, seed);
    if (curve != nullptr) values.push_back(curve->back().figures.at(name));
  }
  return values;
}

// "0.012 +-.004", of fewer seeds than there are with their number.
std::string Cell(const Interval& of, size_t seeds) {
  if (of.count == 0) return "not reached";
  char text[64];
  if (of.count < 2) {
    std::snprintf(text, sizeof(text), "%+.3f", of.mean);
  } else {
    std::snprintf(text, sizeof(text), "%+.3f +-%.3f", of.mean, of.half);
  }
  return of.count == seeds ? text : std::string(text) + " (" + std::to_string(of.count) + ")";
}

Interval Rises(const Points& points, const MethodRow& row, const std::string& extraction,
               double share, const std::string& utility) {
  std::vector<double> values;
  for (const int seed : SeedsOf(points)) {
    const auto rise = RiseAt(FromBase(points, row.name, seed), extraction, share, utility);
    if (rise.has_value()) values.push_back(*rise);
  }
  return MeanOf(values);
}

// How much more the row pays than its reference, in seeds where both get there.
Interval Differences(const Points& points, const MethodRow& row, const std::string& extraction,
                     double share, const std::string& utility) {
  std::vector<double> values;
  for (const int seed : SeedsOf(points)) {
    const auto mine = RiseAt(FromBase(points, row.name, seed), extraction, share, utility);
    const auto other = RiseAt(FromBase(points, row.reference, seed), extraction, share, utility);
    if (mine.has_value() && other.has_value()) values.push_back(*mine - *other);
  }
  return MeanOf(values);
}

std::string Percent(double share) {
  char text[16];
  std::snprintf(text, sizeof(text), "%.3g %%", 100 * share);
  return share == 0 ? "none" : text;
}

template <typename Of>
void PrintLevels(const Points& points, const char* title, const std::string& extraction, Of of) {
  const size_t seeds = SeedsOf(points).size();
  std::printf("%-34s", title);
  for (const double share : kLevels) std::printf(" %20s", Percent(share).c_str());
  std::printf("\n");
  for (const MethodRow& row : Methods()) {
    if (!points.runs.contains(row.name)) continue;
    const std::string line = of(row, extraction, kLevels[0], seeds);
    if (line.empty()) continue;
    std::printf("%-34s", row.label);
    for (const double share : kLevels) {
      std::printf(" %20s", of(row, extraction, share, seeds).c_str());
    }
    std::printf("\n");
  }
}

void PrintPair(const Points& points, const std::string& extraction, const std::string& utility) {
  const std::map<std::string, const char*> of = {
      {"retained", "retained text"},
      {"held_out", "held-out text"},
      {"kept_secrets", "records with secrets that stay"}};
  std::printf("\nrise in log-perplexity of %s, nats a token, when what %s is down to\n",
              of.at(utility), extraction == "beam" ? "beam search finds" : "1,000 draws find");
  PrintLevels(points, "", extraction,
              [&](const MethodRow& row, const std::string& e, double share, size_t seeds) {
                return Cell(Rises(points, row, e, share, utility), seeds);
              });
  PrintLevels(points, "  more than leave-one-out", extraction,
              [&](const MethodRow& row, const std::string& e, double share, size_t seeds) {
                if (row.reference == nullptr) return std::string();
                return Cell(Differences(points, row, e, share, utility), seeds);
              });
}

void PrintModels(const Points& points) {
  const char* kColumns[] = {"beam_16",    "beam_4",   "beam_1",      "drawn_16",
                            "drawn_4",    "drawn_1",  "exposure_16", "exposure_4",
                            "exposure_1", "retained", "held_out"};
  std::printf("\n%-12s", "mean of seeds");
  for (const char* column : kColumns) std::printf(" %11s", column);
  std::printf("\n");
  for (const char* run : {"base", "retrained"}) {
    if (!points.runs.contains(run)) continue;
    std::printf("%-13s", run);
    for (const char* column : kColumns) {
      std::printf(" %11.3f", MeanOf(Values(points, run, column)).mean);
    }
    std::printf("\n");
  }
}

}  // namespace

std::optional<double> RiseAt(const Curve& curve, const std::string& extraction, double share,
                             const std::string& utility) {
  if (curve.empty()) return std::nullopt;
  const double level = share * curve[0].figures.at(extraction);
  const double before = curve[0].figures.at(utility);
  std::optional<double> least;
  const auto offer = [&](double value) {
    if (!least.has_value() || value < *least) least = value;
  };
  for (size_t k = 0; k < curve.size(); ++k) {
    const double e = curve[k].figures.at(extraction), u = curve[k].figures.at(utility);
    if (e <= level) offer(u);
    if (k == 0) continue;
    const double e_before = curve[k - 1].figures.at(extraction);
    if ((e_before > level) == (e > level)) continue;
    const double u_before = curve[k - 1].figures.at(utility);
    offer(u_before + (e_before - level) / (e_before - e) * (u - u_before));
  }
  if (least.has_value()) *least -= before;
  return least;
}

Curve FromBase(const Points& points, const std::string& run, int seed) {
  const Curve* base = points.Find("base", seed);
  const Curve* rest = points.Find(run, seed);
  if (base == nullptr || rest == nullptr) return {};
  Curve curve = {base->back()};
  curve.insert(curve.end(), rest->begin(), rest->end());
  return curve;
}

Interval MeanOf(const std::vector<double>& values) {
  Interval out{.count = values.size()};
  if (values.empty()) return out;
  const auto count = static_cast<double>(values.size());
  double squares = 0;
  for (const double value : values) out.mean += value / count;
  for (const double value : values) squares += (value - out.mean) * (value - out.mean);
  if (values.size() < 2) return out;
  const size_t freedom = std::min(values.size() - 1, std::size(kStudent));
  out.half = kStudent[freedom - 1] * std::sqrt(squares / (count - 1) / count);
  return out;
}

void PrintSummary(const Points& points) {
  PrintModels(points);
  for (const char* extraction : {"beam", "drawn"}) {
    for (const char* utility : {"retained", "held_out", "kept_secrets"}) {
      PrintPair(points, extraction, utility);
    }
  }
}

std::string WhatIsWrong(const Points& points) {
  for (const int seed : SeedsOf(points)) {
    const Curve* base = points.Find("base", seed);
    const Curve* retrained = points.Find("retrained", seed);
    if (base->back().figures.at("beam_16") < 0.5) {
      return "seed " + std::to_string(seed) +
             ": the deployed model says fewer than half of the secrets told 16 times";
    }
    if (retrained != nullptr && retrained->back().figures.at("beam") > kByChance) {
      return "seed " + std::to_string(seed) + ": a model that never saw the secrets says some";
    }
  }
  return "";
}

}  // namespace lethe::loo
