// Greedy continuations of prefixes that a cache holds, side by side.
//
//   std::vector<RolloutStart> starts = {{{.prefix = 0, .length = 17, .room = 30}, /*first=*/5}};
//   RollOut(model, cache, starts, cache_bytes,
//           /*text=*/[&](size_t i) { return texts[i]; },
//           /*heard=*/[&](size_t i, int32_t token) { texts[i].push_back(token); return true; });
//
// A start    `row.length` tokens of a prefix have been read; `first` is what stands behind them,
//            the first token that is fed. Each of the row's steps gives one token more.
// Batches    as many rows at a time as fit `cache_bytes`, those with the most to say first, so that
//            a batch stays full to its end. What is said does not depend on it (ties:
//            first_choice.h).
// Threads    one thread at a time; no gradients.
// Errors     LibTorch's exceptions and std::bad_alloc: end at CatchTorch.
#ifndef LETHE_ENGINE_MODEL_ROLLOUTS_H_
#define LETHE_ENGINE_MODEL_ROLLOUTS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/model/language_model.h"
#include "engine/model/model_cache.h"

namespace lethe {

struct RolloutStart {
  CacheRow row;
  int32_t first = 0;
};

// All that stands before a roll-out's next token; asked for where fp32 cannot make the choice.
using RolloutText = std::function<std::vector<int32_t>(size_t rollout)>;
// Hands over a roll-out's next token; false: no more is wanted.
using RolloutListener = std::function<bool(size_t rollout, int32_t token)>;

// A row without room says nothing.
void RollOut(const LanguageModel& model, ModelCache& cache, std::span<const RolloutStart> starts,
             int64_t cache_bytes, const RolloutText& text, const RolloutListener& heard);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_ROLLOUTS_H_
