// Filers: threads that file tickets through the client library while everything around them dies,
// and do not let go of a request before it is answered.
//
//   Filers filers(&world, &stubs, &ledger, seed, 3);
//   filers.Allow(6);                                 // so many more tickets, as fast as they like
//   LETHE_RETURN_IF_ERROR(filers.Finish());          // every allowed one is acknowledged
//
// What they do   single tickets and small batches; calls with a deadline so short that the answer
//                is often lost, repeated with the same request id; repeats of what was answered;
//                another body under a used request id; withdrawals; holds that are released again.
// Threads        of their own; Allow and Finish from one.
#ifndef LETHE_TESTS_FAULT_SOAK_FILERS_H_
#define LETHE_TESTS_FAULT_SOAK_FILERS_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "client/stop.h"
#include "tests/fault/soak/fleet.h"
#include "tests/fault/soak/ledger.h"
#include "tests/fault/soak/world.h"

namespace lethe::soak {

class Filers {
 public:
  using GetStubs = std::function<std::shared_ptr<const Stubs>()>;
  Filers(const World* world, GetStubs stubs, Ledger* ledger, uint64_t seed, int threads);
  ~Filers();

  void Allow(int tickets);
  // Models that tickets may name from now on.
  void AddModel(const std::string& model);
  // Waits until all that was allowed is done, then ends the threads.
  absl::Status Finish(absl::Duration patience);

 private:
  class Thread;
  int Take(int wanted);  // how many tickets a thread may file now; 0: it is over
  void Done(int tickets);
  bool MayTake() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return allowed_ > 0 || over_; }
  bool AllDone() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return allowed_ == 0 && busy_ == 0; }

  const World* const world_;
  const GetStubs stubs_;
  Ledger* const ledger_;
  Stop stop_;
  mutable absl::Mutex mu_;
  int allowed_ ABSL_GUARDED_BY(mu_) = 0;
  int busy_ ABSL_GUARDED_BY(mu_) = 0;
  bool over_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::string> models_ ABSL_GUARDED_BY(mu_);
  std::vector<std::thread> threads_;
};

}  // namespace lethe::soak

#endif  // LETHE_TESTS_FAULT_SOAK_FILERS_H_
