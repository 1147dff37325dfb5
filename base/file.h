// Small crash-safe file operations: a name either shows the whole new content or the old one.
//
//   LETHE_RETURN_IF_ERROR(WriteFileAtomically(folder / "lethe.json", json));
//   LETHE_RETURN_IF_ERROR(SwitchSymlink(model / "current", "checkpoints/c-7"));
//
// Errors     the system's error as a status with reason FILE_ERROR; RESOURCE_EXHAUSTED with
//            DISK_FULL for ENOSPC and EDQUOT.
// Threads    any, on different names.
#ifndef LETHE_BASE_FILE_H_
#define LETHE_BASE_FILE_H_

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace lethe {

// The status of a failed system call: "`what` PATH: the system's words".
absl::Status SystemError(std::string_view what, const std::filesystem::path& path, int error);

// The whole file; refuses one larger than `limit_bytes`.
absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path,
                                     size_t limit_bytes = size_t{1} << 30);

// Writes beside the name, syncs, renames over it, syncs the folder. `mode` as for open(2).
absl::Status WriteFileAtomically(const std::filesystem::path& path, std::string_view content,
                                 int mode = 0644);

absl::Status SyncFile(const std::filesystem::path& path);
absl::Status SyncFolder(const std::filesystem::path& folder);

// Syncs every file below, renames `from` to `to` (which must not exist) and syncs the parent: a
// folder is whole or invisible.
absl::Status PublishFolder(const std::filesystem::path& from, const std::filesystem::path& to);

// Makes `link` point to `target` in one step, whatever it was before.
absl::Status SwitchSymlink(const std::filesystem::path& link, const std::filesystem::path& target);

// Copies the regular files of a folder (symlinks are followed) into a new folder, synced.
absl::Status CopyFolder(const std::filesystem::path& from, const std::filesystem::path& to);

// Removes a folder and what is in it; OK when it is not there.
absl::Status RemoveFolder(const std::filesystem::path& folder);

}  // namespace lethe

#endif  // LETHE_BASE_FILE_H_
