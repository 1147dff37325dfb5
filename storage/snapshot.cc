#include "storage/snapshot.h"

#include "base/status.h"

namespace lethe::storage {
namespace {

template <typename T>
absl::StatusOr<T> OrNotFound(Found<T> found, std::string_view reason, const char* what,
                             const std::string& id) {
  if (!found.ok()) return found.status();
  if (found->has_value()) return **std::move(found);
  return Error(absl::StatusCode::kNotFound, reason, std::string("there is no such ") + what,
               {{what, id}});
}

}  // namespace

absl::StatusOr<TicketRecord> View::GetTicket(const TicketId& id) const {
  return OrNotFound(FindTicket(id), "TICKET_NOT_FOUND", "ticket", id.value);
}
absl::StatusOr<JobRecord> View::GetJob(const JobId& id) const {
  return OrNotFound(FindJob(id), "JOB_NOT_FOUND", "job", id.value);
}
absl::StatusOr<ModelRecord> View::GetModel(const ModelId& id) const {
  return OrNotFound(FindModel(id), "MODEL_NOT_FOUND", "model", id.value);
}
absl::StatusOr<CheckpointRecord> View::GetCheckpoint(const CheckpointId& id) const {
  return OrNotFound(FindCheckpoint(id), "CHECKPOINT_NOT_FOUND", "checkpoint", id.value);
}
absl::StatusOr<ReportRecord> View::GetReport(const std::string& id) const {
  return OrNotFound(FindReport(id), "REPORT_NOT_FOUND", "report", id);
}

absl::StatusOr<std::vector<CheckpointRecord>> Snapshot::ListCheckpoints(const ModelId& model,
                                                                        const CheckpointId& after,
                                                                        int32_t limit) const {
  LETHE_ASSIGN_OR_RETURN(std::vector<CheckpointId> ids, CheckpointsOf(model));
  size_t begin = 0;
  if (!after.empty()) {
    while (begin < ids.size() && ids[begin] != after) ++begin;
    if (begin == ids.size()) {
      return Error(absl::StatusCode::kNotFound, "CHECKPOINT_NOT_FOUND",
                   "the model has no such checkpoint", {{"checkpoint", after.value}});
    }
    ++begin;
  }
  std::vector<CheckpointRecord> out;
  for (; begin < ids.size() && out.size() < static_cast<size_t>(limit); ++begin) {
    LETHE_ASSIGN_OR_RETURN(CheckpointRecord record, GetCheckpoint(ids[begin]));
    out.push_back(std::move(record));
  }
  return out;
}

}  // namespace lethe::storage
