#include "corpus/record_sorter.h"

#include <algorithm>
#include <cstring>
#include <queue>
#include <utility>

#include "base/status.h"
#include "corpus/slice_format.h"

namespace lethe {

template <size_t kBytes>
RecordSorter<kBytes>::RecordSorter(std::filesystem::path folder, size_t budget_bytes)
    : folder_(std::move(folder)), max_waiting_(std::max<size_t>(budget_bytes / kBytes, 1)) {}

template <size_t kBytes>
absl::Status RecordSorter<kBytes>::Add(std::string_view record) {
  if (waiting_.size() == max_waiting_) LETHE_RETURN_IF_ERROR(Spill());
  Record& added = waiting_.emplace_back();
  std::memcpy(added.data(), record.data(), kBytes);
  ++records_;
  return absl::OkStatus();
}

// What comes from a sorted table is in order already.
template <size_t kBytes>
void RecordSorter<kBytes>::SortWaiting() {
  if (!std::is_sorted(waiting_.begin(), waiting_.end())) {
    std::sort(waiting_.begin(), waiting_.end());
  }
}

template <size_t kBytes>
absl::Status RecordSorter<kBytes>::Spill() {
  if (!spill_.has_value()) {
    LETHE_ASSIGN_OR_RETURN(SpillFile spill, SpillFile::Create(folder_));
    spill_.emplace(std::move(spill));
  }
  SortWaiting();
  const uint64_t begin = spill_->size();
  LETHE_RETURN_IF_ERROR(
      spill_->Append({reinterpret_cast<const char*>(waiting_.data()), waiting_.size() * kBytes}));
  runs_.push_back({begin, spill_->size(), {}, 0});
  waiting_.clear();
  return absl::OkStatus();
}

template <size_t kBytes>
absl::StatusOr<std::string_view> RecordSorter<kBytes>::Next(Run* run) const {
  if (run->position == run->block.size()) {
    constexpr uint64_t kBlock = (64 << 10) / kBytes * kBytes;
    const uint64_t size = std::min(kBlock, run->end - run->at);
    LETHE_RETURN_IF_ERROR(spill_->ReadAt(run->at, size, &run->block));
    run->at += size;
    run->position = 0;
    if (size == 0) return std::string_view();
  }
  const auto record = std::string_view(run->block).substr(run->position, kBytes);
  run->position += kBytes;
  return record;
}

template <size_t kBytes>
absl::Status RecordSorter<kBytes>::Merge(const Sink& sink) {
  using Head = std::pair<std::string_view, size_t>;  // a run's next record, and the run
  std::priority_queue<Head, std::vector<Head>, std::greater<>> heads;
  for (size_t i = 0; i < runs_.size(); ++i) {
    LETHE_ASSIGN_OR_RETURN(const std::string_view record, Next(&runs_[i]));
    if (!record.empty()) heads.emplace(record, i);
  }
  while (!heads.empty()) {
    const auto [record, run] = heads.top();
    heads.pop();
    LETHE_RETURN_IF_ERROR(sink(record));
    LETHE_ASSIGN_OR_RETURN(const std::string_view next, Next(&runs_[run]));
    if (!next.empty()) heads.emplace(next, run);
  }
  return absl::OkStatus();
}

template <size_t kBytes>
absl::Status RecordSorter<kBytes>::Drain(const Sink& sink) {
  if (runs_.empty()) {
    SortWaiting();
    for (const Record& record : waiting_) {
      LETHE_RETURN_IF_ERROR(sink({reinterpret_cast<const char*>(record.data()), kBytes}));
    }
    return absl::OkStatus();
  }
  LETHE_RETURN_IF_ERROR(Spill());
  LETHE_RETURN_IF_ERROR(spill_->Flush());
  waiting_ = {};
  return Merge(sink);
}

template class RecordSorter<kPlaceBytes>;
template class RecordSorter<kKeyEntryBytes>;
template class RecordSorter<kGramEntryBytes>;

}  // namespace lethe
