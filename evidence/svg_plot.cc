#include "evidence/svg_plot.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "evidence/comparison.h"

namespace lethe::evidence {
namespace {

// Geometry, in the units of the view box.
constexpr double kWidth = 500;
constexpr double kLeft = 122;  // labels of rows
constexpr double kRight = 52;  // figures of rows
constexpr double kRow = 34;
constexpr double kTop = 16;
constexpr double kAxis = 40;
constexpr double kDot = 3.6;
constexpr size_t kMostDots = 240;  // more are thinned to evenly spaced ones

double X(const Axis& axis, double value) {
  const double share = (value - axis.low) / (axis.high - axis.low);
  return kLeft + std::clamp(share, 0.0, 1.0) * (kWidth - kLeft - kRight);
}

std::string Text(double x, double y, const char* css, const char* anchor, const std::string& text) {
  return absl::StrFormat("<text x=\"%.1f\" y=\"%.1f\" class=\"%s\" text-anchor=\"%s\">%s</text>", x,
                         y, css, anchor, Escape(text));
}

std::string Open(const std::string& title, double height) {
  return absl::StrFormat(
      "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"%s\" "
      "xmlns=\"http://www.w3.org/2000/svg\">",
      kWidth, height, Escape(title));
}

Values Thinned(Values values) {
  std::sort(values.begin(), values.end());
  if (values.size() <= kMostDots) return values;
  Values out;
  for (size_t i = 0; i < kMostDots; ++i) {
    out.push_back(values[i * (values.size() - 1) / (kMostDots - 1)]);
  }
  return out;
}

// A dot a value; where dots would cover each other they move up and down, as far as the row allows.
std::string Dots(const StripRow& row, const Axis& axis, double middle) {
  struct Placed {
    double x, y;
  };
  static constexpr double kSlots[] = {0, -4, 4, -8, 8, -12, 12};
  std::vector<Placed> placed;
  std::string out;
  for (double value : Thinned(row.values)) {
    const double x = X(axis, value);
    double y = 0;
    double most = -1;  // the widest distance to the nearest dot, so far
    for (double slot : kSlots) {
      double nearest = 1.6 * kDot;  // far enough: the first such slot is taken
      for (size_t i = placed.size(); i-- > 0 && x - placed[i].x < 2 * kDot;) {
        nearest = std::min(nearest, std::hypot(x - placed[i].x, slot - placed[i].y));
      }
      if (nearest > most) {
        most = nearest;
        y = slot;
      }
    }
    placed.push_back({x, y});
    absl::StrAppendFormat(&out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\"/>", x, middle + y,
                          kDot);
  }
  return out;
}

std::string DrawRow(const StripRow& row, const Axis& axis, double top) {
  const double middle = top + kRow / 2;
  std::string out =
      absl::StrFormat("<line class=\"rail\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
                      kLeft, middle, kWidth - kRight, middle);
  absl::StrAppend(&out, Text(kLeft - 10, middle + 4, "lab", "end", row.label));
  absl::StrAppend(&out, "<g class=\"", row.css, "\">", Dots(row, axis, middle));
  if (row.mean && !row.values.empty()) {
    const double x = X(axis, Mean(row.values));
    absl::StrAppendFormat(&out,
                          "<line class=\"mean\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
                          x, middle - 13, x, middle + 13);
    absl::StrAppend(
        &out, Text(kWidth - kRight + 8, middle + 4, "fig", "start", Figure(Mean(row.values))));
  }
  return out + "</g>";
}

std::string DrawAxis(const Axis& axis, const std::string& caption, double y) {
  std::string out =
      absl::StrFormat("<line class=\"axis\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
                      kLeft, y, kWidth - kRight, y);
  for (const Tick& tick : axis.ticks) {
    const double x = X(axis, tick.at);
    absl::StrAppendFormat(&out,
                          "<line class=\"axis\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
                          x, y, x, y + 4);
    absl::StrAppend(&out, Text(x, y + 16, "tick", "middle", tick.label));
  }
  return out + Text((kLeft + kWidth - kRight) / 2, y + 32, "cap", "middle", caption);
}

std::string Trimmed(double value) { return absl::StrFormat("%.6g", value); }

}  // namespace

std::string Escape(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if (static_cast<unsigned char>(c) >= 0x20 || c == '\n') out += c;
    }
  }
  return out;
}

