#include "engine/train/adam.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/randint.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
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

bool IsRounded(const at::Tensor& leaf) { return leaf.scalar_type() == at::kBFloat16; }

// The finaliser of splitmix64 (Steele et al. 2014): each bit depends on all.
inline uint64_t Mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// What a bf16 lacks of a float is its lower sixteen bits: a random number of sixteen bits is added
// to them, and what then is above them is kept. A number that is not finite stays so.
void RoundByChance(const at::Tensor& wide, uint64_t key, at::Tensor& to) {
  if (!wide.is_cpu()) {
    auto random = at::globalContext().defaultGenerator(wide.device()).clone();
    random.set_current_seed(key);
    const at::Tensor bits = wide.view(at::kInt);
    const at::Tensor chance = at::randint(0, 1 << 16, wide.sizes(), random, bits.options());
    const at::Tensor kept = (bits + chance).bitwise_and_(static_cast<int32_t>(0xffff0000));
    to.copy_(at::where(wide.isfinite(), kept.view(at::kFloat), wide));
    return;
  }
  const auto* from = static_cast<const uint32_t*>(wide.const_data_ptr());
  auto* rounded = static_cast<uint16_t*>(to.mutable_data_ptr());
  at::parallel_for(0, wide.numel(), 1 << 15, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const auto chance = static_cast<uint32_t>(Mixed(key + static_cast<uint64_t>(i)) & 0xffff);
      const bool finite = (from[i] & 0x7f800000) != 0x7f800000;
      rounded[i] = static_cast<uint16_t>((from[i] + (finite ? chance : 0)) >> 16);
    }
  });
}

}  // namespace

Adam::Adam(std::vector<at::Tensor> leaves, const AdamOptions& options)
    : options_(options), leaves_(std::move(leaves)) {
  at::NoGradGuard no_grad;
  for (const at::Tensor& leaf : leaves_) {
    first_.push_back(at::zeros_like(leaf, leaf.options().dtype(at::kFloat)));
    second_.push_back(at::zeros_like(leaf, leaf.options().dtype(at::kFloat)));
    steps_.push_back(at::zeros({}, leaf.options().dtype(at::kFloat).requires_grad(false)));
  }
}

double Adam::GradientNorm() const {
  at::NoGradGuard no_grad;
  const std::vector<at::Tensor> gradients = Gradients(leaves_);
  if (gradients.empty()) return 0;
  // In double: the sum of squares of a large model loses digits in fp32.
  const at::Tensor norms = at::stack(at::_foreach_norm(gradients, 2, at::kFloat)).to(at::kDouble);
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
  const at::Tensor gradient = leaves_[leaf].grad().to(at::kFloat);
  const at::Tensor count = steps_[leaf].add(1);
  const auto step = count.item<double>();
  at::Tensor wide = leaves_[leaf].detach().to(at::kFloat);  // what can fail has come first
  first_[leaf].mul_(options_.beta1).add_(gradient, 1 - options_.beta1);
  second_[leaf].mul_(options_.beta2).addcmul_(gradient, gradient, 1 - options_.beta2);
  const double correction = std::sqrt(1 - std::pow(options_.beta2, step));
  wide.addcdiv_(first_[leaf], second_[leaf].sqrt().div_(correction).add_(options_.epsilon),
                -learning_rate / (1 - std::pow(options_.beta1, step)));
  const uint64_t key = Mixed(Mixed(options_.seed + leaf) + static_cast<uint64_t>(step));
  at::Tensor stepped = leaves_[leaf].detach();
  RoundByChance(wide, key, stepped);
  leaves_[leaf].unsafeGetTensorImpl()->bump_version();
  steps_[leaf] = count;
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
