#include "storage/compact.h"

#include <map>

#include "base/status.h"
#include "storage/ticket_store.h"
#include "storage/vault.h"

namespace lethe::storage {
namespace {

constexpr char kActor[] = "compact";
constexpr size_t kChunk = 1000;  // keys a command

// The live keys that are wrapped under an epoch before `epoch`, re-wrapped.
absl::StatusOr<std::map<std::string, KeyRecord>> OldKeys(const TicketStore& store,
                                                         const Vault& vault, Random* random,
                                                         uint64_t epoch) {
  std::map<std::string, KeyRecord> out;
  LETHE_RETURN_IF_ERROR(
      store.Snapshot()->ForEachKey([&](const std::string& ticket, const KeyRecord& key) {
        if (key.epoch() >= epoch) return absl::OkStatus();
        absl::StatusOr<KeyRecord> fresh = vault.Rewrap(random, TicketId{ticket}, key);
        if (fresh.ok()) out.emplace(ticket, *std::move(fresh));
        return fresh.status();
      }));
  return out;
}

}  // namespace

absl::StatusOr<CompactReport> RotateKeyFile(TicketStore* store, Vault* vault, Random* random) {
  CompactReport report;
  LETHE_ASSIGN_OR_RETURN(report.epoch, vault->AddEpoch());
  LETHE_RETURN_IF_ERROR(
      store->Commit(RaiseKeyEpoch{.actor = kActor, .epoch = report.epoch}).status());
  // From here on no payload of an older epoch can come in, so one look finds them all.
  LETHE_ASSIGN_OR_RETURN(auto keys, OldKeys(*store, *vault, random, report.epoch));
  while (!keys.empty()) {
    ReplaceKeys chunk{.actor = kActor};
    while (!keys.empty() && chunk.keys.size() < kChunk) {
      chunk.keys.insert(keys.extract(keys.begin()));
    }
    LETHE_ASSIGN_OR_RETURN(Receipt receipt, store->Commit(std::move(chunk)));
    report.rewrapped += receipt.count;
  }
  LETHE_ASSIGN_OR_RETURN(auto left, OldKeys(*store, *vault, random, report.epoch));
  if (!left.empty()) {
    return Error(
        absl::StatusCode::kInternal, "KEYS_NOT_REWRAPPED",
        "some keys are still wrapped under an old epoch; nothing was dropped, run it again");
  }
  LETHE_RETURN_IF_ERROR(vault->DropEpochsBefore(report.epoch));
  return report;
}

absl::StatusOr<CompactReport> Compact(TicketStore* store, Vault* vault, Random* random) {
  LETHE_ASSIGN_OR_RETURN(CompactReport report, RotateKeyFile(store, vault, random));
  LETHE_RETURN_IF_ERROR(store->CompactFiles());
  return report;
}

}  // namespace lethe::storage
