#include "engine/metric/ngram_overlap.h"

#include <algorithm>
#include <unordered_map>

namespace lethe {

std::vector<int64_t> LastOccurrences(std::span<const int32_t> text,
                                     std::span<const int32_t> reference, int64_t n, int64_t first) {
  const auto T = static_cast<int64_t>(text.size()), R = static_cast<int64_t>(reference.size());
  std::vector<int64_t> last(std::max<int64_t>(0, T - n - first + 1), -1);
  // of each id in the reference, ascending
  std::unordered_map<int32_t, std::vector<int64_t>> places;
  for (int64_t p = 0; p < R; ++p) places[reference[p]].push_back(p);
  // common[p]: how far text[s:] and reference[p:] agree; valid where stamp[p] == s. From the end,
  // so that common[p] at s is one more than common[p+1] at s+1.
  std::vector<int64_t> common(R + 1, 0), stamp(R + 1, -1);
  for (int64_t s = T - 1; s >= first; --s) {
    const auto found = places.find(text[s]);
    if (found == places.end()) continue;
    for (const int64_t p : found->second) {  // ascending: place p+1 still holds what it had at s+1
      common[p] = 1 + (stamp[p + 1] == s + 1 ? common[p + 1] : 0);
      stamp[p] = s;
      if (common[p] >= n && s <= T - n) last[s - first] = p;
    }
  }
  return last;
}

OverlapTracker::OverlapTracker(std::span<const int32_t> reference, int64_t n)
    : reference_(reference), n_(n), run_(reference.size(), 0) {}

void OverlapTracker::Start(std::span<const int32_t> text, int64_t last) {
  std::fill(run_.begin(), run_.end(), 0);
  // What lies further back than n tokens cannot matter to the runs that end here.
  for (int64_t t = std::max<int64_t>(0, last - n_ + 1); t <= last; ++t) Append(text[t]);
}

void OverlapTracker::Append(int32_t token) {
  longest_ = 0;
  for (size_t p = run_.size(); p-- > 0;) {
    const int32_t before = p > 0 ? run_[p - 1] : 0;
    run_[p] = reference_[p] == token ? std::min<int32_t>(static_cast<int32_t>(n_), before + 1) : 0;
    longest_ = std::max<int64_t>(longest_, run_[p]);
  }
}

}  // namespace lethe
