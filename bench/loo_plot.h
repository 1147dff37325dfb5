// The curves of bench_loo as SVG pictures that stand alone: lines over two axes, in panels.
//
//   Picture picture{.panels = {{.title = "retained text", .x = x, .y = y}}};
//   picture.panels[0].lines.push_back({.label = "ascent", .points = {{1, 0}, {0.5, 0.2}}});
//   WriteFileAtomically("docs/loo.svg", Draw(picture));
//
// Colours    by the line's number, of a palette that is told apart without red and green. Black on
//            white, whatever the page's theme.
// Threads    pure; any. Errors: none.
#ifndef LETHE_BENCH_LOO_PLOT_H_
#define LETHE_BENCH_LOO_PLOT_H_

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "bench/loo_points.h"

namespace lethe::loo {

struct PlotAxis {
  std::string caption;
  double low = 0, high = 1;  // at the left or lower end, and at the other
  std::vector<std::pair<double, std::string>> ticks;
  std::function<double(double)> scale;  // monotone; null: linear
  double Place(double value) const;     // 0 at low, 1 at high
};

struct PlotLine {
  std::string label;  // in the legend; empty: not there
  std::vector<std::pair<double, double>> points;
  std::vector<double> whiskers;  // half lengths, one a point; 0 or absent: none
  int colour = 0;
  int dash = 0;        // 0: a whole line; 1, 2: longer and shorter dashes
  bool faint = false;  // thin and pale: one seed's
  bool dots = false;
};

struct Panel {
  std::string title;
  PlotAxis x, y;
  std::vector<PlotLine> lines;
};

struct Picture {
  std::string title;  // for screen readers
  std::vector<Panel> panels;
};

std::string Draw(const Picture& picture);

// A rise in log-perplexity over the points of these lines: linear up to some hundredths, logarithmic
// beyond.
PlotAxis RiseAxis(const std::string& caption, const std::vector<PlotLine>& lines);

// Utility against extraction, of all methods: the mean over seeds, each seed behind it.
std::string DrawCurves(const Points& points);
// Utility and extraction over the tickets that are done: means over seeds.
std::string DrawTickets(const Points& points);

}  // namespace lethe::loo

#endif  // LETHE_BENCH_LOO_PLOT_H_
