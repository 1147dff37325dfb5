// Changes: what commands decided, as records to put and to remove. One command's, or those of a
// whole group merged.
//
// Invariant  `before` of a record is its value when the group began;
//            drivers derive from it which index entries go.
#ifndef LETHE_STORAGE_COMMAND_CHANGES_H_
#define LETHE_STORAGE_COMMAND_CHANGES_H_

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "storage/command/commands.h"

namespace lethe::storage {

template <typename Record>
struct Put {
  std::optional<Record> before;  // absent: it is new
  Record after;
};

template <typename Record>
using Puts = std::map<std::string, Put<Record>>;

struct Changes {
  Puts<TicketRecord> tickets;
  Puts<JobRecord> jobs;
  Puts<ModelRecord> models;
  Puts<CheckpointRecord> checkpoints;
  std::map<std::string, ReportRecord> reports;
  std::map<std::string, RequestRecord> requests;
  std::map<std::string, RequestRecord> requests_removed;  // with their old values
  std::map<std::string, PayloadRecord> payloads;
  std::map<std::string, KeyRecord> keys;
  std::set<std::string> destroyed;  // tickets whose payload and key go
  std::vector<std::string> leaves;  // serialised; the first has index counters_before.audit_size
  std::optional<CountersRecord> counters;  // as they stand after
  Receipt receipt;

  bool Empty() const;
  // Adds what was decided after this, all but its receipt.
  void Merge(Changes&& later);
};

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_COMMAND_CHANGES_H_
