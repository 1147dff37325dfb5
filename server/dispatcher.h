// Hands work to the workers that wait for it. A poll is an AcquireJob call: answered at once when
// there is work, else when a commit makes some, or empty when its wait is over.
//
//   dispatcher.Acquire(call, kinds, wait);   // finishes the call, now or later
//   dispatcher.Poke();                       // after a commit that made work
//
// Fairness   the poll that waits longest is served first; policy/next_job.h chooses what it gets.
// Audits     are handed out when no job of a ticket is left for the poll: a candidate keeps its model
//            from everything else and has a legal deadline behind it, an audit has neither. Verifiers
//            that are too few show as lethe_audits_waiting.
// Leases     a call that went away while its lease was being written
//            gives the job back at once, burning nothing.
// Clash      a command that the store refuses (its ticket was cancelled meanwhile) leaves the
//            poll waiting; the same model or job is tried again at the next Tick, so that a
//            standing refusal cannot spin.
// Threads    any. One thread of its own looks for work; nothing here blocks the committer.
#ifndef LETHE_SERVER_DISPATCHER_H_
#define LETHE_SERVER_DISPATCHER_H_

#include <lethe/v1/work_service.pb.h>

#include <map>
#include <set>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/core.h"
#include "server/policy/next_job.h"
#include "server/timers.h"

namespace lethe {

// What a worker asks for.
struct OfferedKinds {
  std::set<storage::JobKind> jobs;
  bool audits = false;
};

class Dispatcher {
 public:
  using AcquireCall = UnaryCall<v1::AcquireJobRequest, v1::AcquireJobResponse>;

  explicit Dispatcher(Core* core);
  ~Dispatcher();
  Dispatcher(const Dispatcher&) = delete;
  Dispatcher& operator=(const Dispatcher&) = delete;

  void Acquire(AcquireCall* call, OfferedKinds kinds, absl::Duration wait);
  void Poke();
  // Called by maintenance: time alone may have made work.
  void Tick();
  // Ends every waiting poll with UNAVAILABLE/SERVER_DRAINING, and those that come later.
  void Drain();

 private:
  struct Poll {
    AcquireCall* call = nullptr;
    std::string worker;
    OfferedKinds kinds;
    bool leasing = false;  // a command is on its way
    bool gone = false;     // the caller left meanwhile
    bool over = false;     // its wait ended meanwhile
  };
  using PollId = uint64_t;

  void Loop();
  // One round over the waiting polls.
  void Serve();
  void Form(PollId poll, const JobPlan& plan);
  void Lease(PollId poll, const JobId& job);
  void Deliver(PollId poll, const storage::JobRecord& job);
  // An audit's lease needs no disk: the poll is answered at once.
  void DeliverAudit(AcquireCall* call, v1::Job job);
  void Refused(PollId poll, const absl::Status& status);
  void Cancelled(PollId poll);
  void WaitOver(PollId poll);
  // Takes the poll out; the caller finishes its call. Null when it is not there.
  AcquireCall* Take(PollId poll) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void GiveBack(const storage::JobRecord& job, storage::FailureCause cause, const char* reason);
  bool ShouldWork() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stopping_ || poked_; }

  Core* const core_;
  absl::Mutex mu_;
  std::map<PollId, Poll> polls_ ABSL_GUARDED_BY(mu_);
  PollId next_poll_ ABSL_GUARDED_BY(mu_) = 1;
  Taken taken_ ABSL_GUARDED_BY(mu_);
  Taken cooling_ ABSL_GUARDED_BY(mu_);  // refused since the last Tick
  absl::Time look_again_ ABSL_GUARDED_BY(mu_) = absl::InfiniteFuture();
  bool poked_ ABSL_GUARDED_BY(mu_) = false;
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  Timers timers_;
  std::thread thread_;
};

}  // namespace lethe

#endif  // LETHE_SERVER_DISPATCHER_H_
