// Tickets one after another and in batches: the table and the picture.
#include <algorithm>
#include <cstdio>
#include <set>

#include "bench/loo_plot.h"
#include "bench/loo_sequential.h"
#include "bench/loo_summary.h"

namespace lethe::loo {
namespace {

constexpr double kPolicyRise = 0.05;  // of log-perplexity, as max_retain_rise of the methods

// Method and tickets of a job; a name that is not of tickets gives 0 of them.
std::pair<const MethodRow*, int> Parse(const std::string& run) {
  const size_t slash = run.find('/');
  if (slash == std::string::npos) return {nullptr, 0};
  return {FindRow(run.substr(0, slash)), std::stoi(run.substr(slash + 1))};
}

std::vector<std::string> TicketRuns(const Points& points) {
  std::vector<std::string> runs;
  for (const MethodRow& row : Methods()) {
    std::set<int> batches;
    for (const auto& [run, by_seed] : points.runs) {
      const auto [method, batch] = Parse(run);
      if (method == &row) batches.insert(batch);
    }
    for (const int batch : batches) runs.push_back(TicketRun(row.name, batch));
  }
  return runs;
}

// Mean over seeds of what `of` reads off a run's curve.
template <typename Of>
Interval OverSeeds(const Points& points, const std::string& run, Of of) {
  std::vector<double> values;
  for (const auto& [seed, curve] : points.runs.at(run)) values.push_back(of(curve));
  return MeanOf(values);
}

double Last(const Curve& curve, const std::string& name) {
  const auto figure = curve.back().figures.find(name);
  return figure == curve.back().figures.end() ? 0 : figure->second;
}

double Rise(const Curve& curve, const Point& at, const std::string& utility) {
  return at.figures.at(utility) / curve.front().figures.at(utility) - 1;
}

// Tickets after which more than the policy's share of retained likelihood is gone; all: never.
double WithinPolicy(const Curve& curve) {
  double within = 0;
  for (const Point& point : curve) {
    if (Rise(curve, point, "retained") > kPolicyRise) break;
    within = point.step;
  }
  return within;
}

std::string Nats(const Interval& of) {
  char text[48];
  std::snprintf(text, sizeof(text), of.count < 2 ? "%+.3f" : "%+.3f +-%.3f", of.mean, of.half);
  return text;
}

PlotLine LineOf(const Points& points, const std::string& run, const std::string& figure,
                bool as_rise) {
  const auto [method, batch] = Parse(run);
  PlotLine line{.label = std::string(method->label) + ", " + std::to_string(batch) + " a job"};
  const auto& by_seed = points.runs.at(run);
  for (size_t k = 0; k < by_seed.begin()->second.size(); ++k) {
    std::vector<double> values;
    for (const auto& [seed, curve] : by_seed) {
      if (k >= curve.size()) continue;
      const Point& point = curve[k];
      const auto found = point.figures.find(figure);
      if (found == point.figures.end()) continue;
      values.push_back(as_rise ? found->second - curve.front().figures.at(figure) : found->second);
    }
    if (values.empty()) continue;
    line.points.push_back({by_seed.begin()->second[k].step, MeanOf(values).mean});
  }
  return line;
}

}  // namespace

void PrintTickets(const Points& points) {
  const std::vector<std::string> runs = TicketRuns(points);
  if (runs.empty()) return;
  std::printf("\n%-34s %5s %6s %6s %8s %7s %7s %7s %17s %17s %7s\n", "", "a job", "jobs", "steps",
              "by rule", "at most", "refused", "beam", "retained", "held out", "within");
  for (const std::string& run : runs) {
    const auto mean = [&](const char* name) {
      return OverSeeds(points, run, [&](const Curve& curve) { return Last(curve, name); }).mean;
    };
    const auto rise = [&](const char* name) {
      return Nats(OverSeeds(points, run, [&](const Curve& curve) {
        return Last(curve, name) - curve.front().figures.at(name);
      }));
    };
    const auto [method, batch] = Parse(run);
    std::printf("%-34s %5d %6.0f %6.0f %8.1f %7.1f %7.1f %7.3f %17s %17s %7.0f\n", method->label,
                batch, mean("jobs"), mean("steps"), mean("ended_by_rule"), mean("at_max_steps"),
                mean("stalled") + mean("refused"), mean("done_beam"), rise("retained").c_str(),
                rise("held_out").c_str(), OverSeeds(points, run, WithinPolicy).mean);
  }
}

std::string DrawTickets(const Points& points) {
  const PlotAxis tickets{
      .caption = "tickets done",
      .low = 0,
      .high = 100,
      .ticks = {{0, "0"}, {20, "20"}, {40, "40"}, {60, "60"}, {80, "80"}, {100, "100"}}};
  Panel utility{.title = "held-out text", .x = tickets};
  Panel extraction{
      .title = "secrets of tickets that are done",
      .x = tickets,
      .y = {.caption = "share that beam search finds",
            .low = 0,
            .high = 1,
            .ticks = {{0, "0"}, {0.25, "0.25"}, {0.5, "0.5"}, {0.75, "0.75"}, {1, "1"}}}};
  const MethodRow* before = nullptr;
  int colour = 0, dashes = 0;
  for (const std::string& run : TicketRuns(points)) {
    const MethodRow* method = Parse(run).first;
    if (method != before) ++colour;
    dashes = method == before ? dashes + 1 : 0;
    before = method;
    for (const bool rise : {true, false}) {
      PlotLine line = LineOf(points, run, rise ? "held_out" : "done_beam", rise);
      line.colour = colour;
      line.dash = dashes;
      line.dots = true;
      (rise ? utility : extraction).lines.push_back(std::move(line));
    }
  }
  utility.y = RiseAxis("rise in log-perplexity, nats a token", utility.lines);
  return Draw(
      {.title = "Tickets one after another and in batches", .panels = {utility, extraction}});
}

}  // namespace lethe::loo
