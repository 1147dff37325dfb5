// SHA-256 of bytes, files and folders, as lower-case hex.
//
//   LETHE_ASSIGN_OR_RETURN(std::string digest, FolderDigest("/models/m/checkpoints/c-1"));
//
// A folder's digest is the SHA-256 of one line a regular file, sorted by name: "<sha256>  <relative
// path>\n". `sha256sum` gives the same lines, so a person can check one without us. Files named in
// `except` (and anything whose name begins with a dot) stay out.
//
// Errors     NOT_FOUND or the file system's error with reason FILE_ERROR.
#ifndef LETHE_BASE_DIGEST_H_
#define LETHE_BASE_DIGEST_H_

#include <filesystem>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace lethe {

// Incremental SHA-256.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void Update(std::string_view bytes);
  std::string Hex();  // once; 64 characters

 private:
  void* context_;
};

std::string Sha256Hex(std::string_view bytes);
std::string HmacSha256Hex(std::string_view key, std::string_view bytes);
absl::StatusOr<std::string> FileDigest(const std::filesystem::path& file);
absl::StatusOr<std::string> FolderDigest(const std::filesystem::path& folder,
                                         const std::set<std::string>& except = {"lethe.json"});

}  // namespace lethe

#endif  // LETHE_BASE_DIGEST_H_
