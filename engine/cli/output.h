// How `lethe-engine` prints: tables for people, JSON lines for scripts, progress on a terminal.
//
//   PrintTable(rows);
//   return Printed();   // main's last word: a report that the disk did not take is no report
//
// Threads    one.
// Errors     Printed: DISK_FULL, FILE_ERROR; the others go on without a word.
#ifndef LETHE_ENGINE_CLI_OUTPUT_H_
#define LETHE_ENGINE_CLI_OUTPUT_H_

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/progress.h"

namespace lethe::cli {

// As it is, on standard output.
void Print(std::string_view text);

// Sends what waits; the first error of all that was printed so far.
absl::Status Printed();

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
