#include "engine/train/reduce.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

namespace lethe {
namespace {

// Runs `share` on the values as fp32 in the host's memory, and writes them back where they lie
// elsewhere.
template <typename Share>
absl::Status OnHost(const at::Tensor& tensor, const Share& share) {
  const at::Tensor host = tensor.to(at::kCPU, at::kFloat).contiguous();
  LETHE_RETURN_IF_ERROR(
      share(std::span<float>(host.data_ptr<float>(), static_cast<size_t>(host.numel()))));
  if (!host.is_same(tensor)) tensor.copy_(host);
  return absl::OkStatus();
}

}  // namespace

absl::Status Meet(Ranks* ranks, std::string work, const std::vector<double>& numbers,
                  const Decoder& model) {
  if (ranks == nullptr) return absl::OkStatus();
  for (const double number : numbers) {
    work.append(reinterpret_cast<const char*>(&number), sizeof(number));
  }
  LETHE_RETURN_IF_ERROR(ranks->CheckSame(work, "texts, method, parameters, precision and seed"));
  return CopyWeightsFromFirst(ranks, model);
}

absl::Status CopyWeightsFromFirst(Ranks* ranks, const Decoder& model) {
  if (ranks == nullptr) return absl::OkStatus();
  at::NoGradGuard no_grad;
  for (const at::Tensor& leaf : model.Leaves()) {
    LETHE_RETURN_IF_ERROR(
        OnHost(leaf.detach(), [&](std::span<float> v) { return ranks->CopyFromFirst(v); }));
  }
  return absl::OkStatus();
}

absl::Status SumGradients(Ranks* ranks, const Decoder& model) {
  if (ranks == nullptr) return absl::OkStatus();
  at::NoGradGuard no_grad;
  for (const at::Tensor& leaf : model.Leaves()) {
    if (!leaf.grad().defined()) leaf.mutable_grad() = at::zeros_like(leaf.detach());
    LETHE_RETURN_IF_ERROR(OnHost(leaf.grad(), [&](std::span<float> v) { return ranks->Sum(v); }));
  }
  return absl::OkStatus();
}

}  // namespace lethe
