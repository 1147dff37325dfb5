// Sorts more records than memory holds: sorted runs go to a nameless file, and are merged.
//
//   RecordSorter<21> sorter(folder);
//   LETHE_RETURN_IF_ERROR(sorter.Add(record));            // 21 bytes, many times
//   LETHE_RETURN_IF_ERROR(sorter.Drain([&](std::string_view record) { return Write(record); }));
//
// Order      that of memcmp. Equal records come out as often as they went in.
// Memory     `budget_bytes`, and 64 KiB a run while draining.
// Threads    one.
// Errors     those of base/file.h, and those of the callback.
#ifndef LETHE_CORPUS_RECORD_SORTER_H_
#define LETHE_CORPUS_RECORD_SORTER_H_

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "corpus/output_file.h"

namespace lethe {

template <size_t kBytes>
class RecordSorter {
 public:
  using Sink = std::function<absl::Status(std::string_view record)>;

  explicit RecordSorter(std::filesystem::path folder, size_t budget_bytes = size_t{16} << 20);

  absl::Status Add(std::string_view record);
  uint64_t records() const { return records_; }
  // All records in order; once.
  absl::Status Drain(const Sink& sink);

 private:
  using Record = std::array<unsigned char, kBytes>;
  struct Run {
    uint64_t at, end;     // in the spill: what is not read yet
    std::string block;    // what is read
    size_t position = 0;  // in the block
  };

  void SortWaiting();
  absl::Status Spill();
  absl::Status Merge(const Sink& sink);
  // The next record of a run; empty at its end.
  absl::StatusOr<std::string_view> Next(Run* run) const;

  const std::filesystem::path folder_;
  const size_t max_waiting_;
  std::vector<Record> waiting_;
  std::optional<SpillFile> spill_;
  std::vector<Run> runs_;
  uint64_t records_ = 0;
};

}  // namespace lethe

#endif  // LETHE_CORPUS_RECORD_SORTER_H_
