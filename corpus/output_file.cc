#include "corpus/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/random.h"
#include "base/status.h"

namespace lethe {
namespace {
namespace fs = std::filesystem;

constexpr size_t kOutputBuffer = 1 << 20;
constexpr char kSpillPrefix[] = ".spill-";

absl::Status WriteAll(int fd, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return SystemError("cannot write", path, errno);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::StatusOr<Descriptor> CreateNew(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return SystemError("cannot create", path, errno);
  return Descriptor(fd);
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void Descriptor::Close() {
  if (fd_ >= 0) close(fd_);
  fd_ = -1;
}

// --- OutputFile --------------------------------------------------------------------------------

OutputFile::OutputFile(fs::path path, Descriptor fd)
    : path_(std::move(path)), fd_(std::move(fd)), sha256_(std::make_unique<Sha256>()) {}

OutputFile::OutputFile(OutputFile&& other) noexcept
    : path_(std::move(other.path_)),
      fd_(std::move(other.fd_)),
      sha256_(std::move(other.sha256_)),
      buffer_(std::move(other.buffer_)),
      size_(other.size_),
      kept_(std::exchange(other.kept_, true)) {}

OutputFile::~OutputFile() {
  if (!kept_) unlink(path_.c_str());
}

absl::StatusOr<OutputFile> OutputFile::Create(const fs::path& path) {
  LETHE_ASSIGN_OR_RETURN(Descriptor fd, CreateNew(path));
  return OutputFile(path, std::move(fd));
}

absl::Status OutputFile::Append(std::string_view bytes) {
  buffer_.append(bytes);
  size_ += bytes.size();
  return buffer_.size() < kOutputBuffer ? absl::OkStatus() : Flush();
}

absl::Status OutputFile::Flush() {
  sha256_->Update(buffer_);
  LETHE_RETURN_IF_ERROR(WriteAll(fd_.get(), buffer_, path_));
  buffer_.clear();
  return absl::OkStatus();
}

absl::StatusOr<std::string> OutputFile::Finish() {
  LETHE_RETURN_IF_ERROR(Flush());
  if (fsync(fd_.get()) != 0) return SystemError("cannot sync", path_, errno);
  fd_.Close();
  kept_ = true;
  return sha256_->Hex();
}

// --- SpillFile ---------------------------------------------------------------------------------

absl::StatusOr<SpillFile> SpillFile::Create(const fs::path& folder, size_t buffer_bytes) {
  const fs::path path =
      folder / absl::StrCat(kSpillPrefix, absl::BytesToHexString(SecureRandom()->Bytes(8)));
  LETHE_ASSIGN_OR_RETURN(Descriptor fd, CreateNew(path));
  if (unlink(path.c_str()) != 0) return SystemError("cannot unlink", path, errno);
  return SpillFile(folder, std::move(fd), buffer_bytes);
}

absl::Status SpillFile::Append(std::string_view bytes) {
  size_ += bytes.size();
  if (buffer_.size() + bytes.size() > buffer_bytes_) LETHE_RETURN_IF_ERROR(Flush());
  if (bytes.size() > buffer_bytes_) return WriteAll(fd_.get(), bytes, folder_ / "(spill)");
  buffer_.append(bytes);
  return absl::OkStatus();
}

absl::Status SpillFile::Flush() {
  LETHE_RETURN_IF_ERROR(WriteAll(fd_.get(), buffer_, folder_ / "(spill)"));
  buffer_.clear();
  return absl::OkStatus();
}

absl::Status SpillFile::ReadAt(uint64_t offset, size_t size, std::string* out) const {
  out->resize(size);
  for (size_t done = 0; done < size;) {
    const ssize_t got =
        pread(fd_.get(), out->data() + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return SystemError("cannot read", folder_ / "(spill)", got < 0 ? errno : EIO);
    done += static_cast<size_t>(got);
  }
  return absl::OkStatus();
}

bool IsSpillName(std::string_view name) { return name.starts_with(kSpillPrefix); }

}  // namespace lethe
