// Committer: one batch, one sync.
//
//   Committer committer(driver, live_index, options);
//   committer.Post(command, done);
//
// While a group syncs, the next one collects; nothing lingers. Of a group every command is decided
// in order against the store plus what the group has decided so far, then all of it is written and
// synced at once. A second thread tells observers and callers of a group while the first is at the
// next one; when no next one waits, the first does that too. A refusal waits for the sync as well:
// it may rest on a command of its group.
//
// Order      observers hear of a group before its callers do, and of groups in their order.
// Failure    a failed write or sync: every command of the group and all later ones are refused with
//            UNAVAILABLE until the process restarts.
// Threads    any thread may call; `done` and observers run on one of the committer's two, one at a
//            time, without a lock that Post needs.
// Lifetime   the destructor commits what was posted, tells of it and joins.
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

  // A group that was written, or failed to be.
  struct Outcome {
    std::vector<Waiting> group;
    absl::Status health;
    bool failed_now = false;  // it is the first that the driver failed to write
    Changes changes;
    CommitEvent event;  // its records are filled in by the teller
  };

  void Run() ABSL_LOCKS_EXCLUDED(mu_);
  // Decides, from the front of `group`, as many as one write should carry; gives how many.
  size_t DecideGroup(std::deque<Waiting>& group, Changes& merged, CommitEvent& event);
  // Commits the front of `group` and takes it out.
  Outcome CommitGroup(std::deque<Waiting>& group) ABSL_LOCKS_EXCLUDED(mu_);
  // Tells at once when nobody is kept waiting by it, else leaves it to the teller. `more`: another
  // group is at hand.
  void HandOver(Outcome outcome, bool more) ABSL_LOCKS_EXCLUDED(mu_, outcomes_mu_);
  void RunTeller() ABSL_LOCKS_EXCLUDED(outcomes_mu_);
  void Tell(Outcome outcome) ABSL_LOCKS_EXCLUDED(observers_mu_);

  Driver* const driver_;
  LiveIndex* const live_;
  Clock* const clock_;
  const Rules rules_;
  absl::Time last_now_ = absl::InfinitePast();  // committing thread

  mutable absl::Mutex mu_;
  std::deque<Waiting> queue_ ABSL_GUARDED_BY(mu_);
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status health_ ABSL_GUARDED_BY(mu_);

  absl::Mutex observers_mu_;
  std::vector<CommitObserver*> observers_ ABSL_GUARDED_BY(observers_mu_);

  absl::Mutex outcomes_mu_;
  std::deque<Outcome> outcomes_ ABSL_GUARDED_BY(outcomes_mu_);
  bool teller_busy_ ABSL_GUARDED_BY(outcomes_mu_) = false;
  bool all_committed_ ABSL_GUARDED_BY(outcomes_mu_) = false;

  std::thread committing_, telling_;  // last: they use all of the above
};

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_COMMITTER_H_
