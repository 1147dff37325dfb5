// Output layer and cross-entropy in one (sequence_loss.h).
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/_log_softmax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/max.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <optional>

#include "engine/loss/output_layer.h"
#include "engine/loss/sequence_loss.h"
#include "engine/model/cpu_kernels.h"
#include "engine/model/first_choice.h"
#include "engine/model/linear.h"
#include "engine/model/row_tasks.h"

namespace lethe {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

bool RunsOurLoop(const at::Tensor& x) { return RunsOurLoops(x) && x.scalar_type() == at::kFloat; }

// (n) bool for logits (n,V).
at::Tensor CloseOnDevice(const at::Tensor& logits) {
  const at::Tensor two = std::get<0>(logits.topk(std::min<int64_t>(2, logits.size(1)), 1));
  const at::Tensor largest = two.select(1, 0), second = two.select(1, two.size(1) - 1);
  if (two.size(1) < 2) return at::zeros_like(largest, at::kBool);
  return (largest - second).lt(largest.abs().clamp_min(1).mul(TieBound(1)));
}

// The same in ATen, the probabilities into `to` (n,V), which may be the logits and of another type.
void SoftmaxOnDevice(const at::Tensor& logits, const at::Tensor& targets, at::Tensor nll,
                     at::Tensor choice, at::Tensor close, at::Tensor to) {
  if (close.defined()) close.copy_(CloseOnDevice(logits));
  choice.copy_(std::get<1>(at::max(logits, 1)));
  const at::Tensor log_probabilities = at::_log_softmax(logits.to(at::kFloat), 1, false);
  nll.copy_(log_probabilities.gather(1, targets.unsqueeze(1)).squeeze(1).neg_());
  at::exp_out(to, log_probabilities);
}

// logits (n,V) become probabilities; nll (n) and choice (n) are filled, and close (n) where it is
// defined.
void SoftmaxInPlace(at::Tensor& logits, const at::Tensor& targets, at::Tensor nll,
                    at::Tensor choice, at::Tensor close = {}) {
  if (!RunsOurLoop(logits)) return SoftmaxOnDevice(logits, targets, nll, choice, close, logits);
  const int64_t rows = logits.size(0), width = logits.size(1);
  float *data = logits.data_ptr<float>(), *losses = nll.data_ptr<float>();
  const int64_t* wanted = targets.const_data_ptr<int64_t>();
  int64_t* choices = choice.data_ptr<int64_t>();
  bool* ties = close.defined() ? close.data_ptr<bool>() : nullptr;
  const int64_t grain = std::max<int64_t>(1, 50'000 / width);  // some 30 microseconds
  at::parallel_for(0, rows, grain, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin; n < end; ++n) {
      const cpu::Choice made = cpu::Best().softmax_in_place(data + n * width, width, wanted[n]);
      losses[n] = made.nll;
      choices[n] = made.top.place;
      if (ties) ties[n] = made.top.largest - made.top.second < TieBound(made.top.largest);
    }
  });
}

// rows (n,V), contiguous; row i gets values[i] at place[i].
template <typename T>
void PutOneARow(at::Tensor& rows, const at::Tensor& place, const at::Tensor& values) {
  const int64_t width = rows.size(1);
  T* data = rows.data_ptr<T>();
  const int64_t* places = place.const_data_ptr<int64_t>();
  const T* from = values.const_data_ptr<T>();
  for (int64_t n = 0; n < rows.size(0); ++n) data[n * width + places[n]] = from[n];
}

// Probabilities (n,V) become dL/dlogits = grad (p - onehot(target)). p - 1 of a target comes from its
// loss: where p is nearly 1, a rounded p has nothing left of the difference.
void SlopesInPlace(at::Tensor& p, const at::Tensor& targets, const at::Tensor& nll,
                   const at::Tensor& grad) {
  const at::Tensor of_target = nll.neg().expm1_().mul_(grad).to(p.scalar_type());
  p.mul_(grad.to(p.scalar_type()).unsqueeze(1));
  // ATen's scatter makes an fp32 copy of a whole tensor in bf16, and copies it back.
  if (!p.is_cpu() || !p.is_contiguous()) {
    p.scatter_(1, targets.unsqueeze(1), of_target.unsqueeze(1));
  } else if (p.scalar_type() == at::kBFloat16) {
    PutOneARow<at::BFloat16>(p, targets.contiguous(), of_target);
  } else {
    PutOneARow<float>(p, targets.contiguous(), of_target);
  }
}

