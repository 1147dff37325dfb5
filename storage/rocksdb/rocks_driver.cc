#include "storage/rocksdb/rocks_driver.h"

#include <rocksdb/cache.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/table_properties_collectors.h>

#include <algorithm>

#include "base/status.h"
#include "storage/rocksdb/rocks_log.h"

namespace lethe::storage {
namespace {

namespace fs = std::filesystem;

constexpr char kWriter[] = "lethe 0.1.0";
// What waits in memory, and at most is read again after a crash: some seconds of full load. Less
// would be written out, and merged, so often that filing pays for it.
constexpr size_t kMemtableBytes = 192 << 20;

rocksdb::ColumnFamilyOptions FamilyOptions(format::Family family,
                                           const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions options;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  options.level_compaction_dynamic_level_bytes = true;
  options.write_buffer_size = 64 << 20;  // kMemtableBytes caps all families together
  options.max_write_buffer_number = 4;   // filing goes on while full ones are written out
  // Cipher text does not compress, and a scan for surviving bytes must be able to see them.
  const bool sealed = family == format::kPayloads || family == format::kKeys;
  options.compression = sealed ? rocksdb::kNoCompression : rocksdb::kLZ4Compression;
  if (sealed)
    options.periodic_compaction_seconds = 24 * 3600;  // a backstop; Compact is the mechanism
  if (family == format::kTickets || family == format::kRequests) {
    // Every filing asks for an id and a request key that are not there: the filter says so at once.
    options.memtable_whole_key_filtering = true;
    options.memtable_prefix_bloom_size_ratio = 0.02;
  }
  // New keys of these go next to the one before: they begin with the time or a number, in the index
  // behind the letter of their kind.
  const bool ordered =
      family == format::kTickets || family == format::kAudit || family == format::kIndex || sealed;
  if (ordered) {
    options.memtable_insert_with_hint_prefix_extractor.reset(rocksdb::NewCappedPrefixTransform(1));
  }
  if (family == format::kIndex) {
    options.table_properties_collector_factories.push_back(
        rocksdb::NewCompactOnDeletionCollectorFactory(10000, 5000));
  }
  return options;
}

rocksdb::DBOptions DatabaseOptions(rocksdb::Env* env, bool create) {
  rocksdb::DBOptions options;
  if (env != nullptr) options.env = env;
  options.create_if_missing = create;
  options.create_missing_column_families = create;
  options.paranoid_checks = true;
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  options.db_write_buffer_size = kMemtableBytes;
  options.max_total_wal_size = kMemtableBytes;
  options.recycle_log_file_num = 0;  // a recycled log keeps old bytes beyond its end
  options.WAL_ttl_seconds = 0;       // no archive of logs
  options.WAL_size_limit_MB = 0;
  options.max_manifest_file_size = 1 << 20;  // manifests hold keys: keep none for long
  // Writing out and merging files can wait; whoever files a ticket should not.
  for (const auto pool : {rocksdb::Env::HIGH, rocksdb::Env::LOW}) {
    options.env->LowerThreadPoolCPUPriority(pool, rocksdb::CpuPriority::kLow);
  }
  options.info_log = MakeRocksLog();
  options.max_background_jobs = 2;
  options.compaction_readahead_size = 2 << 20;
  options.bytes_per_sync = 1 << 20;  // else the log's sync waits behind that of a whole file
  return options;
}

std::vector<rocksdb::ColumnFamilyDescriptor> AllFamilies() {
  const std::shared_ptr<rocksdb::Cache> cache = rocksdb::NewLRUCache(64 << 20);
  std::vector<rocksdb::ColumnFamilyDescriptor> out;
  for (int f = 0; f < format::kFamilies; ++f) {
    out.emplace_back(format::kFamilyNames[f], FamilyOptions(static_cast<format::Family>(f), cache));
  }
  return out;
}

absl::Status UnknownFormat(const std::string& written) {
  return Error(absl::StatusCode::kFailedPrecondition, "FORMAT_VERSION_UNKNOWN",
               "this data folder has format '" + written + "' and this binary (" + kWriter +
                   ") reads format " + std::to_string(format::kVersion) +
                   "; start the version of lethe named there, or a newer one",
               {{"format", written}});
}

// What the folder says of itself, read without knowing its families.
std::string PeekFormat(const rocksdb::DBOptions& options, const fs::path& folder) {
  rocksdb::DB* db = nullptr;
  std::string value = "unknown";
  if (rocksdb::DB::OpenForReadOnly(rocksdb::Options(options, rocksdb::ColumnFamilyOptions()),
                                   folder, &db)
          .ok()) {
    db->Get(rocksdb::ReadOptions(), std::string(format::kFormatKey), &value).PermitUncheckedError();
    delete db;
  }
  return value;
}

absl::Status OpenError(const rocksdb::Status& status, const rocksdb::DBOptions& options,
                       const fs::path& folder) {
  const std::string text = status.ToString();
  if (status.IsIOError() &&
      (text.find("lock ") != std::string::npos || text.find("LOCK") != std::string::npos)) {
    return Error(absl::StatusCode::kFailedPrecondition, "DATA_FOLDER_IN_USE",
                 "another process has this data folder open; stop it, or give this one its own "
                 "folder",
                 {{"folder", folder.string()}});
  }
  if (status.IsInvalidArgument() && text.find("olumn famil") != std::string::npos) {
    return UnknownFormat(PeekFormat(options, folder));  // families that this version does not know
  }
  return FromRocks(status, absl::StatusCode::kUnavailable, "STORE_OPEN_FAILED",
                   "the store cannot be opened");
}

absl::Status CheckFormat(const std::string& written) {
  if (written.substr(0, written.find(' ')) != std::to_string(format::kVersion)) {
    return UnknownFormat(written);
  }
  return absl::OkStatus();
}

template <typename Record>
void AddPuts(const Puts<Record>& puts, rocksdb::ColumnFamilyHandle* records,
             rocksdb::ColumnFamilyHandle* index, rocksdb::WriteBatch* batch) {
  for (const auto& [id, put] : puts) {
    batch->Put(records, id, put.after.SerializeAsString());
    std::vector<std::string> fresh = format::IndexKeys(put.after);
    if (put.before.has_value()) {
      for (const std::string& old : format::IndexKeys(*put.before)) {
        auto same = std::find(fresh.begin(), fresh.end(), old);
        if (same == fresh.end()) {
          batch->Delete(index, old);
        } else {
          fresh.erase(same);  // stays as it is
        }
      }
    }
    for (const std::string& key : fresh) batch->Put(index, key, "");
  }
}

template <typename Record>
void AddRecords(const std::map<std::string, Record>& records, rocksdb::ColumnFamilyHandle* family,
                rocksdb::WriteBatch* batch) {
  for (const auto& [key, record] : records) batch->Put(family, key, record.SerializeAsString());
}

class RocksDriver : public Driver {
 public:
  RocksDriver(std::unique_ptr<RocksFolder> folder, bool sync)
      : folder_(std::move(folder)), latest_(folder_->db(), folder_->families(), false) {
    write_.sync = sync;
  }

