// Who watches what, and how far the running jobs are. Progress lives in memory only: it is told by
// heartbeats and gone with the lease.
//
//   hub.Watch(id, call);  hub.OnTicket(record);  hub.SetProgress(job, progress, tickets);
//
// Memory     bounded by the open watches (CallGate) and the leased
//            jobs; a slow watcher holds one message a key.
// Order      a watcher never sees an older version of a ticket after a newer one.
// Threads    any; nothing here blocks or does I/O.
#ifndef LETHE_SERVER_TICKET_HUB_H_
#define LETHE_SERVER_TICKET_HUB_H_

#include <lethe/v1/model_service.pb.h>
#include <lethe/v1/ticket.pb.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "base/ids.h"
#include "server/rpc/watch_call.h"
#include "storage/command/commands.h"

namespace lethe {

class TicketHub {
 public:
  // Adds a watcher. Call OnTicket with a record read afterwards, so that it sees the present state.
  void WatchTicket(const TicketId& id, std::shared_ptr<WatchCall> call);
  // Empty: of all models.
  void WatchPromotions(const ModelId& model, std::shared_ptr<WatchCall> call);
  void Forget(const WatchCall* call);

  // A ticket as it is now; ends its watches when it has ended.
  void OnTicket(const storage::TicketRecord& record);
  void OnPromotion(const v1::WatchPromotionsResponse& promotion);

  void SetProgress(const JobId& job, const v1::Progress& progress,
                   const std::vector<TicketId>& tickets);
  void DropProgress(const JobId& job);
  std::optional<v1::Progress> ProgressOf(const std::string& job_id) const;

  // Ends every watch, and those that come later.
  void EndAll(const absl::Status& status);

 private:
  using Calls = std::vector<std::shared_ptr<WatchCall>>;
  struct WatchedTicket {
    Calls calls;
    std::optional<storage::TicketRecord> record;
  };
  void PublishTicket(const TicketId& id);

  mutable absl::Mutex mu_;
  std::map<TicketId, WatchedTicket> tickets_ ABSL_GUARDED_BY(mu_);
  std::multimap<ModelId, std::shared_ptr<WatchCall>> promotions_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, v1::Progress> progress_ ABSL_GUARDED_BY(mu_);  // by job id
  std::optional<absl::Status> ended_ ABSL_GUARDED_BY(mu_);
};

// What of a worker's progress is shown: bounded, and only plain names.
v1::Progress TrimProgress(const v1::Progress& progress);

}  // namespace lethe

#endif  // LETHE_SERVER_TICKET_HUB_H_
