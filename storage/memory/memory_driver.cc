#include "storage/memory/memory_driver.h"

#include <algorithm>
#include <map>
#include <tuple>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/status.h"

namespace lethe::storage {
namespace {

template <typename Record>
using Table = std::map<std::string, std::shared_ptr<const Record>>;

struct Tables {
  Table<TicketRecord> tickets;
  Table<JobRecord> jobs;
  Table<ModelRecord> models;
  Table<CheckpointRecord> checkpoints;
  Table<ReportRecord> reports;
  Table<RequestRecord> requests;
  Table<PayloadRecord> payloads;
  Table<KeyRecord> keys;
  std::vector<std::shared_ptr<const std::string>> leaves;
  CountersRecord counters;
};

template <typename Record>
Found<Record> FindIn(const Table<Record>& table, const std::string& key) {
  auto it = table.find(key);
  if (it == table.end()) return std::nullopt;
  return *it->second;
}

template <typename Record>
absl::Status Walk(const Table<Record>& table, const Snapshot::Visitor<Record>& visit) {
  for (const auto& [key, record] : table) LETHE_RETURN_IF_ERROR(visit(key, *record));
  return absl::OkStatus();
}

class MemorySnapshot : public Snapshot {
 public:
  explicit MemorySnapshot(std::shared_ptr<const Tables> tables) : t_(std::move(tables)) {}

  Found<TicketRecord> FindTicket(const TicketId& id) const override {
    return FindIn(t_->tickets, id.value);
  }
  Found<JobRecord> FindJob(const JobId& id) const override { return FindIn(t_->jobs, id.value); }
  Found<ModelRecord> FindModel(const ModelId& id) const override {
    return FindIn(t_->models, id.value);
  }
  Found<CheckpointRecord> FindCheckpoint(const CheckpointId& id) const override {
    return FindIn(t_->checkpoints, id.value);
  }
  Found<ReportRecord> FindReport(const std::string& id) const override {
    return FindIn(t_->reports, id);
  }
  Found<RequestRecord> FindRequest(const std::string& key) const override {
    return FindIn(t_->requests, key);
  }
  Found<PayloadRecord> FindPayload(const TicketId& id) const override {
    return FindIn(t_->payloads, id.value);
  }
  Found<KeyRecord> FindKey(const TicketId& id) const override { return FindIn(t_->keys, id.value); }
  absl::StatusOr<CountersRecord> Counters() const override { return t_->counters; }

  absl::StatusOr<std::vector<JobId>> JobsInState(JobState state) const override {
    std::vector<JobId> out;
    for (const auto& [id, job] : t_->jobs) {
      if (job->state() == static_cast<int32_t>(state)) out.push_back(JobId{id});
    }
    return out;
  }

  absl::StatusOr<std::vector<CheckpointId>> CheckpointsOf(const ModelId& model) const override {
    std::vector<std::pair<int64_t, std::string>> found;
    for (const auto& [id, c] : t_->checkpoints) {
      if (c->model_id() == model.value) found.emplace_back(-c->create_us(), id);
    }
    std::sort(found.begin(), found.end());
    std::vector<CheckpointId> out;
    for (const auto& [time, id] : found) out.push_back(CheckpointId{id});
    return out;
  }

  absl::StatusOr<std::vector<std::string>> ExpiredRequests(int64_t now_us,
                                                           int32_t limit) const override {
    std::vector<std::pair<int64_t, std::string>> found;
    for (const auto& [key, r] : t_->requests) {
      if (r->expire_us() <= now_us) found.emplace_back(r->expire_us(), key);
    }
    std::sort(found.begin(), found.end());
    if (found.size() > static_cast<size_t>(limit)) found.resize(limit);
    std::vector<std::string> out;
    for (auto& [time, key] : found) out.push_back(std::move(key));
    return out;
  }

  absl::StatusOr<TicketPage> ListTickets(const TicketQuery& q) const override {
    std::vector<std::tuple<int64_t, std::string, const TicketRecord*>> found;
    for (const auto& [id, t] : t_->tickets) {
      if (!q.model.empty() && t->model_id() != q.model.value) continue;
      if (!q.states.empty() && std::find(q.states.begin(), q.states.end(),
                                         static_cast<TicketState>(t->state())) == q.states.end()) {
        continue;
      }
      if (q.after.has_value() &&
          std::pair(-t->create_us(), id) <= std::pair(-q.after->create_us, q.after->ticket.value)) {
        continue;
      }
      found.emplace_back(-t->create_us(), id, t.get());
    }
    std::sort(found.begin(), found.end());
    TicketPage page;
    for (const auto& [time, id, ticket] : found) {
      if (page.tickets.size() == static_cast<size_t>(q.limit)) {
        page.next = TicketCursor{page.tickets.back().create_us(),
                                 TicketId{page.tickets.back().ticket_id()}};
        break;
      }
      page.tickets.push_back(*ticket);
    }
    return page;
  }