class OutputLossFunction : public Function<OutputLossFunction> {
 public:
  static variable_list forward(AutogradContext* ctx, const at::Tensor& hidden,
                               const at::Tensor& weight, const at::Tensor& targets,
                               const std::optional<at::Tensor>& rounded, const OutputPlan& plan) {
    const int64_t rows = hidden.size(0);
    at::Tensor nll = at::empty({rows}, hidden.options().dtype(at::kFloat));
    at::Tensor choice = at::empty({rows}, targets.options()), close, kept;
    if (plan.find_close) close = at::empty({rows}, targets.options().dtype(at::kBool));
    const at::Tensor multiplied = LogitWeight(weight, rounded);
    if (plan.keep) kept = at::empty({rows, weight.size(0)}, hidden.options().dtype(plan.type));
    for (int64_t row = 0; row < rows; row += plan.chunk) {
      const int64_t count = std::min(plan.chunk, rows - row);
      const auto some = [&](const at::Tensor& all) { return all.narrow(0, row, count); };
      at::Tensor p = LogitsOf(some(hidden), multiplied);
      const at::Tensor ties = close.defined() ? some(close) : close;
      if (plan.keep && !RunsOurLoop(p)) {
        SoftmaxOnDevice(p, some(targets), some(nll), some(choice), ties, some(kept));
        continue;
      }
      SoftmaxInPlace(p, some(targets), some(nll), some(choice), ties);
      if (plan.keep) some(kept).copy_(p);
    }
    ctx->save_for_backward({hidden, weight, targets, rounded.value_or(multiplied), nll, kept});
    ctx->saved_data["chunk"] = plan.chunk;
    variable_list out = {nll, choice};
    if (close.defined()) out.push_back(close);
    ctx->mark_non_differentiable({out.begin() + 1, out.end()});
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &hidden = saved[0], &weight = saved[1], &targets = saved[2];
    const at::Tensor &used = saved[3], &nll = saved[4], &kept = saved[5], none;
    const bool weight_learns = ctx->needs_input_grad(1);
    if (kept.defined()) {
      at::Tensor slope = kept;  // a second backward pass is refused: it was changed in place
      SlopesInPlace(slope, targets, nll, grads[0]);
      at::Tensor grad_weight;
      if (weight_learns) {
        grad_weight = at::empty_like(weight);
        WeightGradient(slope, hidden, /*add=*/false, grad_weight);
      }
      return {ProductWithTransposed(slope, used.t()), grad_weight, none, none, none};
    }
    const int64_t rows = hidden.size(0), chunk = ctx->saved_data["chunk"].toInt();
    const bool is_rounded = used.scalar_type() == at::kBFloat16;
    const at::Tensor multiplied =
        LogitWeight(weight, is_rounded ? std::optional(used) : std::nullopt);
    at::Tensor grad_hidden = at::empty_like(hidden), grad_weight;
    for (int64_t row = 0; row < rows; row += chunk) {
      const int64_t count = std::min(chunk, rows - row);
      const auto some = [&](const at::Tensor& all) { return all.narrow(0, row, count); };
      at::Tensor p = LogitsOf(some(hidden), multiplied);
      SoftmaxInPlace(p, some(targets), at::empty_like(some(nll)), at::empty_like(some(targets)));
      at::Tensor slope = p.to(used.scalar_type());
      SlopesInPlace(slope, some(targets), some(nll), some(grads[0]));
      some(grad_hidden).copy_(ProductWithTransposed(slope, used.t()));
      if (!weight_learns) continue;
      if (row == 0) grad_weight = at::empty_like(weight);
      WeightGradient(slope, some(hidden), /*add=*/row > 0, grad_weight);
    }
    return {grad_hidden, grad_weight, none, none, none};
  }
};

}  // namespace

TokenLosses OutputLoss(const at::Tensor& hidden, const at::Tensor& weight,
                       const at::Tensor& targets, const LossOptions& options,
                       const at::Tensor& rounded) {
  const auto used = rounded.defined() ? std::optional<at::Tensor>(rounded) : std::nullopt;
  const at::ScalarType type = rounded.defined() ? rounded.scalar_type() : at::kFloat;
  const variable_list out = OutputLossFunction::apply(
      hidden.to(type), weight, targets, used, OutputPlan(weight, hidden.size(0), type, options));
  return {.nll = out[0], .choice = out[1], .close = options.find_close ? out[2] : at::Tensor()};
}

TokenLosses LossesOfLogits(const LanguageModel& model, const at::Tensor& hidden,
                           const at::Tensor& targets, const LossOptions& options) {
  const int64_t rows = hidden.size(0);
  const int64_t chunk = std::max<int64_t>(1, options.logit_bytes / (4 * model.vocab_size()));
  std::vector<at::Tensor> nll;
  std::vector<int64_t> choice, close;
  for (int64_t row = 0; row < rows; row += chunk) {
    const int64_t count = std::min(chunk, rows - row);
    const at::Tensor logits = model.Logits(hidden.narrow(0, row, count).to(at::kFloat));  // (n,V)
    const at::Tensor target = targets.narrow(0, row, count).unsqueeze(1);                 // (n,1)
    nll.push_back(at::log_softmax(logits, 1).gather(1, target).squeeze(1).neg());
    for (const cpu::TopTwo& two : BestTwo(logits.detach())) {
      choice.push_back(two.place);
      close.push_back(two.largest - two.second < TieBound(two.largest));
    }
  }
  TokenLosses losses{.nll = at::cat(nll), .choice = at::tensor(choice, targets.options())};
  if (options.find_close) losses.close = at::tensor(close, targets.options()).to(at::kBool);
  return losses;
}

}  // namespace lethe
