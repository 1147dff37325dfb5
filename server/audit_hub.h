// Audits that somebody waits for: asked for by AuditCheckpoint, leased to verifiers, told through
// the stream that asked. An audit lives as long as that stream, in memory alone.
//
//   hub.Enter(id, call);                       // from the handler; call->OnGone runs hub.Leave(id)
//   absl::Status begun = hub.Begin(id, audit); // checked and tokenised: it waits for a verifier
//   std::optional<v1::Job> job = hub.Lease("w-1");
//   hub.Heartbeat(id, fence, progress);  hub.Complete(id, fence, measurements);
//
// States     CHECKING, WAITING, LEASED, OVER. A lease that ends without a heartbeat, or that is given
//            back, makes it WAITING again: the same id, a higher fence, the oldest first.
// Failure    told to the caller, who is there to decide, and not tried again here; but a verifier
//            that is lost is the audit's fault only after worker_loss_limit of them.
// Folders    a verifier keeps figures for the one that may come after it (KeptWorkFolder of
//            base/model_layout.h): no text, and gone when the audit is. `on_over` is told then.
// Secret     an audit holds what is looked for: it is sent to the verifier and dropped, never
//            logged, never stored. What is OVER keeps its fence until its lease would have ended,
//            so that the verifier hears why, and nothing of the text.
// Errors     ABORTED/LEASE_LOST a fence that is not the lease's; RESOURCE_EXHAUSTED/QUEUE_FULL;
//            UNAVAILABLE/SERVER_DRAINING; INVALID_ARGUMENT/RESULT_MISMATCH, REPORT_MALFORMED.
// Threads    any; nothing here blocks or does I/O. Complete judges: on a background thread.
#ifndef LETHE_SERVER_AUDIT_HUB_H_
#define LETHE_SERVER_AUDIT_HUB_H_

#include <lethe/v1/job.pb.h>
#include <lethe/v1/policy.pb.h>
#include <lethe/v1/report.pb.h>
#include <lethe/v1/work_service.pb.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/clock.h"
#include "base/ids.h"
#include "server/config.h"
#include "server/metrics.h"
#include "server/rpc/watch_call.h"

namespace lethe {

// What was asked for, checked.
struct Audit {
  v1::Job job;  // as the verifier gets it, but for the lease; job_id is the audit's id
  v1::VerdictPolicy policy;
};

class AuditHub {
 public:
  // All outlive the hub.
  AuditHub(const ServerConfig* config, Clock* clock, Metrics* metrics)
      : config_(config), clock_(clock), metrics_(metrics) {}

  // Told of the model when an audit is over, and once more when its lease would have ended: a
  // verifier that has not heard of it may have written meanwhile. Set before the first call.
  void OnOver(std::function<void(const ModelId&)> on_over) { on_over_ = std::move(on_over); }
  // True for the folder below incoming/ of an audit that is not over.
  bool Keeps(const std::string& incoming_name);

  // --- the caller's side ---
  void Enter(const std::string& id, std::shared_ptr<WatchCall> call);
  // The audit waits for a verifier from now on, and the caller is told so.
  absl::Status Begin(const std::string& id, Audit audit);
  // The caller left, or its call has ended: cancels what is not over.
  void Leave(const std::string& id);

  // --- the verifier's side ---
  // The audit that has waited longest; nothing when none waits.
  std::optional<v1::Job> Lease(const std::string& worker);
  // The lease never reached its verifier: waits again, nothing is burnt.
  void Return(const std::string& id, Fence fence);
  absl::StatusOr<v1::HeartbeatResponse> Heartbeat(const std::string& id, Fence fence,
                                                  const v1::Progress& progress);
  absl::Status Complete(const std::string& id, Fence fence, const std::string& measurements);
  absl::Status Fail(const std::string& id, Fence fence, v1::FailureCause cause,
                    const std::string& reason);

  // --- upkeep ---
  // True when an audit waits again because its verifier was lost.
  bool ExpireLeases();
  // Ends every audit, and those that come later.
  void EndAll(const absl::Status& status);

 private:
  enum class State { kChecking, kWaiting, kLeased, kOver };
  struct Entry {
    uint64_t place = 0;  // in the order in which they came
    State state = State::kChecking;
    std::shared_ptr<WatchCall> call;  // null once over
    Audit audit;                      // empty once over
    ModelId model;
    Fence fence;
    std::string worker;
    absl::Time lease_end;
    absl::Time begun;
    int64_t losses = 0;
    uint64_t told = 0;          // messages, so that none overtakes another
    std::string result_digest;  // of the measurements that were accepted
  };
  // A message for a caller, sent once the lock is left.
  struct Message {
    std::shared_ptr<WatchCall> call;
    uint64_t version = 0;
    v1::Progress progress;
    std::string id;
  };

  // Null: the fence is not that of the lease, or of the one that ended last.
  Entry* Find(const std::string& id, Fence fence) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Message Tell(const std::string& id, Entry* entry, const v1::Progress& progress)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Message Wait(const std::string& id, Entry* entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes the caller out and forgets the text; the caller of this ends the call.
  std::shared_ptr<WatchCall> Over(const std::string& id, Entry* entry, std::string_view outcome)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int64_t Count(State state) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SetGauges() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static void Send(const Message& message);

  const ServerConfig* const config_;
  Clock* const clock_;
  Metrics* const metrics_;
  std::function<void(const ModelId&)> on_over_ = [](const ModelId&) {};
  absl::Mutex mu_;
  std::map<std::string, Entry> audits_ ABSL_GUARDED_BY(mu_);
  uint64_t next_place_ ABSL_GUARDED_BY(mu_) = 1;
  Fence last_fence_ ABSL_GUARDED_BY(mu_);
  std::optional<absl::Status> ended_ ABSL_GUARDED_BY(mu_);
};

}  // namespace lethe

#endif  // LETHE_SERVER_AUDIT_HUB_H_
