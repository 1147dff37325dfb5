#include "bench/loo_plot.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace lethe::loo {
namespace {

constexpr double kWidth = 460, kHeight = 300, kLeft = 62, kRight = 14, kTop = 30, kBottom = 46;
constexpr double kLegendRow = 17;
// Okabe and Ito's.
constexpr const char* kColours[] = {"#000000", "#0072b2", "#d55e00", "#e69f00", "#009e73",
                                    "#56b4e9", "#cc79a7", "#999999", "#8b5a2b"};

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.1f", value);
  return text;
}

std::string Escaped(const std::string& words) {
  std::string out;
  for (const char c : words) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      out += c;
    }
  }
  return out;
}

std::string TextAt(double x, double y, const std::string& words, const char* anchor,
                   const std::string& more = "") {
  return "<text x=\"" + Number(x) + "\" y=\"" + Number(y) + "\" text-anchor=\"" + anchor + "\"" +
         more + ">" + Escaped(words) + "</text>\n";
}

std::string Stroke(double x1, double y1, double x2, double y2, const std::string& more) {
  return "<line x1=\"" + Number(x1) + "\" y1=\"" + Number(y1) + "\" x2=\"" + Number(x2) +
         "\" y2=\"" + Number(y2) + "\" " + more + "/>\n";
}

std::string Dash(const PlotLine& line) {
  if (line.dash == 0) return "";
  return line.dash == 1 ? " stroke-dasharray=\"7 3\"" : " stroke-dasharray=\"2 3\"";
}

// One panel at `left`; y counts downwards.
class Frame {
 public:
  Frame(const Panel& panel, double left) : panel_(panel), left_(left) {}

  std::string Draw() const {
    std::string out = Axes();
    for (const PlotLine& line : panel_.lines) {
      if (line.faint) out += DrawLine(line);
    }
    for (const PlotLine& line : panel_.lines) {
      if (!line.faint) out += DrawLine(line);
    }
    return out;
  }

 private:
  double X(double value) const {
    return left_ + kLeft + panel_.x.Place(value) * (kWidth - kLeft - kRight);
  }
  double Y(double value) const {
    return kHeight - kBottom - panel_.y.Place(value) * (kHeight - kTop - kBottom);
  }

  std::string Axes() const {
    const double bottom = kHeight - kBottom, left = left_ + kLeft, right = left_ + kWidth - kRight;
    std::string out =
        TextAt((left + right) / 2, kTop - 12, panel_.title, "middle", " font-weight=\"bold\"");
    for (const auto& [at, label] : panel_.y.ticks) {
      out += Stroke(left, Y(at), right, Y(at), "stroke=\"#dddddd\"");
      out += TextAt(left - 6, Y(at) + 4, label, "end");
    }
    for (const auto& [at, label] : panel_.x.ticks) {
      out += Stroke(X(at), bottom, X(at), bottom + 4, "stroke=\"#000000\"");
      out += TextAt(X(at), bottom + 17, label, "middle");
    }
    out += Stroke(left, bottom, right, bottom, "stroke=\"#000000\"");
    out += Stroke(left, kTop, left, bottom, "stroke=\"#000000\"");
    out += TextAt((left + right) / 2, kHeight - 10, panel_.x.caption, "middle");
    const std::string at = Number(left_ + 13) + " " + Number((kTop + bottom) / 2);
    out += "<text transform=\"translate(" + at + ") rotate(-90)\" text-anchor=\"middle\">" +
           Escaped(panel_.y.caption) + "</text>\n";
    return out;
  }

  std::string DrawLine(const PlotLine& line) const {
    const std::string colour = kColours[static_cast<size_t>(line.colour) % std::size(kColours)];
    std::string path, marks;
    for (size_t i = 0; i < line.points.size(); ++i) {
      const auto& [x, y] = line.points[i];
      if (!path.empty()) path += ' ';
      path += Number(X(x));
      path += ',';
      path += Number(Y(y));
      const double half = i < line.whiskers.size() ? line.whiskers[i] : 0;
      if (half > 0) {
        marks += Stroke(X(x), Y(y - half), X(x), Y(y + half), "stroke=\"" + colour + "\"");
      }
      if (!line.dots) continue;
      marks += "<circle cx=\"" + Number(X(x)) + "\" cy=\"" + Number(Y(y)) + "\" r=\"2.5\" fill=\"" +
               colour + "\"/>\n";
    }
    return "<polyline fill=\"none\" points=\"" + path + "\" stroke=\"" + colour + "\"" +
           (line.faint ? " stroke-width=\"0.7\" opacity=\"0.3\"" : " stroke-width=\"2\"") +
           Dash(line) + "/>\n" + marks;
  }

  const Panel& panel_;
  const double left_;
};

std::string Legend(const Picture& picture) {
  std::string out;
  double x = kLeft, y = kHeight + 10;
  for (const PlotLine& line : picture.panels[0].lines) {
    if (line.label.empty()) continue;
    const double width = 44 + 6.4 * static_cast<double>(line.label.size());
    if (x + width > kWidth * static_cast<double>(picture.panels.size())) {
      x = kLeft;
      y += kLegendRow;
    }
    out += Stroke(x, y - 4, x + 24, y - 4,
                  std::string("stroke-width=\"2\" stroke=\"") +
                      kColours[static_cast<size_t>(line.colour) % std::size(kColours)] + "\"" +
                      Dash(line));
    out += TextAt(x + 30, y, line.label, "start");
    x += width;
  }
  return out;
}

}  // namespace

double PlotAxis::Place(double value) const {
  const auto at = [this](double v) { return scale == nullptr ? v : scale(v); };
  const double place = (at(value) - at(low)) / (at(high) - at(low));
  return std::min(1.0, std::max(0.0, place));
}

std::string Draw(const Picture& picture) {
  const double width = kWidth * static_cast<double>(picture.panels.size());
  const double height = kHeight + 3 * kLegendRow;
  std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + Number(width) +
                    " " + Number(height) + "\" width=\"" + Number(width) + "\" height=\"" +
                    Number(height) +
                    "\" font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n" + "<title>" +
                    Escaped(picture.title) + "</title>\n" +
                    "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
  for (size_t i = 0; i < picture.panels.size(); ++i) {
    out += Frame(picture.panels[i], kWidth * static_cast<double>(i)).Draw();
  }
  return out + Legend(picture) + "</svg>\n";
}

PlotAxis RiseAxis(const std::string& caption, const std::vector<PlotLine>& lines) {
  double least = -0.01, most = 0.05;
  for (const PlotLine& line : lines) {
    for (const auto& [x, rise] : line.points) {
      if (line.faint) continue;  // a run that went to pieces must not press all others flat
      least = std::min(least, rise);
      most = std::max(most, rise);
    }
  }
  PlotAxis axis{.caption = caption, .low = least * 1.2, .high = most * 1.1, .scale = [](double v) {
                  return std::asinh(v / 0.02);
                }};
  for (const double at :
       {-0.05, -0.02, 0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0}) {
    if (at < axis.low || at > axis.high) continue;
    char label[16];
    std::snprintf(label, sizeof(label), "%g", at);
    axis.ticks.push_back({at, label});
  }
  return axis;
}

}  // namespace lethe::loo
