#include "corpus/paged_table.h"

#include <algorithm>
#include <utility>

#include "corpus/byte_order.h"
#include "corpus/checksum.h"
#include "corpus/corpus_status.h"

namespace lethe {
namespace {

size_t RecordsPerPage(size_t record_bytes) {
  return (kTablePageBytes - kTableChecksumBytes) / record_bytes;
}

}  // namespace

uint64_t TableBytes(size_t record_bytes, uint64_t records) {
  const uint64_t per_page = RecordsPerPage(record_bytes);
  return records * record_bytes + (records + per_page - 1) / per_page * kTableChecksumBytes;
}

absl::Status TableWriter::Append(std::string_view record) {
  page_.append(record);
  return page_.size() < page_bytes_ ? absl::OkStatus() : WritePage();
}

absl::Status TableWriter::WritePage() {
  PutLittle(&page_, Crc32c(page_), kTableChecksumBytes);
  LETHE_RETURN_IF_ERROR(file_->Append(page_));
  page_.clear();
  return absl::OkStatus();
}

absl::Status TableWriter::Finish() { return page_.empty() ? absl::OkStatus() : WritePage(); }

PagedTable::PagedTable(std::string_view bytes, size_t record_bytes, uint64_t records,
                       std::filesystem::path file)
    : bytes_(bytes),
      record_bytes_(record_bytes),
      per_page_(RecordsPerPage(record_bytes)),
      records_(records),
      file_(std::move(file)),
      checked_(new std::atomic<uint64_t>[records / per_page_ / 64 + 1]()) {}

absl::StatusOr<std::string_view> PagedTable::Page(uint64_t page) const {
  const uint64_t begin = page * (per_page_ * record_bytes_ + kTableChecksumBytes);
  const uint64_t size = std::min(per_page_, records_ - page * per_page_) * record_bytes_;
  const std::string_view records = bytes_.substr(begin, size);
  std::atomic<uint64_t>& checked = checked_[static_cast<ptrdiff_t>(page / 64)];
  const uint64_t bit = uint64_t{1} << page % 64;
  if ((checked.load(std::memory_order_relaxed) & bit) != 0) return records;
  if (Crc32c(records) != LoadLittle(bytes_.data() + begin + size, kTableChecksumBytes)) {
    return Damaged(file_, "the checksum of a page of an index is wrong");
  }
  checked.fetch_or(bit, std::memory_order_relaxed);
  return records;
}

absl::StatusOr<std::string_view> PagedTable::At(uint64_t index) const {
  LETHE_ASSIGN_OR_RETURN(const std::string_view page, Page(index / per_page_));
  return page.substr(index % per_page_ * record_bytes_, record_bytes_);
}

absl::StatusOr<uint64_t> PagedTable::LowerBound(std::string_view prefix) const {
  const auto record_of = [this](std::string_view page, uint64_t i) {
    return page.substr(i * record_bytes_, record_bytes_);
  };
  // The last page whose first record is less holds the place, or ends before it.
  uint64_t least = 0, most = (records_ + per_page_ - 1) / per_page_;
  while (least < most) {
    const uint64_t middle = least + (most - least) / 2;
    LETHE_ASSIGN_OR_RETURN(const std::string_view page, Page(middle));
    if (record_of(page, 0) < prefix) {
      least = middle + 1;
    } else {
      most = middle;
    }
  }
  if (least == 0) return 0;
  LETHE_ASSIGN_OR_RETURN(const std::string_view page, Page(least - 1));
  uint64_t first = 0, last = page.size() / record_bytes_;
  while (first < last) {
    const uint64_t middle = first + (last - first) / 2;
    if (record_of(page, middle) < prefix) {
      first = middle + 1;
    } else {
      last = middle;
    }
  }
  return (least - 1) * per_page_ + first;
}

absl::Status PagedTable::ForEachFrom(uint64_t index, std::string_view prefix,
                                     const Visitor& visit) const {
  while (index < records_) {
    LETHE_ASSIGN_OR_RETURN(const std::string_view page, Page(index / per_page_));
    for (size_t at = index % per_page_ * record_bytes_; at < page.size(); at += record_bytes_) {
      const std::string_view record = page.substr(at, record_bytes_);
      if (!record.starts_with(prefix)) return absl::OkStatus();
      LETHE_RETURN_IF_ERROR(visit(record));
      ++index;
    }
  }
  return absl::OkStatus();
}

absl::Status PagedTable::ForEachWith(std::string_view prefix, const Visitor& visit) const {
  LETHE_ASSIGN_OR_RETURN(const uint64_t begin, LowerBound(prefix));
  return ForEachFrom(begin, prefix, visit);
}

}  // namespace lethe
