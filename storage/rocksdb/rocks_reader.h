// RocksReader: Snapshot over an open RocksDB: of one moment, or always the latest (for the
// committer and read-only opens).
#ifndef LETHE_STORAGE_ROCKSDB_ROCKS_READER_H_
#define LETHE_STORAGE_ROCKSDB_ROCKS_READER_H_

#include <rocksdb/db.h>

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "storage/rocksdb/format.h"
#include "storage/snapshot.h"

namespace lethe::storage {

using Families = std::vector<rocksdb::ColumnFamilyHandle*>;  // indexed by format::Family

// RocksDB's status as ours: UNAVAILABLE/DISK_FULL for no space, DATA_LOSS/STORE_CORRUPT for
// corruption, else `code` and `reason`.
absl::Status FromRocks(const rocksdb::Status& status, absl::StatusCode code,
                       std::string_view reason, std::string_view what);

class RocksReader : public Snapshot {
 public:
  // `moment`: whether to stand still. Database and handles must outlive the reader.
  RocksReader(rocksdb::DB* db, const Families& families, bool moment);
  ~RocksReader() override;
  RocksReader(const RocksReader&) = delete;
  RocksReader& operator=(const RocksReader&) = delete;

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
  absl::StatusOr<TicketPage> ListTickets(const TicketQuery& query) const override;
  absl::StatusOr<std::vector<ModelRecord>> ListModels(const ModelId& after,
                                                      int32_t limit) const override;
  absl::StatusOr<std::vector<std::string>> AuditLeaves(LogIndex first,
                                                       int32_t limit) const override;
  absl::Status ForEachTicket(const Visitor<TicketRecord>& visit) const override;
  absl::Status ForEachJob(const Visitor<JobRecord>& visit) const override;
  absl::Status ForEachModel(const Visitor<ModelRecord>& visit) const override;
  absl::Status ForEachCheckpoint(const Visitor<CheckpointRecord>& visit) const override;
  absl::Status ForEachReport(const Visitor<ReportRecord>& visit) const override;
  absl::Status ForEachRequest(const Visitor<RequestRecord>& visit) const override;
  absl::Status ForEachPayload(const Visitor<PayloadRecord>& visit) const override;
  absl::Status ForEachKey(const Visitor<KeyRecord>& visit) const override;
  absl::StatusOr<std::vector<std::string>> CheckIndexes() const override;

  // A raw value of the default family; "" when absent.
  absl::StatusOr<std::string> Meta(std::string_view key) const;

 private:
  template <typename Record>
  Found<Record> Find(format::Family family, const std::string& key) const;
  template <typename Record>
  absl::Status Walk(format::Family family, const Visitor<Record>& visit) const;
  // The keys that begin with `prefix`, that prefix removed; stops at `limit`.
  absl::StatusOr<std::vector<std::string>> Under(const std::string& prefix, size_t limit) const;
  std::unique_ptr<rocksdb::Iterator> Iterate(format::Family family) const;

  rocksdb::DB* const db_;
  const Families& families_;
  const rocksdb::Snapshot* const snapshot_;  // null: latest
  rocksdb::ReadOptions read_;
};

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_ROCKSDB_ROCKS_READER_H_