  const Snapshot& Latest() const override { return latest_; }
  std::unique_ptr<const Snapshot> NewSnapshot() const override {
    return std::make_unique<RocksReader>(folder_->db(), folder_->families(), true);
  }

  absl::Status Write(const Changes& c) override {
    rocksdb::WriteBatch batch;
    const Families& f = folder_->families();
    rocksdb::ColumnFamilyHandle* index = f[format::kIndex];
    AddPuts(c.tickets, f[format::kTickets], index, &batch);
    AddPuts(c.jobs, f[format::kJobs], index, &batch);
    AddPuts(c.models, f[format::kModels], index, &batch);
    AddPuts(c.checkpoints, f[format::kCheckpoints], index, &batch);
    AddRecords(c.reports, f[format::kReports], &batch);
    for (const auto& [key, request] : c.requests_removed) {
      batch.Delete(f[format::kRequests], key);
      batch.Delete(index, format::ExpiryKey(request.expire_us(), key));
    }
    AddRecords(c.requests, f[format::kRequests], &batch);
    for (const auto& [key, request] : c.requests) {
      batch.Put(index, format::ExpiryKey(request.expire_us(), key), "");
    }
    AddRecords(c.payloads, f[format::kPayloads], &batch);
    AddRecords(c.keys, f[format::kKeys], &batch);
    for (const std::string& ticket : c.destroyed) {
      batch.Delete(f[format::kPayloads], ticket);
      batch.Delete(f[format::kKeys], ticket);
    }
    if (!c.leaves.empty()) {
      uint64_t next = c.counters->audit_size() - c.leaves.size();
      for (const std::string& leaf : c.leaves) {
        batch.Put(f[format::kAudit], format::Be64(next++), leaf);
      }
    }
    if (c.counters.has_value()) {
      batch.Put(f[format::kDefault], std::string(format::kCountersKey),
                c.counters->SerializeAsString());
    }
    return WriteError(folder_->db()->Write(write_, &batch));
  }

  absl::Status CompactFiles() override;

  absl::StatusOr<std::string> VaultIdentity() const override {
    return latest_.Meta(format::kVaultKey);
  }
  absl::Status SetVaultIdentity(const std::string& identity) override {
    return SetMeta(format::kVaultKey, identity);
  }
  absl::Status SetMeta(std::string_view key, const std::string& value) {
    return WriteError(
        folder_->db()->Put(write_, folder_->families()[format::kDefault], std::string(key), value));
  }

