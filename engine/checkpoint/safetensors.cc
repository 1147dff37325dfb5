#include "engine/checkpoint/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "engine/checkpoint/safetensors_header.h"

namespace lethe {
namespace fs = std::filesystem;
namespace {

constexpr uint64_t kLengthBytes = 8;

// A file's bytes, mapped read-only.
class Mapping {
 public:
  Mapping(void* address, size_t size) : address_(address), size_(size) {}
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  ~Mapping() { munmap(address_, size_); }
  std::string_view bytes() const { return {static_cast<const char*>(address_), size_}; }

 private:
  void* const address_;
  const size_t size_;
};

absl::Status Bad(const fs::path& path, std::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, "BAD_CHECKPOINT",
               absl::StrCat(path.string(), ": ", absl::string_view(what.data(), what.size())));
}

absl::StatusOr<std::shared_ptr<const Mapping>> Map(const fs::path& path) {
  // O_NONBLOCK: a pipe that somebody put there must not hold us up before fstat unmasks it.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return SystemError("cannot open", path, errno);
  auto closer = absl::MakeCleanup([fd] { close(fd); });
  struct stat info;
  if (fstat(fd, &info) != 0) return SystemError("cannot read", path, errno);
  if (!S_ISREG(info.st_mode)) return Bad(path, "it is not a regular file");
  const auto size = static_cast<size_t>(info.st_size);
  if (size < kLengthBytes + 2) {
    return Bad(path, absl::StrCat("it has ", size, " bytes, too few for a safetensors file"));
  }
  void* address = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (address == MAP_FAILED) return SystemError("cannot map", path, errno);
  return std::make_shared<const Mapping>(address, size);
}

uint64_t LittleEndian64(std::string_view bytes) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

}  // namespace

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const fs::path& path) {
  LETHE_ASSIGN_OR_RETURN(std::shared_ptr<const Mapping> mapping, Map(path));
  const std::string_view bytes = mapping->bytes();
  const uint64_t length = LittleEndian64(bytes);
  if (length > kHeaderLimitBytes || length > bytes.size() - kLengthBytes) {
    return Bad(path, absl::StrCat("it claims a header of ", length, " bytes and has ",
                                  bytes.size() - kLengthBytes, " behind the length"));
  }
  SafetensorsFile file;
  file.path_ = path;
  file.header_ = bytes.substr(0, kLengthBytes + length);
  file.data_ = bytes.substr(kLengthBytes + length);
  auto header = ParseSafetensorsHeader(file.header_.substr(kLengthBytes), file.data_.size());
  if (!header.ok()) return Annotate(header.status(), path.string());
  file.tensors_ = std::move(header->tensors);
  file.metadata_ = std::move(header->metadata);
  for (size_t i = 0; i < file.tensors_.size(); ++i) file.by_name_[file.tensors_[i].name] = i;
  file.mapping_ = std::move(mapping);
  return file;
}

const TensorInfo* SafetensorsFile::Find(std::string_view name) const {
  const auto found = by_name_.find(std::string(name));
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

absl::StatusOr<SafetensorsWriter> SafetensorsWriter::Create(const fs::path& path,
                                                            std::span<const TensorInfo> tensors,
                                                            const SafetensorsMetadata& metadata) {
  uint64_t data_bytes = 0;
  LETHE_ASSIGN_OR_RETURN(const std::string header,
                         MakeSafetensorsHeader(tensors, metadata, &data_bytes));
  return Start(path, header, data_bytes);
}

absl::StatusOr<SafetensorsWriter> SafetensorsWriter::CreateLike(const fs::path& path,
                                                                const SafetensorsFile& source) {
  return Start(path, source.header(), source.data_bytes());
}

absl::StatusOr<SafetensorsWriter> SafetensorsWriter::Start(const fs::path& path,
                                                           std::string_view header,
                                                           uint64_t data_bytes) {
  static std::atomic<uint64_t> counter{0};
  SafetensorsWriter writer;
  writer.path_ = path;
  writer.temporary_ = path.parent_path() / absl::StrCat(".", path.filename().string(), ".tmp-",
                                                        getpid(), "-", counter++);
  writer.missing_ = data_bytes;
  writer.fd_ = open(writer.temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (writer.fd_ < 0) return SystemError("cannot create", writer.temporary_, errno);
  LETHE_RETURN_IF_ERROR(writer.WriteAll(header));
  return writer;
}

SafetensorsWriter::SafetensorsWriter(SafetensorsWriter&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      fd_(std::exchange(other.fd_, -1)),
      missing_(other.missing_) {}

SafetensorsWriter::~SafetensorsWriter() {
  if (fd_ < 0) return;
  close(fd_);
  unlink(temporary_.c_str());
}

absl::Status SafetensorsWriter::WriteAll(std::string_view bytes) {
  while (!bytes.empty()) {
    // Linux writes at most 2 GiB at a time.
    const ssize_t written = write(fd_, bytes.data(), std::min(bytes.size(), size_t{1} << 30));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return SystemError("cannot write", path_, errno);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Write(std::string_view bytes) {
  if (bytes.size() > missing_) {
    return Error(absl::StatusCode::kFailedPrecondition, "BAD_CHECKPOINT",
                 absl::StrCat(path_.string(), ": more bytes are written than its header says"));
  }
  LETHE_RETURN_IF_ERROR(WriteAll(bytes));
  missing_ -= bytes.size();
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Finish() {
  if (missing_ != 0) {
    return Error(absl::StatusCode::kFailedPrecondition, "BAD_CHECKPOINT",
                 absl::StrCat(path_.string(), ": ", missing_, " bytes were never written"));
  }
  if (fsync(fd_) != 0) return SystemError("cannot sync", path_, errno);
  if (rename(temporary_.c_str(), path_.c_str()) != 0) {
    return SystemError("cannot rename to", path_, errno);
  }
  close(std::exchange(fd_, -1));
  return SyncFolder(path_.parent_path().empty() ? fs::path(".") : path_.parent_path());
}

}  // namespace lethe
