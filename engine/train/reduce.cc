#include "engine/train/reduce.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros_like.h>

#include "engine/cuda/cuda_library.h"
#include "engine/torch_status.h"

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

// The same on the GPUs of all ranks. They say first that all are there: NCCL would wait for ever.
template <typename Share>
absl::Status OnGpus(Ranks& ranks, const std::vector<at::Tensor>& tensors, const Share& share) {
  LETHE_RETURN_IF_ERROR(ranks.Agree(absl::OkStatus()));
  return CatchTorch("sharing with the other ranks", [&] {
    for (at::Tensor tensor : tensors) share(*ranks.gpus(), tensor);
  });
}

}  // namespace

absl::Status Meet(Ranks* ranks, std::string work, const std::vector<double>& numbers,
                  const Decoder& model) {
  if (ranks == nullptr) return absl::OkStatus();
  for (const double number : numbers) {
    work.append(reinterpret_cast<const char*>(&number), sizeof(number));
  }
  LETHE_RETURN_IF_ERROR(ranks->CheckSame(work, "texts, method, parameters, precision and seed"));
  LETHE_RETURN_IF_ERROR(ranks->JoinGpus({.name = model.device().str()}));
  return CopyWeightsFromFirst(ranks, model);
}

absl::Status CopyWeightsFromFirst(Ranks* ranks, const Decoder& model) {
  if (ranks == nullptr) return absl::OkStatus();
  at::NoGradGuard no_grad;
  if (ranks->gpus() != nullptr) {
    std::vector<at::Tensor> weights;
    for (const at::Tensor& leaf : model.Leaves()) weights.push_back(leaf.detach());
    return OnGpus(*ranks, weights, [](GpuRanks& gpus, at::Tensor& t) { gpus.CopyFromFirst(t); });
  }
  for (const at::Tensor& leaf : model.Leaves()) {
    LETHE_RETURN_IF_ERROR(
        OnHost(leaf.detach(), [&](std::span<float> v) { return ranks->CopyFromFirst(v); }));
  }
  return absl::OkStatus();
}

absl::Status SumGradients(Ranks* ranks, const LanguageModel& model) {
  if (ranks == nullptr) return absl::OkStatus();
  at::NoGradGuard no_grad;
  for (const at::Tensor& leaf : model.Leaves()) {
    if (!leaf.grad().defined()) leaf.mutable_grad() = at::zeros_like(leaf.detach());
  }
  if (ranks->gpus() != nullptr) {
    std::vector<at::Tensor> gradients;
    for (const at::Tensor& leaf : model.Leaves()) gradients.push_back(leaf.grad().contiguous());
    LETHE_RETURN_IF_ERROR(
        OnGpus(*ranks, gradients, [](GpuRanks& gpus, at::Tensor& t) { gpus.Sum(t); }));
    for (size_t i = 0; i < gradients.size(); ++i) model.Leaves()[i].mutable_grad() = gradients[i];
    return absl::OkStatus();
  }
  for (const at::Tensor& leaf : model.Leaves()) {
    LETHE_RETURN_IF_ERROR(OnHost(leaf.grad(), [&](std::span<float> v) { return ranks->Sum(v); }));
  }
  return absl::OkStatus();
}

}  // namespace lethe
