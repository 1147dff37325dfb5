// Committer: one thread, one batch, one sync.
//
//   Committer committer(driver, live_index, options);
//   committer.Post(command, done);
//
// While a group syncs, the next one collects; nothing lingers. Of a group every command is decided
// in order against the store plus what the group has decided so far, then all of it is written and
// synced at once, then every caller hears. A refusal waits for the sync as well: it may rest on a
// command of its group.
//
// Failure    a failed write or sync: every command of the group and all later ones are refused with
//            UNAVAILABLE until the process restarts.
// Threads    any thread may call; `done` and observers run on the
//            committer's thread, without a lock that Post needs.
// Lifetime   the destructor commits what was posted and joins.
#ifndef LETHE_STORAGE_COMMITTER_H_
#define LETHE_STORAGE_COMMITTER_H_

#include <deque>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "storage/driver.h"
#include "storage/live_index.h"
#include "storage/observer.h"
#include "storage/ticket_store.h"

namespace lethe::storage {

class Committer {
 public:
  // All must outlive the committer.
  Committer(Driver* driver, LiveIndex* live, const StoreOptions& options);
  ~Committer();
  Committer(const Committer&) = delete;
  Committer& operator=(const Committer&) = delete;

  void Post(Command command, TicketStore::Done done) ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Health() const ABSL_LOCKS_EXCLUDED(mu_);
  void AddObserver(CommitObserver* observer) ABSL_LOCKS_EXCLUDED(observers_mu_);
  void RemoveObserver(CommitObserver* observer) ABSL_LOCKS_EXCLUDED(observers_mu_);

 private:
  struct Waiting {
    Command command;
    TicketStore::Done done;
    absl::StatusOr<Receipt> result;
  };

  void Run();
  // Decides, from the front of `group`, as many as one write should carry; gives how many.
  size_t DecideGroup(std::deque<Waiting>& group, Changes& merged, CommitEvent& event);
  void CommitGroup(std::deque<Waiting>& group);
  void TellObservers(const CommitEvent& event) ABSL_LOCKS_EXCLUDED(observers_mu_);
  void BecomeReadOnly(const absl::Status& status);

  Driver* const driver_;
  LiveIndex* const live_;
  Clock* const clock_;
  const Rules rules_;
  absl::Time last_now_ = absl::InfinitePast();  // committer's thread

  mutable absl::Mutex mu_;
  std::deque<Waiting> queue_ ABSL_GUARDED_BY(mu_);
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status health_ ABSL_GUARDED_BY(mu_);

  absl::Mutex observers_mu_;
  std::vector<CommitObserver*> observers_ ABSL_GUARDED_BY(observers_mu_);

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_COMMITTER_H_
