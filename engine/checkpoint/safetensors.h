// Safetensors files: a memory-mapped reader that trusts no byte, and a crash-safe writer.
//
//   LETHE_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open("model.safetensors"));
//   for (const TensorInfo& tensor : file.tensors()) Use(tensor.dtype, file.Bytes(tensor));
//
//   LETHE_ASSIGN_OR_RETURN(auto writer, SafetensorsWriter::Create(path, tensors, metadata));
//   for (...) LETHE_RETURN_IF_ERROR(writer.Write(bytes));   // the tensors one after the other
//   LETHE_RETURN_IF_ERROR(writer.Finish());                 // only now the name shows
//
// Format     [8 bytes: header length, little-endian] [header: JSON, padded with spaces] [data]
//            header = {"__metadata__": {text: text}, NAME: {"dtype": D, "shape": [n…],
//            "data_offsets": [begin, end]}, …}, offsets counted from the begin of the data.
// Checked    at Open, before any memory behind the header is touched: the header's length, that it
//            is JSON of just this form, every number's range, the product of every shape, dtype and
//            shape against the offsets, names that come twice, and that the tensors cover the data
//            once: no overlap, no hole, nothing behind the last.
// Errors     INVALID_ARGUMENT: BAD_CHECKPOINT what is wrong with the file, by name;
//            MODEL_UNSUPPORTED a dtype that is not known. The file system's code with FILE_ERROR or
//            DISK_FULL.
// Threads    a SafetensorsFile never changes: any. A writer: one at a time.
// Lifetime   Bytes() live as long as any copy of the SafetensorsFile. The file must not be changed
//            in place meanwhile (published checkpoints never are): to cut a mapped file off is to
//            end the process.
#ifndef LETHE_ENGINE_CHECKPOINT_SAFETENSORS_H_
#define LETHE_ENGINE_CHECKPOINT_SAFETENSORS_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace lethe {

enum class DType {
  kBool,
  kU8,
  kI8,
  kF8E4M3,
  kF8E5M2,
  kI16,
  kU16,
  kF16,
  kBF16,
  kI32,
  kU32,
  kF32,
  kI64,
  kU64,
  kF64,
};

std::string_view DTypeName(DType dtype);  // as in the file: "BF16"
size_t DTypeBytes(DType dtype);           // of one element
std::optional<DType> ParseDType(std::string_view name);

struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;  // empty: a single number
  uint64_t begin = 0;          // of the bytes, counted from the begin of the file's data
  uint64_t bytes = 0;
  int64_t elements() const { return static_cast<int64_t>(bytes / DTypeBytes(dtype)); }
};

using SafetensorsMetadata = std::map<std::string, std::string>;

class SafetensorsFile {
 public:
  static absl::StatusOr<SafetensorsFile> Open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }  // as their bytes lie
  const TensorInfo* Find(std::string_view name) const;                 // null: not there
  const SafetensorsMetadata& metadata() const { return metadata_; }

  // The tensor's elements, row-major, little-endian. They need not be aligned for their type: copy
  // them, do not cast the pointer.
  std::string_view Bytes(const TensorInfo& tensor) const {
    return data_.substr(tensor.begin, tensor.bytes);
  }

  // Everything before the data: to write the same file again byte for byte.
  std::string_view header() const { return header_; }
  uint64_t data_bytes() const { return data_.size(); }

 private:
  SafetensorsFile() = default;
  std::filesystem::path path_;
  std::shared_ptr<const void> mapping_;
  std::string_view header_;
  std::string_view data_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, size_t> by_name_;
  SafetensorsMetadata metadata_;
};

// Writes to a hidden name beside `path`; Finish syncs and renames it. A writer that is destroyed
// unfinished removes what it wrote; a process that is killed leaves only the hidden name.
class SafetensorsWriter {
 public:
  // A new file of these tensors in this order; `begin` and `bytes` of the infos are not read.
  static absl::StatusOr<SafetensorsWriter> Create(const std::filesystem::path& path,
                                                  std::span<const TensorInfo> tensors,
                                                  const SafetensorsMetadata& metadata);
  // A file with the header of another, byte for byte.
  static absl::StatusOr<SafetensorsWriter> CreateLike(const std::filesystem::path& path,
                                                      const SafetensorsFile& source);

  SafetensorsWriter(SafetensorsWriter&& other) noexcept;
  SafetensorsWriter& operator=(SafetensorsWriter&&) = delete;
  ~SafetensorsWriter();

  // The next bytes of the data, in pieces of any length.
  absl::Status Write(std::string_view bytes);

  // FAILED_PRECONDITION/BAD_CHECKPOINT when bytes are missing.
  absl::Status Finish();

 private:
  SafetensorsWriter() = default;
  static absl::StatusOr<SafetensorsWriter> Start(const std::filesystem::path& path,
                                                 std::string_view header, uint64_t data_bytes);
  absl::Status WriteAll(std::string_view bytes);

  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int fd_ = -1;
  uint64_t missing_ = 0;
};

// The bytes of a tensor of this type and shape; nothing where a dimension is negative or the
// product leaves 63 bits.
std::optional<uint64_t> TensorBytes(DType dtype, std::span<const int64_t> shape);

}  // namespace lethe

#endif  // LETHE_ENGINE_CHECKPOINT_SAFETENSORS_H_
