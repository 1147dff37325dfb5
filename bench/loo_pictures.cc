// The pictures of bench_loo.
#include <algorithm>

#include "bench/loo_methods.h"
#include "bench/loo_plot.h"
#include "bench/loo_summary.h"

namespace lethe::loo {
namespace {

constexpr int kPlaces = 20;  // on the way from all to none

std::vector<int> SeedsOf(const Points& points) {
  std::vector<int> seeds;
  for (const auto& [seed, set_up] : points.set_ups) seeds.push_back(seed);
  return seeds;
}

// The mean over seeds at even shares, as far as all seeds get; whiskers where the tables have a column.
PlotLine MeanLine(const Points& points, const MethodRow& row, const std::string& utility) {
  const std::vector<int> seeds = SeedsOf(points);
  PlotLine line{.label = row.label};
  for (int place = 0; place <= kPlaces; ++place) {
    const double share = 1 - static_cast<double>(place) / kPlaces;
    std::vector<double> rises;
    for (const int seed : seeds) {
      const auto rise = RiseAt(FromBase(points, row.name, seed), "beam", share, utility);
      if (rise.has_value()) rises.push_back(*rise);
    }
    if (rises.empty() || rises.size() < seeds.size()) break;
    const Interval mean = MeanOf(rises);
    const bool column =
        std::find(std::begin(kLevels), std::end(kLevels), share) != std::end(kLevels);
    line.points.push_back({share, mean.mean});
    line.whiskers.push_back(column ? mean.half : 0);
  }
  return line;
}

std::vector<PlotLine> SeedLines(const Points& points, const MethodRow& row,
                                const std::string& utility, int colour) {
  std::vector<PlotLine> lines;
  for (const int seed : SeedsOf(points)) {
    const Curve curve = FromBase(points, row.name, seed);
    PlotLine line{.colour = colour, .faint = true};
    for (const Point& point : curve) {
      const double before = curve[0].figures.at("beam");
      line.points.push_back({before > 0 ? point.figures.at("beam") / before : 0,
                             point.figures.at(utility) - curve[0].figures.at(utility)});
    }
    lines.push_back(std::move(line));
  }
  return lines;
}

// A level line: what training again without the forgotten costs.
PlotLine RetrainedLine(const Points& points, const std::string& utility) {
  std::vector<double> rises;
  for (const int seed : SeedsOf(points)) {
    const Curve both = FromBase(points, "retrained", seed);
    if (!both.empty()) {
      rises.push_back(both.back().figures.at(utility) - both[0].figures.at(utility));
    }
  }
  const double rise = MeanOf(rises).mean;
  return {.label = "trained again without", .points = {{1, rise}, {0, rise}}, .dash = 1};
}

Panel CurvesPanel(const Points& points, const std::string& utility, const std::string& title) {
  Panel panel{
      .title = title,
      .x = {.caption = "secrets that beam search finds, of those it found before",
            .low = 1,
            .high = 0,
            .ticks = {{1, "100 %"}, {0.5, "50 %"}, {0.25, "25 %"}, {0.1, "10 %"}, {0, "none"}}}};
  int colour = 0;
  if (points.runs.contains("retrained")) panel.lines.push_back(RetrainedLine(points, utility));
  for (const MethodRow& row : Methods()) {
    ++colour;
    if (!points.runs.contains(row.name)) continue;
    PlotLine mean = MeanLine(points, row, utility);
    mean.colour = colour;
    for (PlotLine& line : SeedLines(points, row, utility, colour)) {
      panel.lines.push_back(std::move(line));
    }
    panel.lines.push_back(std::move(mean));
  }
  panel.y = RiseAxis("rise in log-perplexity, nats a token", panel.lines);
  return panel;
}

}  // namespace

std::string DrawCurves(const Points& points) {
  return Draw({.title = "Utility against extraction, method by method",
               .panels = {CurvesPanel(points, "retained", "retained text"),
                          CurvesPanel(points, "held_out", "held-out text")}});
}

}  // namespace lethe::loo
