#include "engine/train/device_step.h"

#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/stack.h>
#include <c10/util/Exception.h>

namespace lethe {
namespace {

// Parts of one name make the same operations.
std::string NameOf(const std::vector<StepPart>& parts) {
  std::string name;
  for (const StepPart& part : parts) {
    name += part.kind + ":";
    for (const at::Tensor& input : part.inputs) {
      for (const int64_t size : input.sizes()) name += std::to_string(size) + "x";
      name += ",";
    }
  }
  return name;
}

}  // namespace

DeviceStep::DeviceStep(const LanguageModel& model, Adam& adam, double max_norm, StepGraphs& graphs)
    : model_(model), adam_(adam), max_norm_(max_norm), graphs_(graphs) {
  if (adam_.generator().defined()) graphs_.Use(adam_.generator());
}

std::shared_ptr<LateNumbers> DeviceStep::Launch(const std::vector<StepPart>& parts, double rate) {
  std::vector<at::Tensor> inputs;
  for (const StepPart& part : parts) {
    inputs.insert(inputs.end(), part.inputs.begin(), part.inputs.end());
  }
  inputs.push_back(at::scalar_tensor(rate, at::kFloat));
  // Copies that were rounded before must not be what a recording reads for ever.
  adam_.NoteChange();
  auto late = graphs_.Run(NameOf(parts), inputs, [&](std::span<const at::Tensor> on_device) {
    return Do(parts, on_device);
  });
  adam_.NoteChange();
  return late;
}

// inputs: the parts', one after the other, then the rate -> (parts + 1): values, norm.
at::Tensor DeviceStep::Do(const std::vector<StepPart>& parts,
                          std::span<const at::Tensor> inputs) const {
  model_.ZeroGradients();
  std::vector<at::Tensor> numbers;
  for (const StepPart& part : parts) {
    const PartLoss loss = part.loss(inputs.first(part.inputs.size()));
    loss.slope_of.backward();
    numbers.push_back(loss.value.detach().to(at::kDouble));
    inputs = inputs.subspan(part.inputs.size());
  }
  const at::Tensor norm = adam_.NormOnDevice(), &rate = inputs.front();
  adam_.StartAnew();
  try {
    adam_.StepOnDevice(norm, max_norm_, rate);
  } catch (const c10::OutOfMemoryError&) {
    FinishStep(norm, rate);
  }
  model_.ZeroGradients();
  numbers.push_back(norm);
  return at::stack(numbers);
}

// The activations are gone, Adam takes next to nothing, and what is done stays done. Where even that
// is too much, weights have changed: the step cannot be tried with less.
void DeviceStep::FinishStep(const at::Tensor& norm, const at::Tensor& rate) const {
  try {
    adam_.StepOnDevice(norm, max_norm_, rate);
  } catch (const c10::OutOfMemoryError&) {
    TORCH_CHECK(false, "no memory was left in the middle of Adam's step");
  }
}

DeviceStep::Numbers DeviceStep::Read(const std::vector<StepPart>& parts, LateNumbers& late) {
  const std::vector<double> read = late.Read();
  Numbers numbers{.norm = read.back()};
  for (size_t i = 0; i < parts.size(); ++i) parts[i].AddTo(numbers.loss, read[i]);
  return numbers;
}

}  // namespace lethe
