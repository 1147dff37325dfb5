#include "engine/train/adam.h"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/full.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "engine/train/rounded_adam.h"

namespace lethe {
namespace {

std::vector<at::Tensor> Gradients(const std::vector<at::Tensor>& leaves) {
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& leaf : leaves) {
    if (leaf.grad().defined()) gradients.push_back(leaf.grad());
  }
  return gradients;
}

bool IsRounded(const at::Tensor& leaf) { return leaf.scalar_type() == at::kBFloat16; }

// The finaliser of splitmix64 (Steele et al. 2014): each bit depends on all.
uint64_t Mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
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
  if (std::any_of(leaves_.begin(), leaves_.end(), IsRounded)) {
    generator_ = at::globalContext().defaultGenerator(leaves_.front().device()).clone();
    generator_.set_current_seed(options_.seed);
  }
}

double Adam::GradientNorm() const { return leaves_.empty() ? 0 : NormOnDevice().item<double>(); }

at::Tensor Adam::NormOnDevice() const {
  at::NoGradGuard no_grad;
  const std::vector<at::Tensor> gradients = Gradients(leaves_);
  if (gradients.empty()) return at::zeros({}, steps_.front().options().dtype(at::kDouble));
  // In double: the sum of squares of a large model loses digits in fp32.
  const at::Tensor norms = at::stack(at::_foreach_norm(gradients, 2, at::kFloat)).to(at::kDouble);
  return at::linalg_vector_norm(norms, 2);
}

void Adam::Clip(double norm, double max_norm) {
  if (max_norm <= 0 || !(norm > max_norm)) return;
  at::NoGradGuard no_grad;
  at::_foreach_mul_(Gradients(leaves_), max_norm / norm);
}

// The fused step walks the leaves one by one on a CPU.
void Adam::Step(double learning_rate) {
  at::NoGradGuard no_grad;
  if (!leaves_.empty() && !leaves_.front().is_cpu()) {
    const auto numbers = steps_.front().options();
    StepOnDevice(at::zeros({}, numbers), 0, at::full({}, learning_rate, numbers));
    return;
  }
  while (stepped_ < leaves_.size()) {
    StepLeaves(stepped_, stepped_ + 1, learning_rate);
    ++stepped_;
  }
  stepped_ = 0;
}

// Leaves in bf16 one by one, then all others in one launch, which takes no memory.
void Adam::StepOnDevice(const at::Tensor& norm, double max_norm, const at::Tensor& rate) {
  at::NoGradGuard no_grad;
  const at::Tensor goes = norm.isfinite().to(at::kFloat), stays = 1 - goes;  // ()
  at::Tensor shrink;                                                         // ()
  if (max_norm > 0) shrink = (norm / max_norm).clamp_min(1).to(at::kFloat);
  for (; stepped_ < leaves_.size(); ++stepped_) {
    const size_t i = stepped_;
    const at::Tensor gradient = leaves_[i].grad();
    if (!gradient.defined() || !IsRounded(leaves_[i])) continue;
    const at::Tensor step = steps_[i] + goes;
    StepRoundedLeafOnDevice(
        {leaves_[i].detach(), gradient.contiguous(), first_[i], second_[i]}, options_,
        {.rate = rate, .step = step, .shrink = shrink, .stays = stays}, generator_);
    steps_[i].copy_(step);
  }
  std::vector<at::Tensor> leaves, gradients, first, second, steps;
  for (size_t i = 0; i < leaves_.size(); ++i) {
    if (!leaves_[i].grad().defined() || IsRounded(leaves_[i])) continue;
    leaves.push_back(leaves_[i]);
    gradients.push_back(leaves_[i].grad());
    first.push_back(first_[i]);
    second.push_back(second_[i]);
    steps.push_back(steps_[i]);
  }
  if (!leaves.empty()) {
    at::_foreach_add_(steps, goes);
    at::_fused_adam_(leaves, gradients, first, second, /*max_exp_avg_sqs=*/{}, steps, rate,
                     options_.beta1, options_.beta2, /*weight_decay=*/0, options_.epsilon,
                     /*amsgrad=*/false, /*maximize=*/false,
                     shrink.defined() ? std::optional(shrink) : std::nullopt, stays);
  }
  stepped_ = 0;
  NoteChange();
}

void Adam::NoteChange() const {
  for (const at::Tensor& leaf : leaves_) leaf.unsafeGetTensorImpl()->bump_version();
}

// What can fail comes first: the counts of steps are moved in when the weights are what they count.
void Adam::StepLeaves(size_t begin, size_t end, double learning_rate) {
  std::vector<at::Tensor> leaves, gradients, first, second, steps;
  for (size_t i = begin; i < end; ++i) {
    if (!leaves_[i].grad().defined()) continue;
    if (IsRounded(leaves_[i])) {
      StepRounded(i, learning_rate);
      continue;
    }
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
    if (leaves_[i].grad().defined() && !IsRounded(leaves_[i])) {
      steps_[i] = std::move(steps[next++]);
    }
  }
}

void Adam::StepRounded(size_t leaf, double learning_rate) {
  const at::Tensor gradient = leaves_[leaf].grad().contiguous();
  const at::Tensor count = steps_[leaf].add(1);  // what can fail has come first
  const auto step = count.item<int64_t>();
  const uint64_t key = Mixed(Mixed(options_.seed + leaf) + static_cast<uint64_t>(step));
  StepRoundedLeaf({leaves_[leaf].detach(), gradient, first_[leaf], second_[leaf]}, options_,
                  learning_rate, step, key);
  leaves_[leaf].unsafeGetTensorImpl()->bump_version();
  steps_[leaf] = count;
}

Adam::State Adam::Save(std::optional<at::Device> where) const {
  State state;
  for (const auto* list : {&first_, &second_, &steps_}) {
    for (const at::Tensor& tensor : *list) {
      const bool beside = !where.has_value() || *where == tensor.device();
      state.moments.push_back(beside ? tensor.clone() : tensor.to(*where));
    }
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
