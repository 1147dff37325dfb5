// Continuations by beam search, many prompts at a time over a KV cache.
//
//   LETHE_ASSIGN_OR_RETURN(auto found,                       // found[prompt][0] is the best
//                          SearchBeams(model, prompts, {.beams = 4, .max_new_tokens = 50}));
//   found[0][0].ids;   found[0][0].score;
//
// Search     at each step the 2 x beams likeliest continuations of all beams of a prompt. Of these,
//            the first `beams` that end (at the end token or the last step) are candidates for the
//            result; the first `beams` that do not are the next beams.
// Score      log-probability, the end token's included, divided by length^length_penalty.
// Ends       when no beam's present score beats the worst of `beams` finished ones. This is what
//            transformers' num_beams does with early_stopping=False, whose golden values it has to
//            meet; a longer continuation might still have become better.
// End token  none unless `stop_id` names one; a continuation ends before it.
// Ties       of equal log-probabilities go to the better beam, then to the lower id. Summed in
//            float64 over fp32 logits.
// Sharing    the beams of a prompt read one copy of it; what a beam has written itself is copied
//            when two beams go on from it.
// Threads    const model: any.
// Errors     as GenerateContinuations.
#ifndef LETHE_ENGINE_MODEL_BEAM_SEARCH_H_
#define LETHE_ENGINE_MODEL_BEAM_SEARCH_H_

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/model/language_model.h"
#include "engine/model/prompt_groups.h"

namespace lethe {

struct BeamOptions {
  int64_t beams = 4;
  int64_t max_new_tokens = 50;
  double length_penalty = 1;                 // above 0 favours long continuations
  int32_t stop_id = -1;                      // -1: none
  int64_t cache_bytes = int64_t{512} << 20;  // bounds the prompts whose beams run at a time
};

struct Hypothesis {
  TokenIds ids;
  double score = 0;
};

// [prompt] -> what was found, at most `beams`, best first.
absl::StatusOr<std::vector<std::vector<Hypothesis>>> SearchBeams(const LanguageModel& model,
                                                                 std::span<const TokenIds> prompts,
                                                                 const BeamOptions& options);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_BEAM_SEARCH_H_
