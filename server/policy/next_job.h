// Which work a worker gets next: a pure function of what waits.
//
//   NextJob next = ChooseJob(store->Work(1024), {JobKind::kUnlearn}, policies, taken, now);
//   if (next.lease) Post(LeaseJob{...});  else if (next.form) Post(FormUnlearnJob{...});
//
// Order      1 READY VERIFY jobs, the oldest first: a candidate that waits keeps its model from
//              everything else
//            2 READY RETRAIN jobs: their tickets wait for nothing else, and the model for them
//            3 READY UNLEARN jobs, the oldest first
//            4 READY PREPARE jobs, then INGEST, then TRAIN jobs, the oldest first
//            5 a new UNLEARN job for the idle model with the most urgent ticket (earliest due time)
// Batching   a new job holds the most urgent waiting ticket and the next most urgent ones of its
//            rung: at most the policy's max_tickets_per_job and at most the batch_cap of any of
//            them. It is formed when it is full, or when one of its tickets has waited for
//            max_batch_wait, or would come within max_batch_wait of its due time.
// Threads    pure.
#ifndef LETHE_SERVER_POLICY_NEXT_JOB_H_
#define LETHE_SERVER_POLICY_NEXT_JOB_H_

#include <map>
#include <optional>
#include <set>
#include <vector>

#include "absl/time/time.h"
#include "base/ids.h"
#include "storage/work_view.h"

namespace lethe {

// What a model's policy says of its queue.
struct QueuePolicy {
  int32_t max_tickets_per_job = 32;
  absl::Duration max_batch_wait = absl::ZeroDuration();
};
using QueuePolicies = std::map<ModelId, QueuePolicy>;

// What is promised already: commands about these are on their way to the store.
struct Taken {
  std::set<JobId> jobs;
  std::set<ModelId> models;
};

struct JobPlan {
  ModelId model;
  Generation generation;
  int32_t rung = 0;
  std::vector<TicketId> tickets;
};

// At most one of lease and form. look_again: when time alone may change the answer, else
// InfiniteFuture.
struct NextJob {
  std::optional<JobId> lease;
  std::optional<JobPlan> form;
  absl::Time look_again = absl::InfiniteFuture();
};

NextJob ChooseJob(const storage::WorkView& work, const std::set<storage::JobKind>& kinds,
                  const QueuePolicies& policies, const Taken& taken, absl::Time now);

}  // namespace lethe

#endif  // LETHE_SERVER_POLICY_NEXT_JOB_H_