Axis LinearAxis(double low, double high) {
  if (!(high > low)) {
    const double widen = std::max(0.5, std::abs(low) * 0.1);
    low -= widen;
    high += widen;
  }
  const double rough = (high - low) / 5;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  double step = power;
  for (double factor : {2.0, 5.0, 10.0}) {
    if (step < rough - 1e-12) step = factor * power;
  }
  Axis axis;
  const double first = std::floor(low / step + 1e-9);
  const double last = std::ceil(high / step - 1e-9);
  axis.low = first * step;
  axis.high = last * step;
  for (double i = first; i <= last; ++i) {
    const double at = i == 0 ? 0 : i * step;
    axis.ticks.push_back({at, Trimmed(at)});
  }
  return axis;
}

Axis QueriesAxis(double most) {
  Axis axis;
  const int decades =
      std::clamp(static_cast<int>(std::ceil(std::log10(std::max(most, 10.0)))), 1, 12);
  const int step = decades <= 4 ? 1 : decades <= 8 ? 2 : 3;
  for (int i = 0; i <= decades; i += step) {
    axis.ticks.push_back({static_cast<double>(i), i <= 3   ? absl::StrCat(std::pow(10, i))
                                                  : i < 6  ? absl::StrCat(std::pow(10, i - 3), "k")
                                                  : i < 9  ? absl::StrCat(std::pow(10, i - 6), "M")
                                                  : i < 12 ? absl::StrCat(std::pow(10, i - 9), "G")
                                                           : absl::StrCat("1e", i)});
  }
  axis.high = decades * 1.18;
  axis.ticks.push_back({axis.high, "never"});
  return axis;
}

double QueriesPlace(double queries, const Axis& axis) {
  if (queries <= 0) return axis.high;
  return std::min(std::log10(std::max(queries, 1.0)), axis.high / 1.18);
}

std::string DrawStrips(const StripPlot& plot) {
  const double bottom = kTop + kRow * static_cast<double>(plot.rows.size());
  std::string out = Open(plot.title, bottom + kAxis);
  for (size_t i = 0; i < plot.lines.size(); ++i) {
    const StripLine& line = plot.lines[i];
    const double x = X(plot.axis, line.at);
    absl::StrAppendFormat(
        &out, "<rect class=\"over\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/>", x,
        kTop, std::max(0.0, kWidth - kRight - x), bottom - kTop);
    absl::StrAppendFormat(&out,
                          "<line class=\"limit\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
                          x, kTop - 2, x, bottom);
    absl::StrAppend(&out, Text(x, kTop - 5, "lim", x > kWidth - 150 ? "end" : "start", line.label));
  }
  double top = kTop;
  for (const StripRow& row : plot.rows) {
    absl::StrAppend(&out, DrawRow(row, plot.axis, top));
    top += kRow;
  }
  absl::StrAppend(&out, DrawAxis(plot.axis, plot.caption, bottom + 2));
  return out + "</svg>";
}

std::string DrawBars(const std::string& title, const std::vector<BarPair>& bars) {
  double most = 0;
  for (const BarPair& bar : bars) most = std::max({most, bar.before, bar.after, bar.allowed});
  const Axis axis = LinearAxis(0, std::max(most, 1e-3));
  constexpr double kPair = 44;
  const double bottom = kTop + kPair * static_cast<double>(bars.size());
  std::string out = Open(title, bottom + kAxis);
  double top = kTop;
  for (const BarPair& bar : bars) {
    absl::StrAppend(&out, Text(kLeft - 10, top + 21, "lab", "end", bar.label));
    const auto draw = [&](double value, const char* css, double y) {
      absl::StrAppendFormat(&out,
                            "<rect class=\"%s bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" "
                            "height=\"13\" rx=\"2\"/>",
                            css, kLeft, y, std::max(1.0, X(axis, value) - kLeft));
      absl::StrAppend(&out, Text(kWidth - kRight + 8, y + 10.5, "fig", "start", Figure(value)));
    };
    draw(bar.before, "cb", top + 3);
    draw(bar.after, bar.failed ? "bad" : "fa", top + 18);
    const double x = X(axis, bar.allowed);
    absl::StrAppendFormat(&out,
                          "<line class=\"limit\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>",
                          x, top, x, top + 34);
    top += kPair;
  }
  absl::StrAppend(&out, DrawAxis(axis,
                                 "nats a token; upper bar before, lower bar now; dashed: the "
                                 "most that is allowed",
                                 bottom + 2));
  return out + "</svg>";
}

}  // namespace lethe::evidence
