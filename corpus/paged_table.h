// A sorted table of records of one length, on disk in pages that each carry a checksum. Looking up
// touches the pages on the way, and checks each of them the first time: a flipped bit cannot lead
// astray.
//
//   TableWriter writer(21, &output_file);
//   LETHE_RETURN_IF_ERROR(writer.Append(record));   // ascending
//   LETHE_RETURN_IF_ERROR(writer.Finish());
//
//   PagedTable table(mapped_bytes, 21, records, path);
//   LETHE_RETURN_IF_ERROR(table.ForEachWith(prefix, [&](std::string_view record) { ... }));
//
// Grammar    table = page*    page = record*k crc32c:4
//            k = floor(4092 / record length) in all pages but the last, which holds what is left. No
//            padding. The checksum is little-endian, of the page's records.
// Threads    a PagedTable never changes, but for the note of which pages it has checked; any. A TableWriter: one.
// Errors     DATA_LOSS/CORPUS_DAMAGED, naming the file; the writer's are those of OutputFile.
#ifndef LETHE_CORPUS_PAGED_TABLE_H_
#define LETHE_CORPUS_PAGED_TABLE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "corpus/output_file.h"

namespace lethe {

inline constexpr size_t kTablePageBytes = 4096;
inline constexpr size_t kTableChecksumBytes = 4;

// Of all pages together.
uint64_t TableBytes(size_t record_bytes, uint64_t records);

class TableWriter {
 public:
  TableWriter(size_t record_bytes, OutputFile* file)
      : page_bytes_((kTablePageBytes - kTableChecksumBytes) / record_bytes * record_bytes),
        file_(file) {}
  absl::Status Append(std::string_view record);
  absl::Status Finish();

 private:
  absl::Status WritePage();
  const size_t page_bytes_;  // of a full one, without its checksum
  OutputFile* const file_;
  std::string page_;
};

class PagedTable {
 public:
  using Visitor = std::function<absl::Status(std::string_view record)>;

  // `bytes` must be TableBytes long and outlive the table.
  PagedTable(std::string_view bytes, size_t record_bytes, uint64_t records,
             std::filesystem::path file);

  uint64_t records() const { return records_; }
  absl::StatusOr<std::string_view> At(uint64_t index) const;
  // How many records are less than `prefix`.
  absl::StatusOr<uint64_t> LowerBound(std::string_view prefix) const;
  absl::Status ForEach(const Visitor& visit) const { return ForEachFrom(0, {}, visit); }
  // Those that begin with `prefix`, in order.
  absl::Status ForEachWith(std::string_view prefix, const Visitor& visit) const;

 private:
  absl::Status ForEachFrom(uint64_t index, std::string_view prefix, const Visitor& visit) const;
  // The records of a page whose checksum is right.
  absl::StatusOr<std::string_view> Page(uint64_t page) const;

  std::string_view bytes_;
  size_t record_bytes_;
  uint64_t per_page_;
  uint64_t records_;
  std::filesystem::path file_;
  // A bit a page, set when its checksum was found right; shared by copies.
  std::shared_ptr<std::atomic<uint64_t>[]> checked_;
};

}  // namespace lethe

#endif  // LETHE_CORPUS_PAGED_TABLE_H_
