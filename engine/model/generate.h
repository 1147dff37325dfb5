// Continuations by greedy choice or sampling, many at a time over a KV cache.
//
//   LETHE_ASSIGN_OR_RETURN(auto said,       // greedy: said[prompt][0]
//                          GenerateContinuations(model, prompts, {.max_new_tokens = 50}));
//   LETHE_ASSIGN_OR_RETURN(auto drawn,      // drawn[prompt][sample]
//                          GenerateContinuations(model, prompts,
//                                                {.max_new_tokens = 50, .samples = 64,
//                                                 .temperature = 1.0, .top_k = 40, .seed = 7}));
//
// Prompts    of any lengths; each is read once, and its samples share what was read. Fewer are read
//            at a time where memory does not suffice.
// End token  an ordinary token unless `stop_id` names it; then a continuation ends before it.
// Greedy     ties of the logits go to the lowest id, as first_choice.h says. Temperature 0 is greedy, and its samples are
//            all the same: ask for one.
// Random     sample s of prompt p draws from a generator of its own, seeded by (seed, p, s), or by
//            (seed, key of p, s): the same whatever else is in the batch.
// Threads    const model: any.
// Errors     INVALID_ARGUMENT/SEQUENCE_TOO_SHORT (an empty prompt), SEQUENCE_TOO_LONG (prompt and
//            new tokens pass the context), TOKEN_OUT_OF_RANGE, BAD_SAMPLING;
//            RESOURCE_EXHAUSTED/OUT_OF_MEMORY.
#ifndef LETHE_ENGINE_MODEL_GENERATE_H_
#define LETHE_ENGINE_MODEL_GENERATE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/model/language_model.h"
#include "engine/model/prompt_groups.h"

namespace lethe {

struct GenerateOptions {
  int64_t max_new_tokens = 50;
  int64_t samples = 1;     // continuations a prompt
  double temperature = 0;  // 0: greedy
  int64_t top_k = 0;       // sample among the k likeliest; 0: all
  double top_p = 1;        // then among the fewest whose probabilities sum to at least this
  uint64_t seed = 0;
  std::vector<uint64_t> keys;  // one a prompt, instead of its place; empty: the places
  int32_t stop_id = -1;        // -1: none
  int64_t cache_bytes = int64_t{512} << 20;  // bounds the rows that run at a time
};

// [prompt][sample] -> the new tokens.
absl::StatusOr<std::vector<std::vector<TokenIds>>> GenerateContinuations(
    const LanguageModel& model, std::span<const TokenIds> prompts, const GenerateOptions& options);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_GENERATE_H_
