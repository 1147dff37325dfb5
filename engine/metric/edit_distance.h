// Levenshtein distance of two token lists: the fewest insertions, deletions and replacements that
// make one the other.
//
// Threads    a pure function; any. Cost: |a| x |b|.
#ifndef LETHE_ENGINE_METRIC_EDIT_DISTANCE_H_
#define LETHE_ENGINE_METRIC_EDIT_DISTANCE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

namespace lethe {

inline int64_t EditDistance(std::span<const int32_t> a, std::span<const int32_t> b) {
  // row[j]: the distance of what has been read of `a` to b[:j].
  std::vector<int64_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), int64_t{0});
  for (size_t i = 0; i < a.size(); ++i) {
    int64_t diagonal = row[0]++;
    for (size_t j = 0; j < b.size(); ++j) {
      const int64_t replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j + 1] + 1, row[j] + 1});
    }
  }
  return row.back();
}

}  // namespace lethe

#endif  // LETHE_ENGINE_METRIC_EDIT_DISTANCE_H_
