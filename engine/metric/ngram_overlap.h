// Which n-grams of a generated text occur in a reference text, and where: the torch-free part of
// EL_n.
//
//   std::vector<int64_t> last = LastOccurrences(z, x, 10, 3);
//   last[s - 3];   // the largest p with x[p:p+10] == z[s:s+10], else -1, for s = 3..|z|-10
//
// Threads    functions: any. An OverlapTracker: one at a time; it must not outlive its reference.
#ifndef LETHE_ENGINE_METRIC_NGRAM_OVERLAP_H_
#define LETHE_ENGINE_METRIC_NGRAM_OVERLAP_H_

#include <cstdint>
#include <span>
#include <vector>

namespace lethe {

// For s = first..|text|-n; empty where there is none. An id that is not in `reference` matches
// nothing.
std::vector<int64_t> LastOccurrences(std::span<const int32_t> text,
                                     std::span<const int32_t> reference, int64_t n, int64_t first);

// Follows a text that grows at its end and knows whether it can still gain an n-gram of the
// reference.
class OverlapTracker {
 public:
  OverlapTracker(std::span<const int32_t> reference, int64_t n);
  // Begins with text[0..last].
  void Start(std::span<const int32_t> text, int64_t last);
  void Append(int32_t token);
  // False when no continuation by `left` tokens ends with, or contains, an n-gram of the reference
  // that is not there yet: the longest run that ends now is too short to be completed.
  bool Alive(int64_t left) const { return longest_ + left >= n_; }

 private:
  std::span<const int32_t> reference_;
  int64_t n_;
  std::vector<int32_t> run_;  // of the text's end, ending at each place of the reference; at most n
  int64_t longest_ = 0;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_METRIC_NGRAM_OVERLAP_H_
