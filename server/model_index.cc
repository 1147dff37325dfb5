#include "server/model_index.h"

#include "base/status.h"
#include "server/convert.h"

namespace lethe {

absl::Status ModelIndex::Load(const storage::TicketStore& store) {
  const auto snapshot = store.Snapshot();
  return snapshot->ForEachModel([this](const std::string&, const storage::ModelRecord& record) {
    Update(record);
    return absl::OkStatus();
  });
}

void ModelIndex::Update(const storage::ModelRecord& record) {
  auto info = std::make_shared<ModelInfo>();
  ToModel(record, &info->model);
  info->queue.max_tickets_per_job = info->model.policy().max_tickets_per_job();
  info->queue.max_batch_wait =
      FromDuration(info->model.policy().max_batch_wait()).value_or(absl::ZeroDuration());
  absl::MutexLock lock(&mu_);
  models_[ModelId{record.model_id()}] = std::move(info);
}

std::shared_ptr<const ModelInfo> ModelIndex::Find(const ModelId& id) const {
  absl::MutexLock lock(&mu_);
  const auto it = models_.find(id);
  return it == models_.end() ? nullptr : it->second;
}

absl::StatusOr<std::shared_ptr<const ModelInfo>> ModelIndex::GetReady(const ModelId& id) const {
  std::shared_ptr<const ModelInfo> info = Find(id);
  if (info == nullptr) {
    // The name is not repeated: what no model is called may be anything.
    return Error(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND", "no model has this name");
  }
  if (!info->ready()) {
    const bool failed = info->model.state() == v1::MODEL_STATE_FAILED;
    return Error(absl::StatusCode::kFailedPrecondition, "MODEL_NOT_READY",
                 failed ? "the model could not be prepared; register it again under another name"
                        : "a worker still prepares the model; follow it with GetModel",
                 {{"model", id.value}, {"state", failed ? "FAILED" : "PREPARING"}});
  }
  return info;
}

std::map<int, int> ModelIndex::TeachersByState() const {
  std::map<int, int> count;
  absl::MutexLock lock(&mu_);
  for (const auto& [id, info] : models_) {
    for (const v1::TeacherStatus& teacher : info->model.corpus().shards()) ++count[teacher.state()];
  }
  return count;
}

QueuePolicies ModelIndex::Policies() const {
  QueuePolicies policies;
  absl::MutexLock lock(&mu_);
  for (const auto& [id, info] : models_) policies.emplace(id, info->queue);
  return policies;
}

}  // namespace lethe
