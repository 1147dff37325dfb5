#include "tests/fault/soak/checks.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/status.h"
#include "lethe/v1/report.pb.h"
#include "storage/fsck.h"
#include "storage/rocksdb/rocks_driver.h"

namespace lethe::soak {
namespace {

namespace fs = std::filesystem;
using storage::AuditLeaf;
using storage::CheckpointRecord;
using storage::CheckpointState;
using storage::ModelRecord;
using storage::TicketRecord;
using storage::TicketState;

constexpr int32_t kLeavesAtOnce = 4096;

// All that the last checks look at.
struct Contents {
  std::map<std::string, TicketRecord> tickets;
  std::map<std::string, ModelRecord> models;
  std::map<std::string, CheckpointRecord> checkpoints;
  std::set<std::string> payloads, keys;
  size_t requests = 0;
  std::map<std::string, storage::ReportRecord> reports;
  std::vector<AuditLeaf> leaves;
};

template <typename Record>
storage::Snapshot::Visitor<Record> Into(std::map<std::string, Record>* table) {
  return [table](const std::string& key, const Record& record) {
    table->emplace(key, record);
    return absl::OkStatus();
  };
}

absl::StatusOr<Contents> ReadStore(const fs::path& store) {
  LETHE_ASSIGN_OR_RETURN(auto folder, storage::OpenRocksReadOnly(store, nullptr));
  const storage::RocksReader reader(folder->db(), folder->families(), /*moment=*/false);
  Contents all;
  LETHE_RETURN_IF_ERROR(reader.ForEachTicket(Into(&all.tickets)));
  LETHE_RETURN_IF_ERROR(reader.ForEachModel(Into(&all.models)));
  LETHE_RETURN_IF_ERROR(reader.ForEachCheckpoint(Into(&all.checkpoints)));
  LETHE_RETURN_IF_ERROR(reader.ForEachReport(Into(&all.reports)));
  LETHE_RETURN_IF_ERROR(reader.ForEachPayload([&](const std::string& key, const auto&) {
    all.payloads.insert(key);
    return absl::OkStatus();
  }));
  LETHE_RETURN_IF_ERROR(reader.ForEachKey([&](const std::string& key, const auto&) {
    all.keys.insert(key);
    return absl::OkStatus();
  }));
  LETHE_RETURN_IF_ERROR(reader.ForEachRequest([&](const std::string&, const auto&) {
    ++all.requests;
    return absl::OkStatus();
  }));
  while (true) {
    LETHE_ASSIGN_OR_RETURN(
        const std::vector<std::string> some,
        reader.AuditLeaves(LogIndex{static_cast<uint64_t>(all.leaves.size())}, kLeavesAtOnce));
    if (some.empty()) return all;
    for (const std::string& bytes : some) {
      if (!all.leaves.emplace_back().ParseFromString(bytes)) {
        return Error(absl::StatusCode::kDataLoss, "LEAF_CORRUPT", "an audit leaf does not parse");
      }
    }
  }
}

void CheckTickets(const Contents& all, const Ledger& ledger, Sums* sums, Problems* out) {
  std::map<std::string, int> completed;  // by the audit log
  for (const AuditLeaf& leaf : all.leaves) {
    if (leaf.ticket_id().empty()) continue;
    ++sums->states[leaf.to()];
    if (leaf.to() == "COMPLETED") ++completed[leaf.ticket_id()];
  }
  std::set<std::string> acknowledged;
  for (const auto& [request, ticket] : ledger.tickets()) acknowledged.insert(ticket);
  const std::set<std::string> cancelled = ledger.cancelled();
  for (const auto& [id, ticket] : all.tickets) {
    const auto state = static_cast<TicketState>(ticket.state());
    const std::string name(storage::Name(state));
    ++sums->tickets[name];
    if (state != TicketState::kCompleted && state != TicketState::kFailed &&
        state != TicketState::kCancelled) {
      out->push_back(absl::StrCat(id, " is ", name, ": it has not ended"));
    }
    const int times = completed.contains(id) ? completed.at(id) : 0;
    if (times != (state == TicketState::kCompleted ? 1 : 0)) {
      out->push_back(absl::StrCat(id, " is ", name, " and was COMPLETED ", times, " times"));
    }
    if (cancelled.contains(id) && state != TicketState::kCancelled) {
      out->push_back(absl::StrCat(id, " is ", name, ", but its withdrawal was acknowledged"));
    }
    // A request is repeated until it is answered, so nothing else may have been filed.
    if (!acknowledged.contains(id)) out->push_back(absl::StrCat(id, " was never acknowledged"));
    const bool kept = state == TicketState::kFailed;  // for RetryTicket
    if (all.payloads.contains(id) != kept || all.keys.contains(id) != kept) {
      out->push_back(absl::StrCat("text or key of ", id, ", which is ", name, ", is ",
                                  kept ? "gone" : "still there"));
    }
  }
  if (all.requests != all.tickets.size()) {
    out->push_back(absl::StrCat(all.requests, " request ids for ", all.tickets.size(), " tickets"));
  }
}

// Generations 1, 2, 3, ... of one model by the audit log, as checkpoint ids.
std::vector<std::string> Promotions(const Contents& all, const std::string& model, Problems* out) {
  std::vector<std::string> promoted;
  for (const AuditLeaf& leaf : all.leaves) {
    if (leaf.model_id() != model || leaf.event() != "CHECKPOINT_STATE" || leaf.to() != "PROMOTED") {
      continue;
    }
    promoted.push_back(leaf.checkpoint_id());
    if (leaf.generation() != promoted.size()) {
      out->push_back(absl::StrCat("promotion ", promoted.size(), " of ", model, " has generation ",
                                  leaf.generation()));
    }
  }
  return promoted;
}

void CheckChain(const Contents& all, const std::vector<std::string>& promoted, Problems* out) {
  std::set<std::string> served;
  std::string before;
  for (const std::string& id : promoted) {
    const auto it = all.checkpoints.find(id);
    if (it == all.checkpoints.end()) {
      out->push_back(absl::StrCat("promoted checkpoint ", id, " has no record"));
      continue;
    }
    if (it->second.parent_checkpoint_id() != before) {
      out->push_back(absl::StrCat(id, " was not made from the checkpoint that it replaced"));
    }
    for (const std::string& ticket : it->second.ticket_ids()) {
      const auto record = all.tickets.find(ticket);
      if (!served.insert(ticket).second) {
        out->push_back(absl::StrCat(ticket, " was unlearned into `current` twice"));
      } else if (record == all.tickets.end() || record->second.checkpoint_id() != id) {
        out->push_back(absl::StrCat(ticket, " does not name ", id, ", which serves it"));
      }
    }
    before = id;
  }
}

void CountGates(const Contents& all, Sums* sums) {
  for (const auto& [id, record] : all.reports) {
    v1::VerificationReport report;
    report.ParseFromString(record.report());
    for (const v1::Gate& gate : report.verdict().gates()) {
      if (gate.result() == v1::GATE_RESULT_FAIL) ++sums->gates[gate.name()];
    }
  }
}

void CheckFolders(const Contents& all, const fs::path& folder, const ModelRecord& model,
                  const std::vector<std::string>& promoted, Problems* out) {
  std::set<std::string> expected = {promoted.back()};  // and the one before, for a roll-back
  if (promoted.size() > 1) expected.insert(promoted[promoted.size() - 2]);
  std::set<std::string> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder / "checkpoints", error)) {
    found.insert(entry.path().filename());
  }
  if (found != expected) {
    out->push_back(absl::StrCat("checkpoints of ", model.model_id(), ": ", found.size(),
                                " folders where ", expected.size(), " are expected, or others"));
  }
  if (fs::exists(folder / "incoming", error) && !fs::is_empty(folder / "incoming", error)) {
    out->push_back(absl::StrCat("work is left in the incoming folder of ", model.model_id()));
  }
  if (fs::read_symlink(folder / "current", error).filename() != promoted.back()) {
    out->push_back(absl::StrCat("`current` of ", model.model_id(), " is not its last promotion"));
  }
  const auto digest = FolderDigest(fs::canonical(folder / "current", error));
  if (!digest.ok() || *digest != all.checkpoints.at(promoted.back()).digest()) {
    out->push_back(absl::StrCat("`current` of ", model.model_id(), " is not what was promoted"));
  }
}

}  // namespace

