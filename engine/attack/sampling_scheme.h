// How a continuation is drawn, and the exact chance of one under it (Hayes et al. 2024).
//
//   q_t  = the model's probability of the true token t under temperature, top-k and top-p,
//          renormalised over the tokens that are kept
//   p_z  = prod_t q_t over the suffix: one teacher-forced pass gives it exactly; zero as soon as
//          one token is not kept
//   n(p) = ceil(log(1-p) / log(1-p_z)): draws for a chance of p to see the suffix at least once
//
// Threads    pure functions; any. Errors: SchemeLogProbs throws LibTorch's exceptions.
#ifndef LETHE_ENGINE_ATTACK_SAMPLING_SCHEME_H_
#define LETHE_ENGINE_ATTACK_SAMPLING_SCHEME_H_

#include <ATen/core/Tensor.h>

#include <compare>
#include <cstdint>

namespace lethe {

// Softmax of logits / temperature, cut to the k likeliest, then to the fewest whose probabilities
// reach p, renormalised.
struct SamplingScheme {
  double temperature = 1;
  int64_t top_k = 0;  // 0: all
  double top_p = 1;
  auto operator<=>(const SamplingScheme&) const = default;
};

// logits (N,V) -> (N) log q of `targets` (N) int64; -inf for a token that the scheme never draws.
// Ties at the k-th place are kept; of equals at the edge of top-p the lower id, as in the sampler.
at::Tensor SchemeLogProbs(const at::Tensor& logits, const at::Tensor& targets,
                          const SamplingScheme& scheme);

// Draws needed, from log p_z; 0: it never comes (or would take more than 1e15 draws).
double QueriesNeeded(double log_p_z, double p);

// Chance to see the suffix at least once in `draws`: 1 - (1 - p_z)^draws.
double ChanceInDraws(double log_p_z, double draws);

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_SAMPLING_SCHEME_H_
