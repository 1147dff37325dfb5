// How `lethe-engine` prints: tables for people, JSON lines for scripts, progress on a terminal.
#ifndef LETHE_ENGINE_CLI_OUTPUT_H_
#define LETHE_ENGINE_CLI_OUTPUT_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/progress.h"

namespace lethe::cli {

// One object, one line, on standard output; floats with 9 digits.
void PrintJson(const nlohmann::ordered_json& json);

// Columns as wide as they need; the first row is the head.
void PrintTable(const std::vector<std::vector<std::string>>& rows);

std::string Number(double value, int digits = 4);

// A line on standard error that overwrites itself; silent where standard error is not a terminal.
class ProgressLine {
 public:
  ~ProgressLine();
  ProgressCallback Callback();

 private:
  bool shown_ = false;
};

}  // namespace lethe::cli

#endif  // LETHE_ENGINE_CLI_OUTPUT_H_