Problems CheckWithFsck(const fs::path& store, const fs::path& models, bool strict,
                       int* repairable) {
  *repairable = 0;
  const auto report = storage::Fsck({.store = store, .models = models, .digests = true});
  if (!report.ok()) return {absl::StrCat("fsck: ", report.status().ToString())};
  Problems out;
  for (const storage::Finding& finding : report->findings) {
    const bool repair = finding.severity == storage::Severity::kRepairable;
    if (repair) ++*repairable;
    if (!repair || strict) {
      out.push_back(absl::StrCat("fsck: ", finding.what, ": ", finding.detail));
    }
  }
  return out;
}

Problems CheckPromises(const fs::path& store, const Ledger& ledger) {
  const std::map<std::string, std::string> promised = ledger.tickets();
  if (promised.empty()) return {};
  const auto all = ReadStore(store);
  if (!all.ok()) return {all.status().ToString()};
  Problems out;
  for (const auto& [request, ticket] : promised) {
    if (!all->tickets.contains(ticket)) {
      out.push_back(absl::StrCat(ticket, " was acknowledged for ", request, " and is lost"));
    }
  }
  return out;
}

Problems CheckEnd(const fs::path& store, const fs::path& models, const Ledger& ledger, Sums* sums) {
  Problems out = CheckPromises(store, ledger);
  const auto all = ReadStore(store);
  if (!all.ok()) return {all.status().ToString()};
  CheckTickets(*all, ledger, sums, &out);
  for (const auto& [id, model] : all->models) {
    const std::vector<std::string> promoted = Promotions(*all, id, &out);
    if (promoted.empty() || model.current_checkpoint_id() != promoted.back() ||
        model.generation() != promoted.size()) {
      out.push_back(absl::StrCat(id, " does not show its last promotion"));
      continue;
    }
    CheckChain(*all, promoted, &out);
    CheckFolders(*all, models / id, model, promoted, &out);
  }
  for (const auto& [id, checkpoint] : all->checkpoints) {
    const auto state = static_cast<CheckpointState>(checkpoint.state());
    ++sums->checkpoints[std::string(storage::Name(state))];
    if (state == CheckpointState::kCandidate) {
      out.push_back(absl::StrCat(id, " is a candidate for ever"));
    }
  }
  for (const AuditLeaf& leaf : all->leaves) {
    if (leaf.event() == "JOB_STATE" && leaf.from() == "LEASED") ++sums->leases[leaf.to()];
  }
  CountGates(*all, sums);
  return out;
}

}  // namespace lethe::soak
