// Small plots as inline SVG for the report's page: a strip
// of dots per row, and bars before / after.
//
//   StripPlot plot{.title = "Greedy extraction", .axis = LinearAxis(0, 1)};
//   plot.rows.push_back({"forgotten, before", scores, "fb"});
//   std::string svg = DrawStrips(plot);
//
// Colours come from the page: rows carry a class (fb, fa, cb, ca) that its style
// sheet paints. No script, no link, no font.
//
// Threads    pure; any.
#ifndef LETHE_EVIDENCE_SVG_PLOT_H_
#define LETHE_EVIDENCE_SVG_PLOT_H_

#include <string>
#include <string_view>
#include <vector>

#include "evidence/statistics.h"

namespace lethe::evidence {

// Text for HTML and SVG, content or attribute: & < > " ' replaced, control characters dropped.
std::string Escape(std::string_view text);

struct Tick {
  double at = 0;
  std::string label;
};

// From `low` to `high`, with the marks to print.
struct Axis {
  double low = 0;
  double high = 1;
  std::vector<Tick> ticks;
};

// Round marks that cover the range; a range without width is widened.
Axis LinearAxis(double low, double high);

// Queries on a logarithmic scale, and "never" (0) as a place of its own at the right end. Place
// gives the position on this axis.
Axis QueriesAxis(double most);
double QueriesPlace(double queries, const Axis& axis);

struct StripRow {
  std::string label;
  Values values;
  std::string css;
  bool mean = true;  // mark the mean
};

// A vertical line, a limit for example. Everything to the right is shaded.
struct StripLine {
  double at = 0;
  std::string label;
};

struct StripPlot {
  std::string title;  // for screen readers
  Axis axis;
  std::vector<StripRow> rows;
  std::vector<StripLine> lines;
  std::string caption;  // under the axis
};
std::string DrawStrips(const StripPlot& plot);

struct BarPair {
  std::string label;
  double before = 0;
  double after = 0;
  double allowed = 0;  // highest value that the policy lets pass
  bool failed = false;
};
// Horizontal pairs of bars from 0, with a mark at the allowed value.
std::string DrawBars(const std::string& title, const std::vector<BarPair>& bars);

}  // namespace lethe::evidence

#endif  // LETHE_EVIDENCE_SVG_PLOT_H_
