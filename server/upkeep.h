// What time brings: leases that ran out, batches whose wait is
// over, request ids to forget, and the gauges.
//
//   Upkeep upkeep(&core, &dispatcher, &keeper);
//   upkeep.Start();   // a round every maintenance_interval; tests call Tick instead
//
// Writes     a round posts a command only when there is something for
//            it to do: an idle server writes nothing.
// Threads    Tick from any thread, one at a time.
#ifndef LETHE_SERVER_UPKEEP_H_
#define LETHE_SERVER_UPKEEP_H_

#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/core.h"
#include "server/dispatcher.h"
#include "server/folder_keeper.h"

namespace lethe {

class Upkeep {
 public:
  Upkeep(Core* core, Dispatcher* dispatcher, FolderKeeper* keeper)
      : core_(core), dispatcher_(dispatcher), keeper_(keeper) {}
  ~Upkeep() { Stop(); }

  void Start();
  void Stop();
  void Tick();

 private:
  void ExpireLeases(absl::Time now);
  void PurgeRequests(absl::Time now);
  void SetGauges(absl::Time now);

  Core* const core_;
  Dispatcher* const dispatcher_;
  FolderKeeper* const keeper_;
  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::thread thread_;
};

}  // namespace lethe

#endif  // LETHE_SERVER_UPKEEP_H_
