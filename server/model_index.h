// Models as handlers need them, parsed and in memory: filing a ticket reads no disk.
//
//   std::shared_ptr<const ModelInfo> model = models.Find(ModelId{"m"});   // null: unknown
//
// Order      fed by the commit observer before the callers of a commit hear of it.
// Threads    any.
#ifndef LETHE_SERVER_MODEL_INDEX_H_
#define LETHE_SERVER_MODEL_INDEX_H_

#include <lethe/v1/model.pb.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/ids.h"
#include "server/policy/next_job.h"
#include "storage/ticket_store.h"

namespace lethe {

struct ModelInfo {
  v1::Model model;
  QueuePolicy queue;
  bool ready() const { return model.state() == v1::MODEL_STATE_READY; }
};

class ModelIndex {
 public:
  // All models of the store, at start.
  absl::Status Load(const storage::TicketStore& store);
  void Update(const storage::ModelRecord& record);

  std::shared_ptr<const ModelInfo> Find(const ModelId& id) const;
  // NOT_FOUND/MODEL_NOT_FOUND, FAILED_PRECONDITION/MODEL_NOT_READY.
  absl::StatusOr<std::shared_ptr<const ModelInfo>> GetReady(const ModelId& id) const;
  QueuePolicies Policies() const;
  // Of all corpora: how many teachers are in each state, by lethe.v1.TeacherState's number.
  std::map<int, int> TeachersByState() const;

 private:
  mutable absl::Mutex mu_;
  std::map<ModelId, std::shared_ptr<const ModelInfo>> models_ ABSL_GUARDED_BY(mu_);
};

}  // namespace lethe

#endif  // LETHE_SERVER_MODEL_INDEX_H_
