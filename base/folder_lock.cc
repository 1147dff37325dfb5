#include "base/folder_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "base/file.h"
#include "base/status.h"

namespace lethe {

absl::StatusOr<FolderLock> FolderLock::Take(const std::filesystem::path& folder,
                                            std::string_view reason) {
  const std::filesystem::path file = folder / kLockName;
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return SystemError("cannot create", file, errno);
  FolderLock lock(fd);
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) return SystemError("cannot lock", file, errno);
  return Error(absl::StatusCode::kAborted, reason,
               "another process works in this folder; try again when it is done",
               {{"folder", folder.string()}});
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace lethe
