#include "storage/batch_view.h"

#include <algorithm>
#include <set>

#include "base/status.h"

namespace lethe::storage {
namespace {

template <typename Record>
const Record* Pending(const Puts<Record>& puts, const std::string& id) {
  auto it = puts.find(id);
  return it == puts.end() ? nullptr : &it->second.after;
}

template <typename Record>
const Record* Pending(const std::map<std::string, Record>& records, const std::string& id) {
  auto it = records.find(id);
  return it == records.end() ? nullptr : &it->second;
}

}  // namespace

Found<TicketRecord> BatchView::FindTicket(const TicketId& id) const {
  if (auto* r = Pending(pending_.tickets, id.value)) return *r;
  return store_.FindTicket(id);
}
Found<JobRecord> BatchView::FindJob(const JobId& id) const {
  if (auto* r = Pending(pending_.jobs, id.value)) return *r;
  return store_.FindJob(id);
}
Found<ModelRecord> BatchView::FindModel(const ModelId& id) const {
  if (auto* r = Pending(pending_.models, id.value)) return *r;
  if (auto* r = Pending(models_, id.value)) return *r;
  Found<ModelRecord> found = store_.FindModel(id);
  if (found.ok() && found->has_value()) models_[id.value] = **found;
  return found;
}
Found<CheckpointRecord> BatchView::FindCheckpoint(const CheckpointId& id) const {
  if (auto* r = Pending(pending_.checkpoints, id.value)) return *r;
  return store_.FindCheckpoint(id);
}
Found<ReportRecord> BatchView::FindReport(const std::string& id) const {
  if (auto* r = Pending(pending_.reports, id)) return *r;
  return store_.FindReport(id);
}
Found<RequestRecord> BatchView::FindRequest(const std::string& request_key) const {
  if (auto* r = Pending(pending_.requests, request_key)) return *r;
  if (pending_.requests_removed.contains(request_key)) return std::nullopt;
  return store_.FindRequest(request_key);
}
Found<PayloadRecord> BatchView::FindPayload(const TicketId& ticket) const {
  if (pending_.destroyed.contains(ticket.value)) return std::nullopt;
  if (auto* r = Pending(pending_.payloads, ticket.value)) return *r;
  return store_.FindPayload(ticket);
}
Found<KeyRecord> BatchView::FindKey(const TicketId& ticket) const {
  if (pending_.destroyed.contains(ticket.value)) return std::nullopt;
  if (auto* r = Pending(pending_.keys, ticket.value)) return *r;
  return store_.FindKey(ticket);
}
absl::StatusOr<CountersRecord> BatchView::Counters() const {
  if (pending_.counters.has_value()) return *pending_.counters;
  return store_.Counters();
}

absl::StatusOr<std::vector<JobId>> BatchView::JobsInState(JobState state) const {
  LETHE_ASSIGN_OR_RETURN(std::vector<JobId> stored, store_.JobsInState(state));
  std::set<JobId> jobs(stored.begin(), stored.end());
  for (const auto& [id, put] : pending_.jobs) {
    if (put.after.state() == static_cast<int32_t>(state)) {
      jobs.insert(JobId{id});
    } else {
      jobs.erase(JobId{id});
    }
  }
  return std::vector<JobId>(jobs.begin(), jobs.end());
}

absl::StatusOr<std::vector<CheckpointId>> BatchView::CheckpointsOf(const ModelId& model) const {
  LETHE_ASSIGN_OR_RETURN(std::vector<CheckpointId> ids, store_.CheckpointsOf(model));
  std::vector<CheckpointId> fresh;  // newer than all that is stored
  for (const auto& [id, put] : pending_.checkpoints) {
    if (put.after.model_id() == model.value && !put.before.has_value()) {
      fresh.push_back(CheckpointId{id});
    }
  }
  ids.insert(ids.begin(), fresh.begin(), fresh.end());
  return ids;
}

absl::StatusOr<std::vector<std::string>> BatchView::ExpiredRequests(int64_t now_us,
                                                                    int32_t limit) const {
  LETHE_ASSIGN_OR_RETURN(std::vector<std::string> keys, store_.ExpiredRequests(now_us, limit));
  std::erase_if(keys, [&](const std::string& key) {
    return pending_.requests_removed.contains(key) || pending_.requests.contains(key);
  });
  return keys;  // one that this group made cannot have expired yet
}

}  // namespace lethe::storage
