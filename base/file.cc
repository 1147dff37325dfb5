#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <fstream>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/random.h"
#include "base/status.h"

namespace lethe {
namespace fs = std::filesystem;
namespace {

// A name beside `path` that nobody else uses: processes of two containers that share a volume may
// have the same number, and what a killed one left behind must not stand in the next one's way.
fs::path Beside(const fs::path& path) {
  static std::atomic<uint64_t> counter{0};
  return path.parent_path() / absl::StrCat(".", path.filename().string(), ".tmp-",
                                           absl::BytesToHexString(SecureRandom()->Bytes(8)), "-",
                                           counter++);
}

absl::Status FsyncPath(const fs::path& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) return SystemError("cannot open", path, errno);
  auto closer = absl::MakeCleanup([fd] { close(fd); });
  if (fsync(fd) != 0) return SystemError("cannot sync", path, errno);
  return absl::OkStatus();
}

}  // namespace

absl::Status SystemError(std::string_view what, const fs::path& path, int error) {
  const bool full = error == ENOSPC || error == EDQUOT;
  absl::StatusCode code = full              ? absl::StatusCode::kResourceExhausted
                          : error == ENOENT ? absl::StatusCode::kNotFound
                          : error == EEXIST ? absl::StatusCode::kAlreadyExists
                          : error == EACCES ? absl::StatusCode::kPermissionDenied
                                            : absl::StatusCode::kUnavailable;
  return Error(code, full ? "DISK_FULL" : "FILE_ERROR",
               absl::StrCat(absl::string_view(what.data(), what.size()), " ", path.string(), ": ",
                            strerror(error)));
}

absl::StatusOr<std::string> ReadFile(const fs::path& path, size_t limit_bytes) {
  std::error_code ec;
  const auto size = fs::file_size(path, ec);
  if (ec) return SystemError("cannot read", path, ec.value());
  if (size > limit_bytes) {
    return Error(
        absl::StatusCode::kInvalidArgument, "FILE_TOO_LARGE",
        absl::StrCat(path.string(), " has ", size, " bytes; at most ", limit_bytes, " are read"));
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return SystemError("cannot read", path, errno ? errno : EIO);
  std::string content(size, '\0');
  in.read(content.data(), static_cast<std::streamsize>(size));
  content.resize(static_cast<size_t>(in.gcount()));
  return content;
}

absl::Status WriteFileAtomically(const fs::path& path, std::string_view content, int mode) {
  const fs::path temporary = Beside(path);
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
  if (fd < 0) return SystemError("cannot create", temporary, errno);
  auto remover = absl::MakeCleanup([&] { unlink(temporary.c_str()); });
  {
    auto closer = absl::MakeCleanup([fd] { close(fd); });
    for (std::string_view rest = content; !rest.empty();) {
      const ssize_t written = write(fd, rest.data(), rest.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return SystemError("cannot write", temporary, errno);
      rest.remove_prefix(static_cast<size_t>(written));
    }
    if (fsync(fd) != 0) return SystemError("cannot sync", temporary, errno);
  }
  if (rename(temporary.c_str(), path.c_str()) != 0)
    return SystemError("cannot rename to", path, errno);
  std::move(remover).Cancel();
  return SyncFolder(path.parent_path().empty() ? fs::path(".") : path.parent_path());
}

absl::Status SyncFile(const fs::path& path) { return FsyncPath(path, O_RDONLY); }

absl::Status SyncFolder(const fs::path& folder) {
  return FsyncPath(folder, O_RDONLY | O_DIRECTORY);
}

absl::Status PublishFolder(const fs::path& from, const fs::path& to) {
  std::error_code ec;
  if (fs::exists(to, ec)) return SystemError("cannot publish", to, EEXIST);
  for (auto it = fs::recursive_directory_iterator(from, ec);
       !ec && it != fs::recursive_directory_iterator(); it.increment(ec)) {
    if (it->is_regular_file(ec)) LETHE_RETURN_IF_ERROR(SyncFile(it->path()));
    if (it->is_directory(ec)) LETHE_RETURN_IF_ERROR(SyncFolder(it->path()));
  }
  if (ec) return SystemError("cannot list", from, ec.value());
  LETHE_RETURN_IF_ERROR(SyncFolder(from));
  if (rename(from.c_str(), to.c_str()) != 0) return SystemError("cannot publish", to, errno);
  return SyncFolder(to.parent_path());
}

absl::Status SwitchSymlink(const fs::path& link, const fs::path& target) {
  const fs::path temporary = Beside(link);
  if (symlink(target.c_str(), temporary.c_str()) != 0)
    return SystemError("cannot create", temporary, errno);
  if (rename(temporary.c_str(), link.c_str()) != 0) {
    const int error = errno;
    unlink(temporary.c_str());
    return SystemError("cannot switch", link, error);
  }
  return SyncFolder(link.parent_path());
}

absl::Status CopyFolder(const fs::path& from, const fs::path& to) {
  std::error_code ec;
  fs::create_directories(to, ec);
  if (ec) return SystemError("cannot create", to, ec.value());
  for (auto it = fs::directory_iterator(from, ec); !ec && it != fs::directory_iterator();
       it.increment(ec)) {
    if (!it->is_regular_file(ec)) continue;
    const fs::path copy = to / it->path().filename();
    fs::copy_file(it->path(), copy, fs::copy_options::overwrite_existing, ec);
    if (ec) return SystemError("cannot copy to", copy, ec.value());
    LETHE_RETURN_IF_ERROR(SyncFile(copy));
  }
  if (ec) return SystemError("cannot list", from, ec.value());
  return SyncFolder(to);
}

absl::Status RemoveFolder(const fs::path& folder) {
  std::error_code ec;
  fs::remove_all(folder, ec);
  if (ec) return SystemError("cannot remove", folder, ec.value());
  return absl::OkStatus();
}

}  // namespace lethe
