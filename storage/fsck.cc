#include "storage/fsck.h"

#include <map>

#include "base/digest.h"
#include "base/status.h"
#include "lethe/v1/report.pb.h"
#include "storage/fsck_internal.h"
#include "storage/rocksdb/rocks_driver.h"

namespace lethe::storage {
namespace {

constexpr int32_t kLeavesAtOnce = 4096;

template <typename Record>
Snapshot::Visitor<Record> Into(std::map<std::string, Record>* table) {
  return [table](const std::string& key, const Record& record) {
    table->emplace(key, record);
    return absl::OkStatus();
  };
}

absl::StatusOr<Everything> ReadEverything(const Snapshot& s) {
  Everything all;
  LETHE_RETURN_IF_ERROR(s.ForEachTicket(Into(&all.tickets)));
  LETHE_RETURN_IF_ERROR(s.ForEachJob(Into(&all.jobs)));
  LETHE_RETURN_IF_ERROR(s.ForEachModel(Into(&all.models)));
  LETHE_RETURN_IF_ERROR(s.ForEachCheckpoint(Into(&all.checkpoints)));
  LETHE_RETURN_IF_ERROR(s.ForEachReport(Into(&all.reports)));
  LETHE_RETURN_IF_ERROR(s.ForEachRequest(Into(&all.requests)));
  LETHE_RETURN_IF_ERROR(s.ForEachPayload(Into(&all.payloads)));
  LETHE_RETURN_IF_ERROR(s.ForEachKey(Into(&all.keys)));
  LETHE_ASSIGN_OR_RETURN(all.counters, s.Counters());
  return all;
}

void CheckReports(const Everything& all, Findings* out) {
  for (const auto& [id, record] : all.reports) {
    lethe::v1::VerificationReport report;
    if (!report.ParseFromString(record.report()) || report.report_id() != id ||
        Sha256Hex(report.measurements()) != id) {
      out->Error("REPORT_CORRUPT", "report " + id + " is not what its id says");
    }
  }
}

absl::Status CheckRecords(const Snapshot& snapshot, const Everything& all, FsckReport* report) {
  Findings out(report);
  report->tickets = static_cast<int64_t>(all.tickets.size());
  report->jobs = static_cast<int64_t>(all.jobs.size());
  report->checkpoints = static_cast<int64_t>(all.checkpoints.size());
  report->models = static_cast<int64_t>(all.models.size());
  CheckTickets(all, &out);
  CheckJobs(all, &out);
  CheckModels(all, &out);
  CheckCheckpoints(all, &out);
  CheckReports(all, &out);
  LETHE_RETURN_IF_ERROR(CheckAudit(snapshot, all, report));
  LETHE_ASSIGN_OR_RETURN(std::vector<std::string> indexes, snapshot.CheckIndexes());
  for (const std::string& wrong : indexes) out.Error("INDEX_DISAGREES", wrong);
  return absl::OkStatus();
}

// A record that does not parse ends the reading: that alone is a finding.
absl::Status Corruption(const absl::Status& status, FsckReport* report) {
  if (status.code() != absl::StatusCode::kDataLoss) return status;
  report->findings.push_back({Severity::kError, ErrorReason(status), std::string(status.message()),
                              "the store is damaged: restore a backup"});
  return absl::OkStatus();
}

}  // namespace

bool FsckReport::Clean(bool repairable) const {
  for (const Finding& finding : findings) {
    if (!repairable || finding.severity == Severity::kError) return false;
  }
  return true;
}

std::string FsckReport::Text() const {
  std::string text;
  for (const Finding& f : findings) {
    text += std::string(f.severity == Severity::kError ? "error" : "repairable") + "  " + f.what +
            "  " + f.detail + "  (" + f.remedy + ")\n";
  }
  return text;
}

// The last word of the log on each thing is that thing's state.
absl::Status CheckAudit(const Snapshot& snapshot, const Everything& all, FsckReport* report) {
  Findings out(report);
  std::map<std::string, std::string> last;  // id -> state
  uint64_t index = 0;
  for (;;) {
    LETHE_ASSIGN_OR_RETURN(std::vector<std::string> leaves,
                           snapshot.AuditLeaves(LogIndex{index}, kLeavesAtOnce));
    for (const std::string& bytes : leaves) {
      AuditLeaf leaf;
      if (!leaf.ParseFromString(bytes) || leaf.event().empty()) {
        out.Error("LEAF_CORRUPT", "leaf " + std::to_string(index) + " cannot be read");
      }
      const std::string& event = leaf.event();
      std::string id;
      if (event == "TICKET_CREATED" || event == "TICKET_STATE") id = leaf.ticket_id();
      if (event == "JOB_STATE") id = leaf.job_id();
      if (event == "CHECKPOINT_STATE") id = leaf.checkpoint_id();
      if (event == "MODEL_STATE") id = leaf.model_id();
      if (!id.empty()) {
        auto [it, fresh] = last.try_emplace(id, "NONE");
        if (it->second != leaf.from()) {
          out.Error("AUDIT_JUMPS", "leaf " + std::to_string(index) + " moves " + id + " from " +
                                       leaf.from() + ", but it was " + it->second);
        }
        it->second = leaf.to();
      }
      ++index;
    }
    if (leaves.empty()) break;
  }
  report->leaves = static_cast<int64_t>(index);
  if (index != all.counters.audit_size()) {
    out.Error("AUDIT_SIZE", "the log has " + std::to_string(index) + " leaves, the counter says " +
                                std::to_string(all.counters.audit_size()));
  }
  const auto compare = [&](const std::string& id, std::string_view state) {
    auto it = last.find(id);
    if (it == last.end() || it->second != state) {
      out.Error("AUDIT_DISAGREES", id + " is " + std::string(state) + ", the log says " +
                                       (it == last.end() ? "nothing" : it->second));
    }
  };
  for (const auto& [id, t] : all.tickets) compare(id, Name(static_cast<TicketState>(t.state())));
  for (const auto& [id, j] : all.jobs) compare(id, Name(static_cast<JobState>(j.state())));
  for (const auto& [id, m] : all.models) compare(id, Name(static_cast<ModelState>(m.state())));
  for (const auto& [id, c] : all.checkpoints) {
    compare(id, Name(static_cast<CheckpointState>(c.state())));
  }
  return absl::OkStatus();
}

absl::StatusOr<FsckReport> FsckSnapshot(const Snapshot& snapshot) {
  FsckReport report;
  absl::StatusOr<Everything> all = ReadEverything(snapshot);
  absl::Status status = all.ok() ? CheckRecords(snapshot, *all, &report) : all.status();
  if (!status.ok()) LETHE_RETURN_IF_ERROR(Corruption(status, &report));
  return report;
}

absl::StatusOr<FsckReport> Fsck(const FsckOptions& options) {
  LETHE_ASSIGN_OR_RETURN(std::unique_ptr<RocksFolder> folder,
                         OpenRocksReadOnly(options.store, options.env));
  const RocksReader snapshot(folder->db(), folder->families(), /*moment=*/false);
  FsckReport report;
  absl::StatusOr<Everything> all = ReadEverything(snapshot);
  absl::Status status = all.ok() ? CheckRecords(snapshot, *all, &report) : all.status();
  if (status.ok() && !options.models.empty()) {
    Findings out(&report);
    status = CheckFolders(snapshot, *all, options.models, options.digests, &out);
  }
  if (!status.ok()) LETHE_RETURN_IF_ERROR(Corruption(status, &report));
  return report;
}

}  // namespace lethe::storage
