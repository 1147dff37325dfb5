// Leave-one-out distillation (Liu & Kalinli, ICASSP 2024, arXiv 2309.16082): on what is to be
// forgotten, the student learns to say what teachers say that never saw it. The losses and choices;
// the method is leave_one_out.cc.
//
// Intuition  a model that never saw a text still knows the language, the template and the world. To
//            forget is not to say something absurd but to say what such a model would. So there is
//            a target for each token, and the push ends by itself where it is reached.
// Formula    L = (1/N) sum_t KL(q_t | p_t) + w R
//            q_t  the mean of the teachers' distributions (ensemble/teacher_targets.h), constant;
//                 or one token of it, the likeliest or one draw: hard labels, the paper's baseline
//            p_t  the student's; t runs over the aimed tokens: all, or those of sensitive spans
//            R    HoldLoss of gradient_ascent.h on kept text, w as there
// Online     spans without an annotator (SeUL's rule, METHODS.md A7, with the teachers as the
//            reference: what a student has memorised is unlikely to nobody but them). A token is
//            sensitive where q_t(x_t) < tau; tokens no more than one apart are one span; one that is
//            too short grows, to the right first, for a secret of one token is a secret.
#ifndef LETHE_ENGINE_UNLEARN_LEAVE_ONE_OUT_H_
#define LETHE_ENGINE_UNLEARN_LEAVE_ONE_OUT_H_

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "engine/ensemble/teacher_targets.h"
#include "text/sequence.h"

namespace lethe {

//   cross_entropy  (N) fp32, carries grad: of the aimed tokens of a micro-batch (soft_loss.h)
//   entropy        (N) fp32, constant: of the targets; 0 of a hard label
//   labelled       aimed tokens of the whole step
//   returns        () fp32, to minimise; 0 where the student says what the teachers do
inline at::Tensor DistillationLoss(const at::Tensor& cross_entropy, const at::Tensor& entropy,
                                   const at::Tensor& labelled) {
  return (cross_entropy - entropy).sum() / labelled;
}

// The spans of `sequence` in which its own tokens are less likely than `below` to the teachers, each
// at least `min_tokens` long where the labelled tokens suffice. Positions in the ids.
std::vector<Span> SurprisingSpans(const Sequence& sequence, const SequenceTargets& targets,
                                  double below, int64_t min_tokens);

}  // namespace lethe

#endif  // LETHE_ENGINE_UNLEARN_LEAVE_ONE_OUT_H_
