// Curves as inline SVG for the report's page: lines over two axes, as svg_plot.h draws strips.
//
//   CurvePlot plot{.title = "Relearning", .x = StepsAxis({0, 1, 2, 5}), .y = LinearAxis(0, 1)};
//   plot.curves.push_back({"forgotten, now", {{StepsPlace(0), 0.1}, {StepsPlace(1), 0.2}}, "fa"});
//   std::string svg = DrawCurves(plot);
//
// Threads    pure; any.
#ifndef LETHE_EVIDENCE_SVG_CURVE_H_
#define LETHE_EVIDENCE_SVG_CURVE_H_

#include <string>
#include <utility>
#include <vector>

#include "evidence/svg_plot.h"

namespace lethe::evidence {

struct Curve {
  std::string label;  // for screen readers
  std::vector<std::pair<double, double>> points;
  std::string css;     // fb, fa, cb, ca; "faint" beside it draws it thin and dashed
  bool marks = false;  // a dot at each point
};

struct CurvePlot {
  std::string title;
  Axis x, y;
  std::vector<Curve> curves;
  std::string caption;               // under the x axis
  double level = -1;                 // a dashed line across at this height; below 0: none
  bool diagonal = false;             // from corner to corner: what a guess does
  double width = 300, height = 190;  // of the view box
};
std::string DrawCurves(const CurvePlot& plot);

// The line of a distribution: for each distinct value how many values, of `total`, go up to it, as
// steps from `from` to `to`.
std::vector<std::pair<double, double>> CumulativeSteps(Values values, size_t total, double from,
                                                       double to);

// Steps of training, the first ones wide: 0, 1, 2, 5, 10, 20 stand at even distances, about.
Axis StepsAxis(const Values& steps);
double StepsPlace(double steps);

// log10 of a chance, from 10^lowest to 1; what is less stands at the left end.
Axis ChanceAxis(double lowest);

struct TripleBar {
  std::string label;
  double before = 0, now = 0, control = 0;
};
// Horizontal bars from 0 to 1: forgotten before, forgotten now, unseen now.
std::string DrawTripleBars(const std::string& title, const std::vector<TripleBar>& bars,
                           const std::string& caption);

}  // namespace lethe::evidence

#endif  // LETHE_EVIDENCE_SVG_CURVE_H_
