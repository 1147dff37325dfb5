// Files that a corpus writes: once, from the beginning to the end.
//
//   LETHE_ASSIGN_OR_RETURN(OutputFile file, OutputFile::Create(folder / "s000-r001-g7.slice"));
//   LETHE_RETURN_IF_ERROR(file.Append(bytes));
//   LETHE_ASSIGN_OR_RETURN(const std::string sha256, file.Finish());   // synced
//
//   LETHE_ASSIGN_OR_RETURN(SpillFile spill, SpillFile::Create(folder));
//   LETHE_RETURN_IF_ERROR(spill.Append(bytes));
//   LETHE_RETURN_IF_ERROR(spill.Flush());
//   LETHE_RETURN_IF_ERROR(spill.ReadAt(offset, size, &bytes));
//
// OutputFile  unlinks what it has written unless Finish was OK. Only the owner may read it.
// SpillFile   has no name from the moment it is there, so that nothing of it is left behind, however
//             the process ends. (Killed between making and unlinking it leaves an empty file of a
//             name that IsSpillName knows.)
// Threads     one a file.
// Errors      those of base/file.h.
#ifndef LETHE_CORPUS_OUTPUT_FILE_H_
#define LETHE_CORPUS_OUTPUT_FILE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "base/digest.h"

namespace lethe {

// A descriptor that is closed with its owner.
class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() { Close(); }
  Descriptor(Descriptor&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Descriptor& operator=(Descriptor&& other) noexcept;
  int get() const { return fd_; }
  void Close();

 private:
  int fd_;
};

class OutputFile {
 public:
  static absl::StatusOr<OutputFile> Create(const std::filesystem::path& path);
  ~OutputFile();
  OutputFile(OutputFile&& other) noexcept;
  OutputFile& operator=(OutputFile&&) = delete;

  absl::Status Append(std::string_view bytes);
  uint64_t size() const { return size_; }
  // Syncs and closes; gives the SHA-256 of all bytes.
  absl::StatusOr<std::string> Finish();

 private:
  OutputFile(std::filesystem::path path, Descriptor fd);
  absl::Status Flush();

  std::filesystem::path path_;
  Descriptor fd_;
  std::unique_ptr<Sha256> sha256_;
  std::string buffer_;
  uint64_t size_ = 0;
  bool kept_ = false;
};

class SpillFile {
 public:
  // On the disk of `folder`. Appended bytes wait in a buffer of so many bytes.
  static absl::StatusOr<SpillFile> Create(const std::filesystem::path& folder,
                                          size_t buffer_bytes = 64 << 10);
  absl::Status Append(std::string_view bytes);
  absl::Status Flush();
  uint64_t size() const { return size_; }  // waiting bytes too
  // `size` flushed bytes into `out`.
  absl::Status ReadAt(uint64_t offset, size_t size, std::string* out) const;

 private:
  SpillFile(std::filesystem::path folder, Descriptor fd, size_t buffer_bytes)
      : folder_(std::move(folder)), fd_(std::move(fd)), buffer_bytes_(buffer_bytes) {}

  std::filesystem::path folder_;  // for messages
  Descriptor fd_;
  size_t buffer_bytes_;
  std::string buffer_;
  uint64_t size_ = 0;
};

bool IsSpillName(std::string_view name);

}  // namespace lethe

#endif  // LETHE_CORPUS_OUTPUT_FILE_H_
