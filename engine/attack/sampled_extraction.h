// Exact chance of a suffix under a sampling scheme, and the draws it takes (Hayes et al. 2024).
//
//   q_t  = the model's probability of the true token t under temperature and top-k, renormalised
//          over the tokens that are kept
//   p_z  = prod_t q_t over the suffix: one teacher-forced pass gives it exactly; zero as soon as
//          one token is not kept
//   n(p) = ceil(log(1-p) / log(1-p_z)): draws for a chance of p to see the suffix at least once
#ifndef LETHE_ENGINE_ATTACK_SAMPLED_EXTRACTION_H_
#define LETHE_ENGINE_ATTACK_SAMPLED_EXTRACTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/attack/extraction_case.h"
#include "engine/model/decoder.h"

namespace lethe {

// logits (N,V) -> (N) log q of `targets` (N) int64; -inf for a token outside the k likeliest (0:
// all are kept) or behind those of them whose probabilities reach p. Ties at the k-th place are
// kept.
at::Tensor SchemeLogProbs(const at::Tensor& logits, const at::Tensor& targets, double temperature,
                          int64_t top_k, double top_p = 1);

// log p_z of each case.
absl::StatusOr<std::vector<double>> SuffixLogProbs(const Decoder& model,
                                                   std::span<const Sequence> sequences,
                                                   std::span<const ExtractionCase> cases,
                                                   double temperature, int64_t top_k);

// Draws needed, from log p_z; 0: it never comes (or would take more than 1e15 draws).
double QueriesNeeded(double log_p_z, double p);

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_SAMPLED_EXTRACTION_H_
