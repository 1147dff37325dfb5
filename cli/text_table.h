// Plain tables and small words for a terminal.
//
//   TextTable table({"TICKET", "STATE"});
//   table.Add({id, "QUEUED"});
//   table.Print(std::cout);           // columns as wide as their widest cell, two spaces between
#ifndef LETHE_CLI_TEXT_TABLE_H_
#define LETHE_CLI_TEXT_TABLE_H_

#include <google/protobuf/timestamp.pb.h>

#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"

namespace lethe {

class TextTable {
 public:
  explicit TextTable(std::vector<std::string> header) { rows_.push_back(std::move(header)); }
  void Add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  void Print(std::ostream& out) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

// "name:   value" lines with the values in one column; empty values are left out.
void PrintFields(std::ostream& out, const std::vector<std::pair<std::string, std::string>>& fields);

// "2026-11-23 20:15:00 UTC"; "" when the time is not set.
std::string TimeText(const google::protobuf::Timestamp& time);
absl::Time FromTimestamp(const google::protobuf::Timestamp& time);
google::protobuf::Timestamp ToTimestamp(absl::Time time);

// "in 29 d", "in 3 h 12 min", "4 min ago".
std::string RelativeText(absl::Time time, absl::Time now);
std::string DurationText(absl::Duration duration);

// "TICKET_STATE_QUEUED" without its prefix: "QUEUED".
std::string ShortName(const std::string& enum_name, const std::string& prefix);

// Fits "12345" as "12,345".
std::string CountText(int64_t count);
// "1 ticket", "12,345 tickets".
std::string CountOf(int64_t count, const char* thing);

}  // namespace lethe

#endif  // LETHE_CLI_TEXT_TABLE_H_