  absl::StatusOr<std::vector<ModelRecord>> ListModels(const ModelId& after,
                                                      int32_t limit) const override {
    std::vector<ModelRecord> out;
    for (auto it = t_->models.upper_bound(after.value);
         it != t_->models.end() && out.size() < static_cast<size_t>(limit); ++it) {
      out.push_back(*it->second);
    }
    return out;
  }

  absl::StatusOr<std::vector<std::string>> AuditLeaves(LogIndex first,
                                                       int32_t limit) const override {
    std::vector<std::string> out;
    for (uint64_t i = first.value; i < t_->leaves.size() && out.size() < static_cast<size_t>(limit);
         ++i) {
      out.push_back(*t_->leaves[i]);
    }
    return out;
  }

  absl::Status ForEachTicket(const Visitor<TicketRecord>& visit) const override {
    return Walk(t_->tickets, visit);
  }
  absl::Status ForEachJob(const Visitor<JobRecord>& visit) const override {
    return Walk(t_->jobs, visit);
  }
  absl::Status ForEachModel(const Visitor<ModelRecord>& visit) const override {
    return Walk(t_->models, visit);
  }
  absl::Status ForEachCheckpoint(const Visitor<CheckpointRecord>& visit) const override {
    return Walk(t_->checkpoints, visit);
  }
  absl::Status ForEachReport(const Visitor<ReportRecord>& visit) const override {
    return Walk(t_->reports, visit);
  }
  absl::Status ForEachRequest(const Visitor<RequestRecord>& visit) const override {
    return Walk(t_->requests, visit);
  }
  absl::Status ForEachPayload(const Visitor<PayloadRecord>& visit) const override {
    return Walk(t_->payloads, visit);
  }
  absl::Status ForEachKey(const Visitor<KeyRecord>& visit) const override {
    return Walk(t_->keys, visit);
  }

  absl::StatusOr<std::vector<std::string>> CheckIndexes() const override {
    return std::vector<std::string>();  // there are none: every list is made from the records
  }

 private:
  const std::shared_ptr<const Tables> t_;
};

template <typename Record>
void Apply(Table<Record>& table, const Puts<Record>& puts) {
  for (const auto& [id, put] : puts) table[id] = std::make_shared<const Record>(put.after);
}
template <typename Record>
void Apply(Table<Record>& table, const std::map<std::string, Record>& records) {
  for (const auto& [id, record] : records) table[id] = std::make_shared<const Record>(record);
}

class MemoryDriver : public Driver {
 public:
  MemoryDriver() : tables_(std::make_shared<const Tables>()), latest_(NewSnapshot()) {}

  const Snapshot& Latest() const override { return *latest_; }

  std::unique_ptr<const Snapshot> NewSnapshot() const override {
    absl::MutexLock lock(&mu_);
    return std::make_unique<MemorySnapshot>(tables_);
  }

  absl::Status Write(const Changes& c) override {
    auto next = std::make_shared<Tables>(*Current());
    Apply(next->tickets, c.tickets);
    Apply(next->jobs, c.jobs);
    Apply(next->models, c.models);
    Apply(next->checkpoints, c.checkpoints);
    Apply(next->reports, c.reports);
    for (const auto& [key, request] : c.requests_removed) next->requests.erase(key);
    Apply(next->requests, c.requests);
    Apply(next->payloads, c.payloads);
    Apply(next->keys, c.keys);
    for (const std::string& ticket : c.destroyed) {
      next->payloads.erase(ticket);
      next->keys.erase(ticket);
    }
    for (const std::string& leaf : c.leaves) {
      next->leaves.push_back(std::make_shared<const std::string>(leaf));
    }
    if (c.counters.has_value()) next->counters = *c.counters;
    {
      absl::MutexLock lock(&mu_);
      tables_ = std::move(next);
    }
    latest_ = NewSnapshot();
    return absl::OkStatus();
  }

  absl::Status CompactFiles() override { return absl::OkStatus(); }
  absl::StatusOr<std::string> VaultIdentity() const override { return vault_identity_; }
  absl::Status SetVaultIdentity(const std::string& identity) override {
    vault_identity_ = identity;
    return absl::OkStatus();
  }

 private:
  std::shared_ptr<const Tables> Current() const {
    absl::MutexLock lock(&mu_);
    return tables_;
  }

  mutable absl::Mutex mu_;
  std::shared_ptr<const Tables> tables_ ABSL_GUARDED_BY(mu_);
  std::unique_ptr<const Snapshot> latest_;  // the committer's thread
  std::string vault_identity_;              // at open
};

}  // namespace

std::unique_ptr<Driver> MakeMemoryDriver() { return std::make_unique<MemoryDriver>(); }

std::unique_ptr<TicketStore> OpenMemoryStore(const StoreOptions& options) {
  // A fresh store accepts any key file and has nothing to rebuild: this cannot fail.
  return MakeStore(MakeMemoryDriver(), options).value();
}

}  // namespace lethe::storage
