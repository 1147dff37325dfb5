// RocksDriver: a Driver on RocksDB, and the read-only opening that fsck uses.
#ifndef LETHE_STORAGE_ROCKSDB_ROCKS_DRIVER_H_
#define LETHE_STORAGE_ROCKSDB_ROCKS_DRIVER_H_

#include <memory>

#include "absl/status/statusor.h"
#include "storage/driver.h"
#include "storage/rocksdb/rocks_reader.h"
#include "storage/ticket_store.h"

namespace lethe::storage {

// Errors as OpenRocksStore.
absl::StatusOr<std::unique_ptr<Driver>> OpenRocksDriver(const RocksOptions& options);

// An open database with its handles; closes it.
class RocksFolder {
 public:
  RocksFolder(std::unique_ptr<rocksdb::DB> db, Families families);
  ~RocksFolder();
  RocksFolder(const RocksFolder&) = delete;
  RocksFolder& operator=(const RocksFolder&) = delete;
  rocksdb::DB* db() const { return db_.get(); }
  const Families& families() const { return families_; }

 private:
  std::unique_ptr<rocksdb::DB> db_;
  Families families_;
};

// Takes no lock and writes nothing.
absl::StatusOr<std::unique_ptr<RocksFolder>> OpenRocksReadOnly(const std::filesystem::path& folder,
                                                               rocksdb::Env* env);

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_ROCKSDB_ROCKS_DRIVER_H_
