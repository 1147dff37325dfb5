// CommitObserver: told of every commit. Watch streams, long polls, metrics and tests all hang on
// this one hook.
//
//   class Wakeups : public CommitObserver {
//     void OnCommit(const CommitEvent& e) override {
//       for (const auto& t : e.tickets) Wake(t.after.ticket_id());
//     }
//   };
//
// Order      after the sync, when snapshots and WorkView show the change; before the callers'
//            `done`.
// Threads    a thread of the committer, one event at a time: must not block and must not call
//            AddObserver or RemoveObserver.
// Detail     one event a group: a record that two commands of one group changed is told once, from
//            its first to its last state.
#ifndef LETHE_STORAGE_OBSERVER_H_
#define LETHE_STORAGE_OBSERVER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "storage/command/commands.h"

namespace lethe::storage {

template <typename Record>
struct Changed {
  std::optional<Record> before;  // absent: it is new
  Record after;
};

struct CommitEvent {
  int32_t commands = 0;   // in the group
  int32_t refused = 0;    // of these
  int64_t leaves = 0;     // audit leaves written
  absl::Duration decide;  // time to decide them all
  absl::Duration write;   // time of the write and its sync; zero when nothing had to be written
  std::vector<Changed<TicketRecord>> tickets;
  std::vector<Changed<JobRecord>> jobs;
  std::vector<Changed<ModelRecord>> models;
  std::vector<Changed<CheckpointRecord>> checkpoints;
  std::vector<ReportRecord> reports;  // new ones
};

class CommitObserver {
 public:
  virtual ~CommitObserver() = default;
  virtual void OnCommit(const CommitEvent& event) = 0;
  // A write or sync failed: from now on every command is refused with `status`. Told once.
  virtual void OnReadOnly(const absl::Status& status) {}
};

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_OBSERVER_H_
