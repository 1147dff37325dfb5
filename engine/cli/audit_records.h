// What each forgotten record still gives away, a row a record.
//
//   LETHE_RETURN_IF_ERROR(PrintRecords(report, request.forgotten, {.json = json}));
//
// Privacy    no text; with `reveal_from`, a model's folder, each record as that folder's tokenizer
//            writes it, or as its ids where there is none, sensitive spans between » and «.
// Threads    one.
// Errors     those of the tokenizer's file.
#ifndef LETHE_ENGINE_CLI_AUDIT_RECORDS_H_
#define LETHE_ENGINE_CLI_AUDIT_RECORDS_H_

#include <filesystem>
#include <span>
#include <string>

#include "base/status.h"
#include "engine/attack.h"
#include "text/sequence.h"

namespace lethe::cli {

// "loss", "loss@int4-g128": an attack under a condition, as commands and reports name it.
inline std::string NameOf(const std::string& attack, const std::string& condition) {
  return condition.empty() ? attack : attack + "@" + condition;
}

struct RecordOptions {
  std::filesystem::path reveal_from;  // empty: no text
  bool json = false;
};

absl::Status PrintRecords(const AttackReport& report, std::span<const Sequence> forgotten,
                          const RecordOptions& options);

}  // namespace lethe::cli

#endif  // LETHE_ENGINE_CLI_AUDIT_RECORDS_H_
