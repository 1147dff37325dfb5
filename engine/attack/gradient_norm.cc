// Membership by the gradient: a text that was learned has little left to teach.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>

#include "engine/attack/attack_table.h"
#include "engine/model/decoder.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

// Mean over the checkpoint's tensors (of an ensemble: all members') of the L2 norm of
// d(NLL a token)/d(tensor); no value when no weight learns.
absl::StatusOr<std::optional<double>> GradientNorm(const LanguageModel& model,
                                                   const Sequence& sequence, bool on_spans) {
  const BatchOptions options{.labels = on_spans ? Labels::kSensitive : Labels::kAnswer};
  LETHE_ASSIGN_OR_RETURN(const auto batches, MakeBatches(model, std::span(&sequence, 1), options));
  at::AutoGradMode with_grad(true);
  model.ZeroGradients();
  const at::Tensor loss = ComputeTokenLosses(model, batches.front()).nll.mean();
  if (!loss.requires_grad()) return std::nullopt;
  loss.backward();
  at::NoGradGuard no_grad;
  double sum = 0;
  size_t tensors = 0;
  for (const Decoder* member : model.Members()) {
    const std::vector<NamedTensor> gradients = member->NamedGradients();
    for (const NamedTensor& g : gradients) sum += g.tensor.norm().item<double>();
    tensors += gradients.size();
  }
  model.ZeroGradients();
  return sum / static_cast<double>(tensors);
}

}  // namespace

absl::StatusOr<AttackScores> GradientNormMembership(const AttackInput& input) {
  AttackScores out;
  // A forward pass, and a backward pass that computes as much as two.
  for (const Sequence& sequence : input.sequences) {
    LETHE_ASSIGN_OR_RETURN(const std::optional<double> norm, CatchTorch("taking gradients", [&] {
                             return GradientNorm(input.model, sequence, input.on_spans);
                           }));
    if (!norm.has_value()) {
      out.not_applicable = "the model's weights carry no gradient in this condition";
      return out;
    }
    out.scores.push_back(-*norm);
    out.forward_tokens += 3 * static_cast<int64_t>(sequence.ids.size());
  }
  return out;
}

}  // namespace lethe
