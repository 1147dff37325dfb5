#include "storage/rocksdb/rocks_reader.h"

#include <algorithm>
#include <queue>
#include <set>

namespace lethe::storage {
namespace {

rocksdb::Slice ToSlice(std::string_view text) { return {text.data(), text.size()}; }
std::string_view ToView(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

absl::Status ReadFailed(const rocksdb::Status& status) {
  return FromRocks(status, absl::StatusCode::kUnavailable, "STORE_READ_FAILED",
                   "the store cannot be read");
}

absl::Status Corrupt(format::Family family, const std::string& key) {
  return Error(absl::StatusCode::kDataLoss, "RECORD_CORRUPT",
               "a record cannot be read; run lethe admin check",
               {{"family", format::kFamilyNames[family]}, {"key", key}});
}

}  // namespace

absl::Status FromRocks(const rocksdb::Status& status, absl::StatusCode code,
                       std::string_view reason, std::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = std::string(what) + ": " + status.ToString();
  if (status.subcode() == rocksdb::Status::kNoSpace ||
      text.find("No space left") != std::string::npos) {
    return Error(absl::StatusCode::kUnavailable, "DISK_FULL",
                 text + "; free space, then restart the server");
  }
  if (status.IsCorruption()) return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT", text);
  return Error(code, reason, text);
}

RocksReader::RocksReader(rocksdb::DB* db, const Families& families, bool moment)
    : db_(db), families_(families), snapshot_(moment ? db->GetSnapshot() : nullptr) {
  read_.snapshot = snapshot_;
}

RocksReader::~RocksReader() {
  if (snapshot_ != nullptr) db_->ReleaseSnapshot(snapshot_);
}

std::unique_ptr<rocksdb::Iterator> RocksReader::Iterate(format::Family family) const {
  rocksdb::ReadOptions read = read_;
  read.total_order_seek = true;
  return std::unique_ptr<rocksdb::Iterator>(db_->NewIterator(read, families_[family]));
}

template <typename Record>
Found<Record> RocksReader::Find(format::Family family, const std::string& key) const {
  rocksdb::PinnableSlice value;
  const rocksdb::Status status = db_->Get(read_, families_[family], key, &value);
  if (status.IsNotFound()) return std::nullopt;
  if (!status.ok()) return ReadFailed(status);
  Record record;
  if (!record.ParseFromArray(value.data(), static_cast<int>(value.size()))) {
    return Corrupt(family, key);
  }
  return record;
}

template <typename Record>
absl::Status RocksReader::Walk(format::Family family, const Visitor<Record>& visit) const {
  auto it = Iterate(family);
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    Record record;
    const std::string key = it->key().ToString();
    if (!record.ParseFromArray(it->value().data(), static_cast<int>(it->value().size()))) {
      return Corrupt(family, key);
    }
    LETHE_RETURN_IF_ERROR(visit(key, record));
  }
  return it->status().ok() ? absl::OkStatus() : ReadFailed(it->status());
}

Found<TicketRecord> RocksReader::FindTicket(const TicketId& id) const {
  return Find<TicketRecord>(format::kTickets, id.value);
}
Found<JobRecord> RocksReader::FindJob(const JobId& id) const {
  return Find<JobRecord>(format::kJobs, id.value);
}
Found<ModelRecord> RocksReader::FindModel(const ModelId& id) const {
  return Find<ModelRecord>(format::kModels, id.value);
}
Found<CheckpointRecord> RocksReader::FindCheckpoint(const CheckpointId& id) const {
  return Find<CheckpointRecord>(format::kCheckpoints, id.value);
}
Found<ReportRecord> RocksReader::FindReport(const std::string& id) const {
  return Find<ReportRecord>(format::kReports, id);
}
Found<RequestRecord> RocksReader::FindRequest(const std::string& request_key) const {
  return Find<RequestRecord>(format::kRequests, request_key);
}
Found<PayloadRecord> RocksReader::FindPayload(const TicketId& ticket) const {
  return Find<PayloadRecord>(format::kPayloads, ticket.value);
}
Found<KeyRecord> RocksReader::FindKey(const TicketId& ticket) const {
  return Find<KeyRecord>(format::kKeys, ticket.value);
}

absl::StatusOr<CountersRecord> RocksReader::Counters() const {
  LETHE_ASSIGN_OR_RETURN(std::optional<CountersRecord> counters,
                         Find<CountersRecord>(format::kDefault, std::string(format::kCountersKey)));
  return counters.value_or(CountersRecord());
}

absl::StatusOr<std::string> RocksReader::Meta(std::string_view key) const {
  std::string value;
  const rocksdb::Status status = db_->Get(read_, families_[format::kDefault], ToSlice(key), &value);
  if (status.IsNotFound()) return "";
  if (!status.ok()) return ReadFailed(status);
  return value;
}

absl::StatusOr<std::vector<std::string>> RocksReader::Under(const std::string& prefix,
                                                            size_t limit) const {
  std::vector<std::string> out;
  auto it = Iterate(format::kIndex);
  for (it->Seek(prefix); it->Valid() && out.size() < limit; it->Next()) {
    const std::string_view key = ToView(it->key());
    if (key.substr(0, prefix.size()) != prefix) break;
    out.emplace_back(key.substr(prefix.size()));
  }
  if (!it->status().ok()) return ReadFailed(it->status());
  return out;
}

absl::StatusOr<std::vector<JobId>> RocksReader::JobsInState(JobState state) const {
  LETHE_ASSIGN_OR_RETURN(std::vector<std::string> ids,
                         Under(format::JobPrefix(static_cast<int32_t>(state)), SIZE_MAX));
  std::vector<JobId> out;
  for (std::string& id : ids) out.push_back(JobId{std::move(id)});
  return out;
}

absl::StatusOr<std::vector<CheckpointId>> RocksReader::CheckpointsOf(const ModelId& model) const {
  LETHE_ASSIGN_OR_RETURN(std::vector<std::string> places,
                         Under(format::CheckpointPrefix(model.value), SIZE_MAX));
  std::vector<CheckpointId> out;
  for (const std::string& place : places) out.push_back(CheckpointId{place.substr(8)});
  return out;
}

absl::StatusOr<std::vector<std::string>> RocksReader::ExpiredRequests(int64_t now_us,
                                                                      int32_t limit) const {
  std::vector<std::string> out;
  auto it = Iterate(format::kIndex);
  const std::string prefix(1, format::kExpiryPrefix);
  for (it->Seek(prefix); it->Valid() && out.size() < static_cast<size_t>(limit); it->Next()) {
    const std::string_view key = ToView(it->key());
    if (key.size() < 9 || key[0] != format::kExpiryPrefix) break;
    if (static_cast<int64_t>(format::FromBe64(key.substr(1))) > now_us) break;
    out.emplace_back(key.substr(9));
  }
  if (!it->status().ok()) return ReadFailed(it->status());
  return out;
}

// One iterator a state; the newest of their heads is next: O(states × log + page).
absl::StatusOr<TicketPage> RocksReader::ListTickets(const TicketQuery& query) const {
  struct Head {
    std::string prefix;
    std::unique_ptr<rocksdb::Iterator> it;
    std::string place;  // key without the prefix: newest first
  };
  std::set<TicketState> states(query.states.begin(), query.states.end());
  if (states.empty()) states.insert(std::begin(kTicketStates) + 1, std::end(kTicketStates));
  std::vector<Head> heads;
  const auto later = [&](size_t a, size_t b) { return heads[a].place > heads[b].place; };
  std::priority_queue<size_t, std::vector<size_t>, decltype(later)> next(later);
  const auto push = [&](size_t i) {
    Head& head = heads[i];
    if (!head.it->Valid()) return;
    const std::string_view key = ToView(head.it->key());
    if (format::TicketOfPlace(head.prefix, key).empty()) return;
    head.place = key.substr(head.prefix.size());
    next.push(i);
  };
  for (TicketState state : states) {
    const std::string prefix = format::TicketPrefix(query.model.value, static_cast<int32_t>(state));
    heads.push_back({prefix, Iterate(format::kIndex), ""});
  }
  for (size_t i = 0; i < heads.size(); ++i) {
    Head& head = heads[i];
    head.it->Seek(query.after.has_value() ? format::TicketPlace(head.prefix, query.after->create_us,
                                                                query.after->ticket.value) +
                                                '\0'
                                          : head.prefix);
    push(i);
  }
  TicketPage page;
  while (!next.empty()) {
    if (page.tickets.size() == static_cast<size_t>(query.limit)) {
      page.next =
          TicketCursor{page.tickets.back().create_us(), TicketId{page.tickets.back().ticket_id()}};
      break;
    }
    const size_t i = next.top();
    next.pop();
    LETHE_ASSIGN_OR_RETURN(TicketRecord ticket, GetTicket(TicketId{heads[i].place.substr(8)}));
    page.tickets.push_back(std::move(ticket));
    heads[i].it->Next();
    push(i);
  }
  for (const Head& head : heads) {
    if (!head.it->status().ok()) return ReadFailed(head.it->status());
  }
  return page;
}

absl::StatusOr<std::vector<ModelRecord>> RocksReader::ListModels(const ModelId& after,
                                                                 int32_t limit) const {
  std::vector<ModelRecord> out;
  auto it = Iterate(format::kModels);
  for (it->Seek(after.empty() ? "" : after.value + '\0');
       it->Valid() && out.size() < static_cast<size_t>(limit); it->Next()) {
    ModelRecord record;
    if (!record.ParseFromArray(it->value().data(), static_cast<int>(it->value().size()))) {
      return Corrupt(format::kModels, it->key().ToString());
    }
    out.push_back(std::move(record));
  }
  if (!it->status().ok()) return ReadFailed(it->status());
  return out;
}

absl::StatusOr<std::vector<std::string>> RocksReader::AuditLeaves(LogIndex first,
                                                                  int32_t limit) const {
  std::vector<std::string> out;
  auto it = Iterate(format::kAudit);
  uint64_t index = first.value;
  for (it->Seek(format::Be64(index)); it->Valid() && out.size() < static_cast<size_t>(limit);
       it->Next(), ++index) {
    if (it->key().size() != 8 || format::FromBe64(ToView(it->key())) != index) {
      return Error(absl::StatusCode::kDataLoss, "AUDIT_GAP",
                   "the audit log has a gap; run lethe admin check",
                   {{"index", std::to_string(index)}});
    }
    out.push_back(it->value().ToString());
  }
  if (!it->status().ok()) return ReadFailed(it->status());
  return out;
}

absl::Status RocksReader::ForEachTicket(const Visitor<TicketRecord>& visit) const {
  return Walk<TicketRecord>(format::kTickets, visit);
}
absl::Status RocksReader::ForEachJob(const Visitor<JobRecord>& visit) const {
  return Walk<JobRecord>(format::kJobs, visit);
}
absl::Status RocksReader::ForEachModel(const Visitor<ModelRecord>& visit) const {
  return Walk<ModelRecord>(format::kModels, visit);
}
absl::Status RocksReader::ForEachCheckpoint(const Visitor<CheckpointRecord>& visit) const {
  return Walk<CheckpointRecord>(format::kCheckpoints, visit);
}
absl::Status RocksReader::ForEachReport(const Visitor<ReportRecord>& visit) const {
  return Walk<ReportRecord>(format::kReports, visit);
}
absl::Status RocksReader::ForEachRequest(const Visitor<RequestRecord>& visit) const {
  return Walk<RequestRecord>(format::kRequests, visit);
}
absl::Status RocksReader::ForEachPayload(const Visitor<PayloadRecord>& visit) const {
  return Walk<PayloadRecord>(format::kPayloads, visit);
}
absl::Status RocksReader::ForEachKey(const Visitor<KeyRecord>& visit) const {
  return Walk<KeyRecord>(format::kKeys, visit);
}

absl::StatusOr<std::vector<std::string>> RocksReader::CheckIndexes() const {
  std::set<std::string> want;
  const auto add = [&](const auto& record) {
    for (std::string& key : format::IndexKeys(record)) want.insert(std::move(key));
    return absl::OkStatus();
  };
  LETHE_RETURN_IF_ERROR(
      ForEachTicket([&](const std::string&, const TicketRecord& r) { return add(r); }));
  LETHE_RETURN_IF_ERROR(ForEachJob([&](const std::string&, const JobRecord& r) { return add(r); }));
  LETHE_RETURN_IF_ERROR(
      ForEachCheckpoint([&](const std::string&, const CheckpointRecord& r) { return add(r); }));
  LETHE_RETURN_IF_ERROR(ForEachRequest([&](const std::string& key, const RequestRecord& r) {
    want.insert(format::ExpiryKey(r.expire_us(), key));
    return absl::OkStatus();
  }));
  std::vector<std::string> wrong;
  const auto show = [](const std::string& key) {
    std::string text;
    for (char c : key) text += c >= ' ' && c <= '~' ? c : '.';
    return text;
  };
  auto it = Iterate(format::kIndex);
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    if (want.erase(it->key().ToString()) == 0) {
      wrong.push_back("entry without a record: " + show(it->key().ToString()));
    }
  }
  if (!it->status().ok()) return ReadFailed(it->status());
  for (const std::string& key : want) wrong.push_back("entry is missing: " + show(key));
  return wrong;
}

}  // namespace lethe::storage
