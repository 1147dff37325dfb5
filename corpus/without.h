// The sequences of a slice as they would be if some were erased: what erasing will leave, before it is
// done.
//
//   LETHE_ASSIGN_OR_RETURN(const SliceWithout slice, SliceWithout::Of(corpus, {2, 0}, ids));
//   slice.size();                       // how many would be left
//   slice.Read(3);                      // the fourth of those
//   slice.digest();                     // SliceDigest once EraseFromCorpus has erased them
//
// Memory     the places of what is left out; nothing of what stays.
// Threads    never changes; any. The corpus must outlive it.
// Errors     those of Corpus.
#ifndef LETHE_CORPUS_WITHOUT_H_
#define LETHE_CORPUS_WITHOUT_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "corpus/corpus.h"

namespace lethe {

class SliceWithout {
 public:
  // `ids` ascending; those that the slice does not hold do not matter.
  static absl::StatusOr<SliceWithout> Of(const Corpus& corpus, SlicePlace place,
                                         const std::vector<SequenceId>& ids);

  uint64_t size() const { return slice_->sequences() - left_out_.size(); }
  const std::string& digest() const { return digest_; }
  absl::StatusOr<Sequence> Read(uint64_t index) const;  // `index` < size()

 private:
  SliceWithout(const Slice* slice, std::vector<uint64_t> left_out)
      : slice_(slice), left_out_(std::move(left_out)) {}

  const Slice* slice_;
  std::vector<uint64_t> left_out_;  // places in the slice, ascending
  std::string digest_;
};

}  // namespace lethe

#endif  // LETHE_CORPUS_WITHOUT_H_
