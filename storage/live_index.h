// LiveIndex: what waits and what runs, in memory: scheduling and metrics never scan the disk (a
// queue's deleted front is the slowest place of an LSM tree). Built from a snapshot at open, kept
// up by the committer.
//
// Threads    any thread may call.
#ifndef LETHE_STORAGE_LIVE_INDEX_H_
#define LETHE_STORAGE_LIVE_INDEX_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "storage/command/changes.h"
#include "storage/snapshot.h"
#include "storage/work_view.h"

namespace lethe::storage {

class LiveIndex {
 public:
  absl::Status Rebuild(const Snapshot& snapshot) ABSL_LOCKS_EXCLUDED(mu_);
  void Apply(const Changes& changes) ABSL_LOCKS_EXCLUDED(mu_);

  WorkView Work(int32_t head) const ABSL_LOCKS_EXCLUDED(mu_);
  storage::Totals Totals() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Model {
    bool ready = false;
    bool idle = false;
    uint64_t generation = 0;
    std::map<uint64_t, WaitingTicket> waiting;  // by queue_seq
  };

  void AddTicket(const TicketRecord& ticket) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void RemoveTicket(const TicketRecord& ticket) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SetJob(const JobRecord& job) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SetModel(const ModelRecord& model) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;
  std::map<TicketState, int64_t> counts_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, Model> models_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, JobRecord> jobs_ ABSL_GUARDED_BY(mu_);             // READY and LEASED
  std::set<std::pair<int64_t, std::string>> queued_ ABSL_GUARDED_BY(mu_);  // create time, id
  std::set<std::pair<int64_t, std::string>> due_ ABSL_GUARDED_BY(mu_);  // due time, id; not final
  int64_t held_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_LIVE_INDEX_H_
