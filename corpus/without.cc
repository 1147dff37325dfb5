#include "corpus/without.h"

#include <algorithm>

#include "base/digest.h"
#include "base/status.h"
#include "corpus/sequence_record.h"

namespace lethe {
namespace {

// The place of a sequence in its slice, whose ids ascend; nothing when it is not there.
absl::StatusOr<std::optional<uint64_t>> PlaceOf(const Slice& slice, SequenceId id) {
  uint64_t low = 0, high = slice.sequences();
  while (low < high) {
    const uint64_t middle = low + (high - low) / 2;
    LETHE_ASSIGN_OR_RETURN(const StoredSequence stored, slice.At(middle));
    if (stored.id == id) return std::optional<uint64_t>(middle);
    stored.id < id ? low = middle + 1 : high = middle;
  }
  return std::optional<uint64_t>();
}

}  // namespace

absl::StatusOr<SliceWithout> SliceWithout::Of(const Corpus& corpus, SlicePlace place,
                                              const std::vector<SequenceId>& ids) {
  const Slice& slice = corpus.At(place);
  std::vector<uint64_t> left_out;
  for (const SequenceId id : ids) {
    LETHE_ASSIGN_OR_RETURN(const std::optional<uint64_t> found, PlaceOf(slice, id));
    if (found.has_value()) left_out.push_back(*found);
  }
  std::sort(left_out.begin(), left_out.end());
  left_out.erase(std::unique(left_out.begin(), left_out.end()), left_out.end());
  SliceWithout result(&slice, std::move(left_out));
  if (result.left_out_.empty()) {
    result.digest_ = corpus.SliceDigest(place);
    return result;
  }
  Sha256 content;
  std::string bytes;
  for (uint64_t i = 0; i < result.size(); ++i) {
    LETHE_ASSIGN_OR_RETURN(const Sequence sequence, result.Read(i));
    bytes.clear();
    AppendContent(sequence, &bytes);
    content.Update(bytes);
  }
  result.digest_ = content.Hex();
  return result;
}

absl::StatusOr<Sequence> SliceWithout::Read(uint64_t index) const {
  uint64_t place = index;
  for (const uint64_t left_out : left_out_) {
    if (left_out > place) break;
    ++place;
  }
  LETHE_ASSIGN_OR_RETURN(StoredSequence stored, slice_->At(place));
  return std::move(stored.sequence);
}

}  // namespace lethe
