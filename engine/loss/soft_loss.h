// Cross-entropy towards a distribution at each labelled token, instead of the token itself: what a
// model is distilled by. Shift, mask and chunks are sequence_loss.h's.
//
//   VisitProbabilities(teacher, batch, [&](int64_t row, const at::Tensor& p) { ... });   // (n,V)
//   const at::Tensor loss = ComputeSoftLosses(student, batch, labels);                   // (N)
//   (loss.sum() / labelled).backward();
//
// Formula    Of a distribution q over V tokens the entries of a set K are kept, and the rest mass
//            r = 1 - sum_K q_v. With p the model's distribution and p(R) what it gives to all
//            tokens outside of K together:
//              L     = - sum_K q_v log p_v - r log p(R)         the rest is one bucket
//              dL/dz = p - q~     q~_v = q_v in K,  q~_v = r p_v / p(R) outside
//            so a model is told how much to give to the rest, and shares it out as it likes. In the
//            exact mode K is the whole vocabulary, and L = - sum_v q_v log p_v.
// Error      of keeping K alone, a token, with q_R and p_R the distributions within the rest:
//              slope    |dL_exact/dz - dL/dz|_1 = r |q_R - p_R|_1 <= 2 r
//                       (q and q~ differ only outside of K, where they are r q_R and r p_R). That of
//                       the hidden state: at most 2 r times the longest row of the output weight.
//              loss     KL(q|p) = KL_K + r KL(q_R|p_R) >= KL_K, where KL_K = L - H_K and H_K is the
//                       entropy of the kept entries and the bucket. KL knows no bound by r: p_R may
//                       forget a token that q_R has. What is left of it when KL_K is small has one:
//              reached  TV(q,p) <= TV_K + r <= sqrt(KL_K / 2) + r      (Pinsker)
//                       for sum_R |r q_v - p(R) p_v| <= r |q_R - p_R|_1 + |r - p(R)|.
//            A token that must not hide in the rest, as a secret could at up to r, has to be in K.
// Memory     as OutputLoss: the logits of a whole batch never stand in memory.
// Threads    const model: any. Errors: LibTorch's exceptions; end at CatchTorch.
#ifndef LETHE_ENGINE_LOSS_SOFT_LOSS_H_
#define LETHE_ENGINE_LOSS_SOFT_LOSS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/loss/sequence_loss.h"
#include "engine/model/decoder.h"

namespace lethe {

// The distributions for the N labelled tokens of a batch, in their order.
struct SoftLabels {
  at::Tensor ids;            // (N,k) int64, distinct in each row; (N,0): entry v is token v, k = V
  at::Tensor probabilities;  // (N,k) fp32
  at::Tensor rest;           // (N) fp32: 1 minus their sum; 0 where all are kept

  std::vector<at::Tensor> Tensors() const { return {ids, probabilities, rest}; }
  static SoftLabels Of(std::span<const at::Tensor> tensors) {
    return {tensors[0], tensors[1], tensors[2]};
  }
};

// hidden (N,D), weight (V,D) -> (N) fp32, nats, carries grad. `rounded` as in OutputLoss.
at::Tensor SoftOutputLoss(const at::Tensor& hidden, const at::Tensor& weight,
                          const SoftLabels& labels, const LossOptions& options = {},
                          const at::Tensor& rounded = {});

// (N) fp32, nats, carries grad; 0 where nothing counts.
at::Tensor ComputeSoftLosses(const Decoder& model, const LossBatch& batch, const SoftLabels& labels,
                             const LossOptions& options = {});

// What the model gives to each token of the vocabulary at the labelled tokens [row, row + n) of the
// batch, chunk by chunk; probabilities (n,V) fp32 carry no grad and may be overwritten.
using ProbabilityVisitor = std::function<void(int64_t row, const at::Tensor& probabilities)>;
void VisitProbabilities(const Decoder& model, const LossBatch& batch,
                        const ProbabilityVisitor& visit, const LossOptions& options = {});

}  // namespace lethe

#endif  // LETHE_ENGINE_LOSS_SOFT_LOSS_H_
