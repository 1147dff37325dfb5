#include "evidence/svg_curve.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "evidence/comparison.h"

namespace lethe::evidence {
namespace {

constexpr double kLeft = 34, kRight = 12, kTop = 10, kBottom = 38;

std::string Text(double x, double y, const char* css, const char* anchor, const std::string& text) {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\">%s</text>", x,
                         y, css, anchor, Escape(text));
}

std::string Segment(const char* css, double x1, double y1, double x2, double y2) {
  return absl::StrFormat("<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
                         css, x1, y1, x2, y2);
}

double Share(const Axis& axis, double value) {
  return std::clamp((value - axis.low) / (axis.high - axis.low), 0.0, 1.0);
}

// Places of a plot's values in its view box.
class Frame {
 public:
  explicit Frame(const CurvePlot& plot) : plot_(plot) {}
  double left() const { return kLeft; }
  double right() const { return plot_.width - kRight; }
  double top() const { return kTop; }
  double bottom() const { return plot_.height - kBottom; }
  double X(double value) const { return left() + Share(plot_.x, value) * (right() - left()); }
  double Y(double value) const { return bottom() - Share(plot_.y, value) * (bottom() - top()); }

 private:
  const CurvePlot& plot_;
};

std::string DrawFrame(const CurvePlot& plot, const Frame& frame) {
  std::string out;
  for (const Tick& tick : plot.y.ticks) {
    const double y = frame.Y(tick.at);
    absl::StrAppend(&out, Segment("rail", frame.left(), y, frame.right(), y),
                    Text(frame.left() - 6, y + 4, "tick", "end", tick.label));
  }
  absl::StrAppend(&out,
                  Segment("axis", frame.left(), frame.bottom(), frame.right(), frame.bottom()));
  for (const Tick& tick : plot.x.ticks) {
    const double x = frame.X(tick.at);
    absl::StrAppend(&out, Segment("axis", x, frame.bottom(), x, frame.bottom() + 4),
                    Text(x, frame.bottom() + 15, "tick", "middle", tick.label));
  }
  if (plot.level >= 0) {
    const double y = frame.Y(plot.level);
    absl::StrAppend(&out, Segment("level", frame.left(), y, frame.right(), y));
  }
  if (plot.diagonal) {
    absl::StrAppend(&out,
                    Segment("level", frame.left(), frame.bottom(), frame.right(), frame.top()));
  }
  return out + Text((frame.left() + frame.right()) / 2, frame.bottom() + 31, "cap", "middle",
                    plot.caption);
}

std::string DrawCurve(const Curve& curve, const Frame& frame) {
  std::string points, marks;
  for (const auto& [x, y] : curve.points) {
    absl::StrAppendFormat(&points, "%s%.1f,%.1f", points.empty() ? "" : " ", frame.X(x),
                          frame.Y(y));
    if (curve.marks) {
      absl::StrAppendFormat(&marks, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.6\"/>", frame.X(x),
                            frame.Y(y));
    }
  }
  return absl::StrCat("<g class=\"", curve.css, "\"><title>", Escape(curve.label),
                      "</title><polyline class=\"curve\" points=\"", points, "\"/>", marks, "</g>");
}

}  // namespace

std::string DrawCurves(const CurvePlot& plot) {
  const Frame frame(plot);
  std::string out = absl::StrFormat(
      "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"%s\" "
      "xmlns=\"http://www.w3.org/2000/svg\">",
      plot.width, plot.height, Escape(plot.title));
  absl::StrAppend(&out, DrawFrame(plot, frame));
  for (const Curve& curve : plot.curves) {
    if (!curve.points.empty()) absl::StrAppend(&out, DrawCurve(curve, frame));
  }
  return out + "</svg>";
}

std::vector<std::pair<double, double>> CumulativeSteps(Values values, size_t total, double from,
                                                       double to) {
  std::sort(values.begin(), values.end());
  std::vector<std::pair<double, double>> points = {{from, 0}};
  for (size_t i = 0; i < values.size(); ++i) {
    if (i + 1 < values.size() && values[i + 1] == values[i]) continue;
    points.push_back({values[i], points.back().second});
    points.push_back({values[i], static_cast<double>(i + 1) / static_cast<double>(total)});
  }
  points.push_back({to, points.back().second});
  return points;
}

double StepsPlace(double steps) { return std::log2(1 + steps); }

Axis StepsAxis(const Values& steps) {
  Axis axis;
  axis.high = 1;
  for (const double step : steps) {
    axis.ticks.push_back({StepsPlace(step), absl::StrFormat("%.0f", step)});
    axis.high = std::max(axis.high, StepsPlace(step));
  }
  return axis;
}

Axis ChanceAxis(double lowest) {
  const double floor = std::clamp(std::floor(lowest), -60.0, -3.0);
  const int step = std::max(1, static_cast<int>(std::ceil(-floor / 6)));
  Axis axis;
  axis.low = -step * std::ceil(-floor / step);
  axis.high = 0;
  for (double at = axis.low; at <= 0; at += step) {
    axis.ticks.push_back({at, at == 0 ? std::string("1")
                              : at == axis.low && lowest < axis.low
                                  ? absl::StrFormat("≤1e%.0f", at)
                                  : absl::StrFormat("1e%.0f", at)});
  }
  return axis;
}

std::string DrawTripleBars(const std::string& title, const std::vector<TripleBar>& bars,
                           const std::string& caption) {
  constexpr double kWidth = 390, kLabels = 96, kFigures = 50, kGroup = 52;
  const double bottom = kTop + kGroup * static_cast<double>(bars.size());
  const double span = kWidth - kLabels - kFigures;
  std::string out = absl::StrFormat(
      "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"%s\" "
      "xmlns=\"http://www.w3.org/2000/svg\">",
      kWidth, bottom + kBottom, Escape(title));
  double top = kTop;
  for (const TripleBar& bar : bars) {
    absl::StrAppend(&out, Text(kLabels - 10, top + 24, "lab", "end", bar.label));
    double y = top;
    for (const auto& [value, css] :
         {std::pair{bar.before, "fb"}, std::pair{bar.now, "fa"}, std::pair{bar.control, "ca"}}) {
      absl::StrAppendFormat(
          &out, "<rect class=\"%s\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"12\" rx=\"2\"/>",
          css, kLabels, y, std::max(1.0, std::clamp(value, 0.0, 1.0) * span));
      absl::StrAppend(&out, Text(kWidth - kFigures + 8, y + 10, "fig", "start", Figure(value)));
      y += 14;
    }
    top += kGroup;
  }
  const double line = bottom + 2;
  absl::StrAppend(&out, Segment("axis", kLabels, line, kLabels + span, line));
  for (const Tick& tick : LinearAxis(0, 1).ticks) {
    const double x = kLabels + tick.at * span;
    absl::StrAppend(&out, Segment("axis", x, line, x, line + 4),
                    Text(x, line + 15, "tick", "middle", tick.label));
  }
  return out + Text(kLabels + span / 2, line + 31, "cap", "middle", caption) + "</svg>";
}

}  // namespace lethe::evidence