 private:
  static absl::Status WriteError(const rocksdb::Status& status) {
    return FromRocks(status, absl::StatusCode::kUnavailable, "STORE_READ_ONLY",
                     "a write to the store failed; it takes no more until the server is restarted");
  }

  const std::unique_ptr<RocksFolder> folder_;
  const RocksReader latest_;
  rocksdb::WriteOptions write_;
};

// Order matters: a log goes only when every family has flushed; a tombstone and what it hides go
// only in a forced rewrite of the bottom.
absl::Status RocksDriver::CompactFiles() {
  const auto failed = [](const rocksdb::Status& status) {
    return FromRocks(status, absl::StatusCode::kUnavailable, "COMPACT_FAILED",
                     "the store's files could not be rewritten");
  };
  rocksdb::DB* db = folder_->db();
  LETHE_RETURN_IF_ERROR(failed(db->Flush(rocksdb::FlushOptions(), folder_->families())));
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = true;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForce;
  for (rocksdb::ColumnFamilyHandle* family : folder_->families()) {
    LETHE_RETURN_IF_ERROR(failed(db->CompactRange(options, family, nullptr, nullptr)));
  }
  // Removes files that nothing refers to any more, now and not when a background thread finds time.
  LETHE_RETURN_IF_ERROR(failed(db->DisableFileDeletions()));
  return failed(db->EnableFileDeletions(/*force=*/true));
}

}  // namespace

RocksFolder::RocksFolder(std::unique_ptr<rocksdb::DB> db, Families families)
    : db_(std::move(db)), families_(std::move(families)) {}

RocksFolder::~RocksFolder() {
  for (rocksdb::ColumnFamilyHandle* handle : families_) {
    db_->DestroyColumnFamilyHandle(handle).PermitUncheckedError();
  }
  db_->Close().PermitUncheckedError();  // everything acknowledged is synced already
}

absl::StatusOr<std::unique_ptr<RocksFolder>> OpenRocksReadOnly(const fs::path& folder,
                                                               rocksdb::Env* env) {
  const rocksdb::DBOptions options = DatabaseOptions(env, false);
  if (!fs::exists(folder / "CURRENT")) {
    return Error(absl::StatusCode::kNotFound, "DATA_FOLDER_MISSING", "there is no store here",
                 {{"folder", folder.string()}});
  }
  Families families;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status =
      rocksdb::DB::OpenForReadOnly(options, folder, AllFamilies(), &families, &db);
  if (!status.ok()) return OpenError(status, options, folder);
  auto open = std::make_unique<RocksFolder>(std::unique_ptr<rocksdb::DB>(db), std::move(families));
  LETHE_ASSIGN_OR_RETURN(std::string written,
                         RocksReader(open->db(), open->families(), false).Meta(format::kFormatKey));
  LETHE_RETURN_IF_ERROR(CheckFormat(written));
  return open;
}

absl::StatusOr<std::unique_ptr<Driver>> OpenRocksDriver(const RocksOptions& o) {
  const rocksdb::DBOptions options = DatabaseOptions(o.env, o.create_if_missing);
  const bool exists = fs::exists(o.folder / "CURRENT");
  if (!exists && !o.create_if_missing) {
    return Error(absl::StatusCode::kNotFound, "DATA_FOLDER_MISSING", "there is no store here",
                 {{"folder", o.folder.string()}});
  }
  std::error_code ec;
  fs::create_directories(o.folder, ec);  // Open says what is wrong if this did not work
  Families families;
  rocksdb::DB* db = nullptr;
  const rocksdb::Status status =
      rocksdb::DB::Open(options, o.folder, AllFamilies(), &families, &db);
  if (!status.ok()) return OpenError(status, options, o.folder);
  auto driver = std::make_unique<RocksDriver>(
      std::make_unique<RocksFolder>(std::unique_ptr<rocksdb::DB>(db), families), o.sync_for_test);
  const RocksReader reader(db, families, false);
  LETHE_ASSIGN_OR_RETURN(std::string written, reader.Meta(format::kFormatKey));
  LETHE_ASSIGN_OR_RETURN(CountersRecord counters, reader.Counters());
  if (written.empty() &&
      counters.audit_size() == 0) {  // new, or a crash fell into its first moment
    LETHE_RETURN_IF_ERROR(
        driver->SetMeta(format::kFormatKey, std::to_string(format::kVersion) + " " + kWriter));
  } else {
    LETHE_RETURN_IF_ERROR(CheckFormat(written));
  }
  return driver;
}

absl::StatusOr<std::unique_ptr<TicketStore>> OpenRocksStore(const RocksOptions& rocks,
                                                            const StoreOptions& options) {
  LETHE_ASSIGN_OR_RETURN(std::unique_ptr<Driver> driver, OpenRocksDriver(rocks));
  return MakeStore(std::move(driver), options);
}

}  // namespace lethe::storage
