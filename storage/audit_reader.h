// The audit log of a store at rest, for `lethe admin audit`.
//
//   LETHE_RETURN_IF_ERROR(ForEachAuditLeaf(
//       data / "store", [](LogIndex index, const AuditLeaf& leaf) { ... }));
//
// Takes no lock and writes nothing; beside a running server the last leaves may be missing.
//
// Errors     as Fsck for a folder that cannot be read; DATA_LOSS/LEAF_CORRUPT; the visitor's own
//            error ends the walk.
// Threads    any.
#ifndef LETHE_STORAGE_AUDIT_READER_H_
#define LETHE_STORAGE_AUDIT_READER_H_

#include <filesystem>
#include <functional>

#include "absl/status/status.h"
#include "base/ids.h"
#include "storage/command/commands.h"

namespace lethe::storage {

absl::Status ForEachAuditLeaf(
    const std::filesystem::path& store,
    const std::function<absl::Status(LogIndex index, const AuditLeaf& leaf)>& visit);

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_AUDIT_READER_H_
