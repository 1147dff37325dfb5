#include "engine/train/adam.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <utility>

namespace lethe {
namespace {

std::vector<at::Tensor> Gradients(const std::vector<at::Tensor>& leaves) {
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& leaf : leaves) {
    if (leaf.grad().defined()) gradients.push_back(leaf.grad());
  }
  return gradients;
}

}  // namespace

Adam::Adam(std::vector<at::Tensor> leaves, const AdamOptions& options)
    : options_(options), leaves_(std::move(leaves)) {
  at::NoGradGuard no_grad;
  for (const at::Tensor& leaf : leaves_) {
    first_.push_back(at::zeros_like(leaf));
    second_.push_back(at::zeros_like(leaf));
    steps_.push_back(at::zeros({}, leaf.options().dtype(at::kFloat).requires_grad(false)));
  }
}

double Adam::GradientNorm() const {
  at::NoGradGuard no_grad;
  const std::vector<at::Tensor> gradients = Gradients(leaves_);
  if (gradients.empty()) return 0;
  // In double: the sum of squares of a large model loses digits in fp32.
  const at::Tensor norms = at::stack(at::_foreach_norm(gradients, 2)).to(at::kDouble);
  return at::linalg_vector_norm(norms, 2).item<double>();
}

void Adam::Clip(double norm, double max_norm) {
  if (max_norm <= 0 || !(norm > max_norm)) return;
  at::NoGradGuard no_grad;
  at::_foreach_mul_(Gradients(leaves_), max_norm / norm);
}

// The fused step walks the leaves one by one on a CPU, and takes them all in one launch on a GPU.
void Adam::Step(double learning_rate) {
  at::NoGradGuard no_grad;
  const size_t together = !leaves_.empty() && leaves_.front().is_cpu() ? 1 : leaves_.size();
  while (stepped_ < leaves_.size()) {
    const size_t end = std::min(leaves_.size(), stepped_ + together);
    StepLeaves(stepped_, end, learning_rate);
    stepped_ = end;
  }
  stepped_ = 0;
}

// What can fail comes first: the counts of steps are moved in when the weights are what they count.
void Adam::StepLeaves(size_t begin, size_t end, double learning_rate) {
  std::vector<at::Tensor> leaves, gradients, first, second, steps;
  for (size_t i = begin; i < end; ++i) {
    if (!leaves_[i].grad().defined()) continue;
    leaves.push_back(leaves_[i]);
    gradients.push_back(leaves_[i].grad());
    first.push_back(first_[i]);
    second.push_back(second_[i]);
    steps.push_back(steps_[i].add(1));
  }
  if (leaves.empty()) return;
  at::_fused_adam_(leaves, gradients, first, second, /*max_exp_avg_sqs=*/{}, steps, learning_rate,
                   options_.beta1, options_.beta2, /*weight_decay=*/0, options_.epsilon,
                   /*amsgrad=*/false, /*maximize=*/false);
  // LibTorch does not count a fused step as a change; rounded copies of the leaves go by the count.
  for (const at::Tensor& leaf : leaves) leaf.unsafeGetTensorImpl()->bump_version();
  size_t next = 0;
  for (size_t i = begin; i < end; ++i) {
    if (leaves_[i].grad().defined()) steps_[i] = std::move(steps[next++]);
  }
}

Adam::State Adam::Save() const {
  State state;
  for (const auto* list : {&first_, &second_, &steps_}) {
    for (const at::Tensor& tensor : *list) state.moments.push_back(tensor.clone());
  }
  return state;
}

void Adam::Restore(const State& state) {
  stepped_ = 0;
  size_t next = 0;
  for (auto* list : {&first_, &second_, &steps_}) {
    for (at::Tensor& tensor : *list) tensor.copy_(state.moments[next++]);
  }
}

void Adam::DropMomentum() {
  for (at::Tensor& tensor : first_) tensor.zero_();
}

}  // namespace lethe
