#include "engine/cli/output.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>

#include "base/file.h"

namespace lethe::cli {
namespace {

int first_error = 0;  // of a system call on standard output

void Note(bool ok) {
  if (!ok && first_error == 0) first_error = errno;
}

// nlohmann writes the shortest text that reads back as the same double, up to 17 digits.
void Write(const nlohmann::ordered_json& json, std::string& out) {
  if (json.is_number_float()) {
    const double value = json.get<double>();
    out += std::isfinite(value) ? Number(value, 9) : "null";
  } else if (json.is_array()) {
    out += '[';
    const char* comma = "";
    for (const auto& item : json) {
      out += comma;
      Write(item, out);
      comma = ",";
    }
    out += ']';
  } else if (json.is_object()) {
    out += '{';
    const char* comma = "";
    for (const auto& [key, value] : json.items()) {
      out += comma + nlohmann::ordered_json(key).dump() + ":";
      Write(value, out);
      comma = ",";
    }
    out += '}';
  } else {
    out += json.dump();
  }
}

}  // namespace

std::string Number(double value, int digits) {
  char text[40];
  std::snprintf(text, sizeof text, "%.*g", digits, value);
  return text;
}

void Print(std::string_view text) {
  Note(std::fwrite(text.data(), 1, text.size(), stdout) == text.size());
}

absl::Status Printed() {
  Note(std::fflush(stdout) == 0);
  if (first_error == 0) return absl::OkStatus();
  return SystemError("cannot write to", "standard output", first_error);
}

void PrintJson(const nlohmann::ordered_json& json) {
  std::string line;
  Write(json, line);
  Print(line + "\n");
  Note(std::fflush(stdout) == 0);
}

void PrintTable(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> width;
  for (const auto& row : rows) {
    width.resize(std::max(width.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) width[i] = std::max(width[i], row[i].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string pad(width[i] - row[i].size(), ' ');
      line +=
          i == 0 ? row[i] + pad : "  " + pad + row[i];  // names to the left, figures to the right
    }
    line.erase(line.find_last_not_of(' ') + 1);
    Print(line + "\n");
  }
  Note(std::fflush(stdout) == 0);
}

ProgressLine::~ProgressLine() {
  if (shown_) std::fprintf(stderr, "\r\033[K");
}

ProgressCallback ProgressLine::Callback() {
  if (isatty(STDERR_FILENO) == 0) return nullptr;
  return [this](const EngineProgress& p) {
    std::string line = p.phase;
    if (p.max_steps > 0) line += " " + std::to_string(p.step) + "/" + std::to_string(p.max_steps);
    for (const auto& [name, value] : p.figures) line += "  " + name + " " + Number(value, 4);
    std::fprintf(stderr, "\r\033[K%.110s", line.c_str());
    shown_ = true;
    return true;
  };
}

}  // namespace lethe::cli
