#include "engine/train/rounded_adam.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/pow.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <bit>
#include <cmath>

namespace lethe {
namespace {

// Numbers of a leaf that are worked on at a time on a device: what stands in fp32 meanwhile is six
// times four bytes of each.
constexpr int64_t kSlice = int64_t{16} << 20;

// The finaliser of splitmix64 (Steele et al. 2014): each bit depends on all.
inline uint64_t Mixed(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

inline float Widened(uint16_t bf16) { return std::bit_cast<float>(uint32_t{bf16} << 16); }

// What a bf16 lacks of a float is its lower sixteen bits: a random number of sixteen bits is added
// to them, and what then is above them is kept. A number that is not finite stays so.
inline uint16_t Rounded(float wide, uint64_t chance) {
  const auto bits = std::bit_cast<uint32_t>(wide);
  const bool finite = (bits & 0x7f800000) != 0x7f800000;
  return static_cast<uint16_t>((bits + (finite ? static_cast<uint32_t>(chance & 0xffff) : 0)) >>
                               16);
}

uint16_t* Numbers(at::Tensor& x) { return static_cast<uint16_t*>(x.mutable_data_ptr()); }

// The same in ATen. `to` keeps what it has where `stays` is 1.
void RoundOnDevice(const at::Tensor& wide, const at::Tensor& stays, const at::Generator& generator,
                   at::Tensor to) {
  const at::Tensor bits = wide.view(at::kInt);
  at::Tensor kept = at::empty_like(bits).random_(0, 1 << 16, generator);
  kept.add_(bits).bitwise_and_(static_cast<int32_t>(0xffff0000));
  const at::Tensor rounded = at::where(wide.isfinite(), kept.view(at::kFloat), wide);
  to.copy_(at::where(stays.gt(0), to, rounded.to(at::kBFloat16)));
}

}  // namespace

void StepRoundedLeaf(RoundedLeaf leaf, const AdamOptions& options, double learning_rate,
                     int64_t step, uint64_t key) {
  const auto beta1 = static_cast<float>(options.beta1), beta2 = static_cast<float>(options.beta2);
  const auto left1 = static_cast<float>(1 - options.beta1);
  const auto left2 = static_cast<float>(1 - options.beta2);
  const auto epsilon = static_cast<float>(options.epsilon);
  const auto count = static_cast<double>(step);
  const auto size = static_cast<float>(learning_rate / (1 - std::pow(options.beta1, count)));
  const auto root = static_cast<float>(1 / std::sqrt(1 - std::pow(options.beta2, count)));
  const auto* gradient = static_cast<const uint16_t*>(leaf.gradient.const_data_ptr());
  uint16_t *weight = Numbers(leaf.weight), *first = Numbers(leaf.first);
  uint16_t* second = Numbers(leaf.second);
  at::parallel_for(0, leaf.weight.numel(), 1 << 15, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const uint64_t chance = Mixed(key + static_cast<uint64_t>(i));
      const float g = Widened(gradient[i]);
      const float m = beta1 * Widened(first[i]) + left1 * g;
      const float v = beta2 * Widened(second[i]) + left2 * g * g;
      const float w = Widened(weight[i]) - size * m / (root * std::sqrt(v) + epsilon);
      weight[i] = Rounded(w, chance);
      first[i] = Rounded(m, chance >> 16);
      second[i] = Rounded(v, chance >> 32);
    }
  });
}

void StepRoundedLeafOnDevice(RoundedLeaf leaf, const AdamOptions& options,
                             const StepNumbers& numbers, const at::Generator& generator) {
  at::NoGradGuard no_grad;
  const at::Tensor step = numbers.step.to(at::kDouble);
  const at::Tensor size = (numbers.rate / (1 - at::pow(options.beta1, step))).to(at::kFloat);
  const at::Tensor root = (1 - at::pow(options.beta2, step)).rsqrt().to(at::kFloat);
  const int64_t count = leaf.weight.numel();
  for (int64_t begin = 0; begin < count; begin += kSlice) {
    const auto slice = [&](const at::Tensor& x) {
      return x.view({-1}).narrow(0, begin, std::min(kSlice, count - begin));
    };
    at::Tensor gradient = slice(leaf.gradient).to(at::kFloat);
    if (numbers.shrink.defined()) gradient.div_(numbers.shrink);
    at::Tensor first = slice(leaf.first).to(at::kFloat);
    at::Tensor second = slice(leaf.second).to(at::kFloat);
    first.mul_(options.beta1).add_(gradient, 1 - options.beta1);
    second.mul_(options.beta2).addcmul_(gradient, gradient, 1 - options.beta2);
    at::Tensor weight = slice(leaf.weight).to(at::kFloat);
    weight.sub_(first.div(second.sqrt().mul_(root).add_(options.epsilon)).mul_(size));
    RoundOnDevice(weight, numbers.stays, generator, slice(leaf.weight));
    RoundOnDevice(first, numbers.stays, generator, slice(leaf.first));
    RoundOnDevice(second, numbers.stays, generator, slice(leaf.second));
  }
}

}  // namespace lethe
