// Gradient ascent (Jang et al., Knowledge Unlearning, ACL 2023), plain and calibrated. The losses;
// the method is gradient_ascent.cc.
//
// Intuition  raise the negative log-likelihood of what is to be forgotten. Plain ascent has no
//            bottom: it drives the forgotten text, and with it all text of its kind, to absurdly
//            low likelihood, and singles out the deleted. Calibrated ascent pushes each sequence up
//            to the likelihood of text of its kind that was never seen, and no further, and holds
//            kept text where it is.
// Formula    plain       L = -(1/N) sum_t nll_t
//            calibrated  L = (1/B) sum_b [ max(0, tau_b - nll_b) + s_b max(0, nll_b - c_b)^2 ]
//                            + w R,   nll_b = mean_t nll_t
//                        tau_b: mean NLL a token of unseen text. c_b, a little above it: a sequence
//                        that the others carried along is led back, the harder the further it is.
//                        In the first term a token that is already one and a half times as
//                        surprising as a guess among all tokens carries no gradient: a mean must
//                        not be reached by a few absurd tokens.
//            retain      R = (1/N) sum_t (nll_t - nll0_t)^2 / 2, nll0 under the base model: for
//                        small moves the Kullback-Leibler divergence from it, seen through the kept
//                        tokens; it needs one number a token and no second model
//                        w: retain_weight times the firmness of hold_control.h
#ifndef LETHE_ENGINE_UNLEARN_GRADIENT_ASCENT_H_
#define LETHE_ENGINE_UNLEARN_GRADIENT_ASCENT_H_

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lethe {

//   nll       (N) fp32, carries grad: nats of the labelled tokens of one micro-batch
//   labelled  labelled tokens of the whole step
//   returns   () fp32, to minimise; micro-batches add up to the step's loss
inline at::Tensor AscentLoss(const at::Tensor& nll, int64_t labelled) {
  return -(nll.sum() / static_cast<double>(labelled));
}

//   nll      (B) fp32, carries grad: mean nats a token of each sequence
//   target   (B) fp32, constant: tau_b; -inf: no push
//   count    sequences of the whole step
//   returns  () fp32, to minimise
inline at::Tensor CalibratedAscentLoss(const at::Tensor& nll, const at::Tensor& target,
                                       int64_t count) {
  return (target - nll).clamp_min(0).sum() / static_cast<double>(count);
}

//   ceiling  (B) fp32, constant: c_b; +inf: none
//   steep    (B) fp32, constant: s_b
inline at::Tensor LeadBackLoss(const at::Tensor& nll, const at::Tensor& ceiling,
                               const at::Tensor& steep, int64_t count) {
  return (steep * (nll - ceiling).clamp_min(0).square()).sum() / static_cast<double>(count);
}

//   nll      (N) fp32, carries grad
//   nll_ref  (N) fp32, constant: the same under the base model, computed once
inline at::Tensor HoldLoss(const at::Tensor& nll, const at::Tensor& nll_ref, int64_t labelled) {
  return (nll - nll_ref).square().sum() / (2.0 * static_cast<double>(labelled));
}

}  // namespace lethe

#endif  // LETHE_ENGINE_UNLEARN_GRADIENT_ASCENT_H_
