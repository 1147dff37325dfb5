// BatchView: the store plus what the present group has decided so far; what Decide sees. The
// committer's thread only.
#ifndef LETHE_STORAGE_BATCH_VIEW_H_
#define LETHE_STORAGE_BATCH_VIEW_H_

#include <map>
#include <string>
#include <vector>

#include "storage/command/changes.h"
#include "storage/snapshot.h"

namespace lethe::storage {

class BatchView : public View {
 public:
  // Both must outlive the view; `pending` may grow.
  BatchView(const View& store, const Changes& pending) : store_(store), pending_(pending) {}

  Found<TicketRecord> FindTicket(const TicketId& id) const override;
  Found<JobRecord> FindJob(const JobId& id) const override;
  Found<ModelRecord> FindModel(const ModelId& id) const override;
  Found<CheckpointRecord> FindCheckpoint(const CheckpointId& id) const override;
  Found<ReportRecord> FindReport(const std::string& id) const override;
  Found<RequestRecord> FindRequest(const std::string& request_key) const override;
  Found<PayloadRecord> FindPayload(const TicketId& ticket) const override;
  Found<KeyRecord> FindKey(const TicketId& ticket) const override;
  absl::StatusOr<CountersRecord> Counters() const override;
  absl::StatusOr<std::vector<JobId>> JobsInState(JobState state) const override;
  absl::StatusOr<std::vector<CheckpointId>> CheckpointsOf(const ModelId& model) const override;
  absl::StatusOr<std::vector<std::string>> ExpiredRequests(int64_t now_us,
                                                           int32_t limit) const override;

 private:
  const View& store_;
  const Changes& pending_;
  // Models of the store that this group has read: every filing asks for its own, and there are few.
  mutable std::map<std::string, ModelRecord> models_;
};

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_BATCH_VIEW_H_
