#include "bench/loo_points.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"

namespace lethe::loo {
namespace {

using nlohmann::ordered_json;

// Six digits are more than anybody reads, and keep the lines short.
double Short(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.6g", value);
  return std::stod(text);
}

void Add(const Figures& figures, ordered_json& to) {
  for (const auto& [name, value] : figures) to[name] = Short(value);
}

absl::Status ReadLine(const nlohmann::json& line, Points& points) {
  Figures figures;
  const bool set_up = line.contains("set_up");
  for (const auto& [name, value] : (set_up ? line.at("set_up") : line).items()) {
    if (value.is_number()) figures[name] = value.get<double>();
  }
  const int seed = static_cast<int>(figures.at("seed"));
  if (set_up) {
    points.set_ups[seed] = std::move(figures);
    return absl::OkStatus();
  }
  Point point{.step = figures.at("step"), .figures = std::move(figures)};
  points.runs[line.at("run")][seed].push_back(std::move(point));
  return absl::OkStatus();
}

}  // namespace

const Curve* Points::Find(const std::string& run, int seed) const {
  const auto by_seed = runs.find(run);
  if (by_seed == runs.end()) return nullptr;
  const auto curve = by_seed->second.find(seed);
  return curve == by_seed->second.end() ? nullptr : &curve->second;
}

std::string SetUpLine(int seed, const Figures& figures) {
  ordered_json line;
  line["set_up"]["seed"] = seed;
  Add(figures, line["set_up"]);
  return line.dump();
}

std::string PointLine(int seed, const std::string& run, const Point& point) {
  ordered_json line = {{"seed", seed}, {"run", run}, {"step", point.step}};
  Add(point.figures, line);
  return line.dump();
}

absl::Status AppendLine(const std::filesystem::path& file, const std::string& line) {
  if (file.empty()) return absl::OkStatus();
  std::FILE* out = std::fopen(file.c_str(), "a");
  if (out == nullptr) return SystemError("cannot open", file, errno);
  const bool written = std::fprintf(out, "%s\n", line.c_str()) > 0;
  const bool closed = std::fclose(out) == 0;
  return written && closed ? absl::OkStatus() : SystemError("cannot write", file, errno);
}

absl::StatusOr<Points> ReadPoints(const std::vector<std::filesystem::path>& files) {
  Points points;
  for (const std::filesystem::path& file : files) {
    LETHE_ASSIGN_OR_RETURN(const std::string content, ReadFile(file));
    std::istringstream lines(content);
    std::string line;
    for (int number = 1; std::getline(lines, line); ++number) {
      try {
        LETHE_RETURN_IF_ERROR(ReadLine(nlohmann::json::parse(line), points));
      } catch (const std::exception&) {
        return Error(absl::StatusCode::kInvalidArgument, "LINE_MALFORMED",
                     file.string() + ":" + std::to_string(number) + ": no line of bench_loo");
      }
    }
  }
  for (auto& [run, by_seed] : points.runs) {
    for (auto& [seed, curve] : by_seed) {
      std::stable_sort(curve.begin(), curve.end(),
                       [](const Point& a, const Point& b) { return a.step < b.step; });
    }
  }
  return points;
}

}  // namespace lethe::loo
