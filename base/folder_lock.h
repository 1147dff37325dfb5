// One process at a time in a folder: a lock on the file `lock` in it, which stays there empty. The
// kernel drops the lock when its holder ends, however it ends.
//
//   LETHE_ASSIGN_OR_RETURN(FolderLock lock, FolderLock::Take(folder, "FOLDER_IN_USE"));
//
// Threads    the lock is of the process's open file, so a second Take in one process is refused too.
// Errors     ABORTED with the caller's reason: somebody holds it, try again when they are done;
//            FILE_ERROR, DISK_FULL.
#ifndef LETHE_BASE_FOLDER_LOCK_H_
#define LETHE_BASE_FOLDER_LOCK_H_

#include <filesystem>
#include <string_view>

#include "absl/status/statusor.h"

namespace lethe {

inline constexpr char kLockName[] = "lock";

class FolderLock {
 public:
  static absl::StatusOr<FolderLock> Take(const std::filesystem::path& folder,
                                         std::string_view reason);
  FolderLock(FolderLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  FolderLock& operator=(FolderLock&&) = delete;
  ~FolderLock();

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace lethe

#endif  // LETHE_BASE_FOLDER_LOCK_H_
