// The likelihood of many continuations of one prefix, over one cache.
//
//   LETHE_ASSIGN_OR_RETURN(std::vector<double> nll,
//                          ContinuationNll(model, prefix, continuations, &forward_tokens));
//
// Sharing    the prefix is read once, and what continuations have in common at their begin is read
//            once: ten-digit numbers cost little more than their last digits.
// Threads    const model: any.
// Errors     as GenerateContinuations; INVALID_ARGUMENT/SEQUENCE_TOO_SHORT for an empty prefix.
#ifndef LETHE_ENGINE_ATTACK_CONTINUATION_NLL_H_
#define LETHE_ENGINE_ATTACK_CONTINUATION_NLL_H_

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/model/prompt_groups.h"

namespace lethe {

// Nats over all tokens of each of `continuations`, which have one length, at least 1. Adds to
// `forward_tokens` what was fed to the model.
absl::StatusOr<std::vector<double>> ContinuationNll(const LanguageModel& model,
                                                    const TokenIds& prefix,
                                                    std::span<const TokenIds> continuations,
                                                    int64_t* forward_tokens,
                                                    int64_t cache_bytes = int64_t{256} << 20);

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_CONTINUATION_NLL_H_
