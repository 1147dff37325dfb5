// A file as bytes of memory, read by the kernel as they are touched.
//
//   LETHE_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
//   const std::string_view bytes = file.bytes();   // good as long as `file` lives
//
// Files of a corpus never change once they have a name that the manifest knows; one that is cut
// short from outside while it is mapped ends the process (SIGBUS), as with any mapping.
// Threads    any may read.
// Errors     those of base/file.h.
#ifndef LETHE_CORPUS_MAPPED_FILE_H_
#define LETHE_CORPUS_MAPPED_FILE_H_

#include <filesystem>
#include <string_view>

#include "absl/status/statusor.h"

namespace lethe {

class MappedFile {
 public:
  static absl::StatusOr<MappedFile> Open(const std::filesystem::path& path);
  ~MappedFile();
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&&) = delete;

  std::string_view bytes() const { return bytes_; }

 private:
  explicit MappedFile(std::string_view bytes) : bytes_(bytes) {}
  std::string_view bytes_;
};

}  // namespace lethe

#endif  // LETHE_CORPUS_MAPPED_FILE_H_
