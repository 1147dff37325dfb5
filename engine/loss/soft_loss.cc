#include "engine/loss/soft_loss.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_log_softmax.h>
#include <ATen/ops/_softmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/expm1.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "engine/loss/output_layer.h"

namespace lethe {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

bool KeepsAll(const SoftLabels& labels) { return labels.ids.size(1) == 0; }

SoftLabels Narrow(const SoftLabels& labels, int64_t row, int64_t count) {
  const auto some = [&](const at::Tensor& all) { return all.narrow(0, row, count); };
  return {some(labels.ids), some(labels.probabilities), some(labels.rest)};
}

// p - q of tokens of which log p is known. Where p is nearly 1 it has nothing left of the
// difference.
at::Tensor Difference(const at::Tensor& log_p, const at::Tensor& q) {
  return at::where(log_p > -0.7, log_p.expm1() + (1 - q), log_p.exp() - q);
}

// The losses (n) of logits (n,V), which become their slopes.
at::Tensor LossesAndSlopes(at::Tensor& logits, const SoftLabels& labels) {
  const at::Tensor& q = labels.probabilities;
  at::Tensor log_p = at::_log_softmax(logits, 1, false);
  if (KeepsAll(labels)) {
    const at::Tensor losses = log_p.mul(q).sum(1).neg_();
    logits = log_p.exp_().sub_(q);
    return losses;
  }
  const at::Tensor of_kept = log_p.gather(1, labels.ids);  // (n,k)
  log_p.scatter_(1, labels.ids, -std::numeric_limits<double>::infinity());
  const at::Tensor log_rest = log_p.logsumexp(1);  // (n) log p(R)
  const at::Tensor losses = (of_kept * q).sum(1).add_(labels.rest * log_rest).neg_();
  // Outside of K p_v - r p_v / p(R) = p_R,v (p(R) - r): nothing to divide by, however small p(R).
  const at::Tensor too_much = log_rest.exp() - labels.rest;  // (n)
  logits = log_p.sub_(log_rest.unsqueeze(1)).exp_().mul_(too_much.unsqueeze(1));
  logits.scatter_(1, labels.ids, Difference(of_kept, q));
  return losses;
}

class SoftOutputLossFunction : public Function<SoftOutputLossFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& hidden,
                            const at::Tensor& weight, const SoftLabels& labels,
                            const std::optional<at::Tensor>& rounded, const OutputPlan& plan) {
    const int64_t rows = hidden.size(0);
    at::Tensor losses = at::empty({rows}, hidden.options().dtype(at::kFloat)), kept;
    const at::Tensor multiplied = LogitWeight(weight, rounded);
    if (plan.keep) kept = at::empty({rows, weight.size(0)}, hidden.options().dtype(plan.type));
    for (int64_t row = 0; row < rows; row += plan.chunk) {
      const int64_t count = std::min(plan.chunk, rows - row);
      at::Tensor slopes = LogitsOf(hidden.narrow(0, row, count), multiplied);
      losses.narrow(0, row, count).copy_(LossesAndSlopes(slopes, Narrow(labels, row, count)));
      if (plan.keep) kept.narrow(0, row, count).copy_(slopes);
    }
    ctx->save_for_backward({hidden, weight, labels.ids, labels.probabilities, labels.rest,
                            rounded.value_or(multiplied), kept});
    ctx->saved_data["chunk"] = plan.chunk;
    return losses;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &hidden = saved[0], &weight = saved[1], &used = saved[5], &kept = saved[6];
    const SoftLabels labels = {saved[2], saved[3], saved[4]};
    const bool is_rounded = used.scalar_type() == at::kBFloat16;
    const at::Tensor multiplied =
        LogitWeight(weight, is_rounded ? std::optional(used) : std::nullopt);
    const int64_t rows = hidden.size(0);
    const int64_t chunk = kept.defined() ? rows : ctx->saved_data["chunk"].toInt();
    at::Tensor grad_hidden = at::empty_like(hidden), grad_weight;
    if (ctx->needs_input_grad(1)) {
      grad_weight = rows > 0 ? at::empty_like(weight) : at::zeros_like(weight);
    }
    for (int64_t row = 0; row < rows; row += chunk) {
      const int64_t count = std::min(chunk, rows - row);
      at::Tensor slopes = kept;
      if (!kept.defined()) {
        slopes = LogitsOf(hidden.narrow(0, row, count), multiplied);
        LossesAndSlopes(slopes, Narrow(labels, row, count));
      }
      const at::Tensor grad = grads[0].narrow(0, row, count).unsqueeze(1);
      slopes = (slopes * grad.to(slopes.scalar_type())).to(used.scalar_type());
      grad_hidden.narrow(0, row, count).copy_(ProductWithTransposed(slopes, used.t()));
      if (!grad_weight.defined()) continue;
      WeightGradient(slopes, hidden.narrow(0, row, count), /*add=*/row > 0, grad_weight);
    }
    const at::Tensor none;
    return {grad_hidden, grad_weight, none, none, none};
  }
};

}  // namespace

at::Tensor SoftOutputLoss(const at::Tensor& hidden, const at::Tensor& weight,
                          const SoftLabels& labels, const LossOptions& options,
                          const at::Tensor& rounded) {
  const auto used = rounded.defined() ? std::optional<at::Tensor>(rounded) : std::nullopt;
  const at::ScalarType type = rounded.defined() ? rounded.scalar_type() : at::kFloat;
  return SoftOutputLossFunction::apply(hidden.to(type), weight, labels, used,
                                       OutputPlan(weight, hidden.size(0), type, options));
}

at::Tensor ComputeSoftLosses(const Decoder& model, const LossBatch& batch, const SoftLabels& labels,
                             const LossOptions& options) {
  const at::Tensor hidden = model.Hidden(batch.ids).index_select(0, batch.positions);  // (N,D)
  const at::Tensor losses =
      SoftOutputLoss(hidden, model.OutputWeight(), labels, options, model.RoundedOutputWeight());
  return batch.counted.defined() ? losses * batch.counted : losses;
}

void VisitProbabilities(const Decoder& model, const LossBatch& batch,
                        const ProbabilityVisitor& visit, const LossOptions& options) {
  at::NoGradGuard no_grad;
  const at::Tensor hidden = model.Hidden(batch.ids).index_select(0, batch.positions);  // (N,D)
  const OutputPlan plan(model.OutputWeight(), hidden.size(0), at::kFloat, options);
  const at::Tensor weight = model.OutputWeight().to(at::kFloat);
  for (int64_t row = 0; row < hidden.size(0); row += plan.chunk) {
    const int64_t count = std::min(plan.chunk, hidden.size(0) - row);
    visit(row, at::_softmax(LogitsOf(hidden.narrow(0, row, count), weight), 1, false));
  }
}

}  // namespace lethe
