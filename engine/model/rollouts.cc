#include "engine/model/rollouts.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>

#include "engine/model/first_choice.h"

namespace lethe {
namespace {

// One batch, `members` of the starts.
void RunBatch(const LanguageModel& model, ModelCache& cache, std::span<const RolloutStart> starts,
              std::span<const size_t> members, const RolloutText& text,
              const RolloutListener& heard) {
  std::vector<CacheRow> rows;
  std::vector<int64_t> live, left;
  std::vector<int32_t> next;
  for (const size_t m : members) {
    live.push_back(static_cast<int64_t>(rows.size()));
    left.push_back(starts[m].row.room);
    next.push_back(starts[m].first);
    rows.push_back(starts[m].row);
  }
  cache.StartRows(rows);
  std::vector<int32_t> tokens;
  while (!live.empty()) {
    tokens.clear();
    for (const int64_t row : live) tokens.push_back(next[row]);
    const FirstChoices choices = ChooseFirst(model, cache.Step(live, tokens), [&](int64_t n) {
      return text(members[live[static_cast<size_t>(n)]]);
    });
    size_t kept = 0;
    for (size_t n = 0; n < live.size(); ++n) {
      const int64_t row = live[n];
      next[row] = choices.tokens[n];
      const bool more = heard(members[row], next[row]);
      if (--left[row] > 0 && more) live[kept++] = row;
    }
    live.resize(kept);
    cache.Keep(live);
  }
}

}  // namespace

void RollOut(const LanguageModel& model, ModelCache& cache, std::span<const RolloutStart> starts,
             int64_t cache_bytes, const RolloutText& text, const RolloutListener& heard) {
  at::NoGradGuard no_grad;
  std::vector<size_t> order;
  for (size_t i = 0; i < starts.size(); ++i) {
    if (starts[i].row.room > 0) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return starts[a].row.room > starts[b].row.room; });
  const int64_t at_a_time = cache.RowsAtATime(cache_bytes);
  for (size_t begin = 0; begin < order.size();) {
    int64_t bytes = 0;
    size_t end = begin;
    while (end < order.size()) {
      bytes += cache.RowBytes(starts[order[end]].row.room);
      if (end > begin && bytes > at_a_time) break;
      ++end;
    }
    RunBatch(model, cache, starts, std::span(order).subspan(begin, end - begin), text, heard);
    begin = end;
  }
}

}  // namespace lethe
