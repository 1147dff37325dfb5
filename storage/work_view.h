// WorkView and Totals: what scheduling policy and metrics look at, as values, kept in memory and
// never scanned for.
//
//   WorkView work = store->Work(/*head=*/64);      // policy is a pure function of this
//   for (const ModelQueue& q : work.queues) if (q.idle) ... FormUnlearnJob{... q.head ...}
//
// Both show the latest commit, not a snapshot's moment; every command checks again what policy
// concluded from them.
#ifndef LETHE_STORAGE_WORK_VIEW_H_
#define LETHE_STORAGE_WORK_VIEW_H_

#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/ids.h"
#include "storage/command/commands.h"
#include "storage/state/job_state.h"
#include "storage/state/ticket_state.h"

namespace lethe::storage {

// A QUEUED ticket without a hold.
struct WaitingTicket {
  TicketId id;
  uint64_t queue_seq = 0;
  int32_t rung = 0;
  int32_t batch_cap = 0;  // 0: the policy's
  absl::Time create_time;
  absl::Time due_time;
  absl::Time not_before;  // absl::InfinitePast() when none
};

// The queue of one READY model.
struct ModelQueue {
  ModelId model;
  bool idle = false;  // no active job: an UNLEARN job may be formed
  Generation generation;
  int64_t waiting = 0;              // how many in all
  std::vector<WaitingTicket> head;  // the first of them, in queue order
};

struct WorkView {
  std::vector<JobRecord> ready;    // by id; look at not_before_us
  std::vector<JobRecord> leased;   // by id
  std::vector<ModelQueue> queues;  // of models with waiting tickets, by name
};

struct Totals {
  std::map<TicketState, int64_t> tickets;
  std::map<std::pair<JobKind, JobState>, int64_t> open_jobs;  // READY and LEASED
  // Create time of the oldest QUEUED ticket, held ones included.
  std::optional<absl::Time> oldest_waiting;
  std::optional<absl::Time> nearest_due;  // of all tickets that are not final
  int64_t held = 0;                       // tickets under a hold that are not final
};

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_WORK_VIEW_H_
