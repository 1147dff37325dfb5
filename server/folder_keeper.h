// Keeps the models' folders in line with the store, on a thread of its own: `current` after a
// promotion, the removal of rejected candidates, what a lost lease left behind.
//
//   keeper.Schedule(ModelId{"m"}, [&] { hub.OnTicket(record); });   // after `current` is switched
//
// Contract   calls for one model are done one after another, several at once as one. `after`
//            runs also when the work failed: the truth is in the store, and a failed
//            reconciliation is tried again by Tick.
// Audits     `audits` knows what their verifiers keep below incoming/; it outlives the keeper.
// Threads    any.
#ifndef LETHE_SERVER_FOLDER_KEEPER_H_
#define LETHE_SERVER_FOLDER_KEEPER_H_

#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "server/audit_hub.h"
#include "storage/ticket_store.h"

namespace lethe {

class FolderKeeper {
 public:
  FolderKeeper(storage::TicketStore* store, std::filesystem::path model_folder, AuditHub* audits);
  // Does what was scheduled, then returns.
  ~FolderKeeper();
  FolderKeeper(const FolderKeeper&) = delete;
  FolderKeeper& operator=(const FolderKeeper&) = delete;

  void Schedule(const ModelId& model, std::function<void()> after = nullptr);
  // Tries what failed again.
  void Tick();
  // Waits until nothing is scheduled.
  void WaitUntilIdle();

 private:
  void Loop();
  void Reconcile(const ModelId& model);
  bool HasWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stopping_ || !waiting_.empty(); }
  bool Idle() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !working_ && waiting_.empty(); }

  storage::TicketStore* const store_;
  const std::filesystem::path model_folder_;
  AuditHub* const audits_;
  absl::Mutex mu_;
  std::map<ModelId, std::vector<std::function<void()>>> waiting_ ABSL_GUARDED_BY(mu_);
  std::set<ModelId> failed_ ABSL_GUARDED_BY(mu_);
  bool working_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace lethe

#endif  // LETHE_SERVER_FOLDER_KEEPER_H_
