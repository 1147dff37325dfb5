#include "storage/audit_reader.h"

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "storage/rocksdb/rocks_driver.h"
#include "storage/rocksdb/rocks_reader.h"

namespace lethe::storage {
namespace {

constexpr int32_t kLeavesAtOnce = 1000;

}  // namespace

absl::Status ForEachAuditLeaf(
    const std::filesystem::path& store,
    const std::function<absl::Status(LogIndex index, const AuditLeaf& leaf)>& visit) {
  LETHE_ASSIGN_OR_RETURN(std::unique_ptr<RocksFolder> folder, OpenRocksReadOnly(store, nullptr));
  const RocksReader reader(folder->db(), folder->families(), /*moment=*/false);
  for (LogIndex index;;) {
    LETHE_ASSIGN_OR_RETURN(const std::vector<std::string> leaves,
                           reader.AuditLeaves(index, kLeavesAtOnce));
    if (leaves.empty()) return absl::OkStatus();
    for (const std::string& bytes : leaves) {
      AuditLeaf leaf;
      if (!leaf.ParseFromString(bytes)) {
        return Error(absl::StatusCode::kDataLoss, "LEAF_CORRUPT",
                     "leaf " + std::to_string(index.value) + " cannot be read");
      }
      LETHE_RETURN_IF_ERROR(visit(index, leaf));
      index = index.Next();
    }
  }
}

}  // namespace lethe::storage
