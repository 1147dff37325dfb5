#include "engine/train/descent.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/scalar_tensor.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "engine/loss/sequence_loss.h"
#include "engine/train/reduce.h"

namespace lethe {

Descent::Descent(const Decoder& model, const SequenceList& list, const DescentOptions& options,
                 MicroBatch& micro_batch)
    : model_(model),
      list_(list),
      options_(options),
      micro_batch_(micro_batch),
      random_(options.seed),
      order_(list.size),
      next_(list.size) {
  std::iota(order_.begin(), order_.end(), size_t{0});
}

LoopHooks Descent::Hooks() {
  return {.parts = [this](int64_t step) { return Parts(step); },
          .judge =
              [this](const StepReport& step) {
                losses_.push_back(step.loss);
                return Judgement{};
              },
          .notes_only = true};
}

double Descent::LastLoss() const {
  const size_t last = std::min<size_t>(20, losses_.size());
  return std::accumulate(losses_.end() - static_cast<std::ptrdiff_t>(last), losses_.end(), 0.0) /
         static_cast<double>(last);
}

absl::StatusOr<std::vector<Sequence>> Descent::NextBatch() {
  std::vector<Sequence> batch;
  int64_t tokens = 0;
  while (batch.empty() || tokens < options_.batch_tokens) {
    if (next_ == order_.size()) {
      random_.Shuffle(order_);
      next_ = 0;
    }
    LETHE_ASSIGN_OR_RETURN(Sequence row, list_.read(order_[next_++]));
    tokens += static_cast<int64_t>(row.ids.size());
    batch.push_back(std::move(row));
  }
  return batch;
}

absl::StatusOr<std::vector<StepPart>> Descent::Parts(int64_t step) {
  if (drawn_ < step) {  // else memory ran out: the same rows again
    LETHE_ASSIGN_OR_RETURN(rows_, NextBatch());
    drawn_ = step;
  }
  LETHE_ASSIGN_OR_RETURN(const auto batches,
                         MakeBatches(model_, rows_,
                                     {.max_tokens = micro_batch_.tokens(),
                                      .ranks = options_.ranks,
                                      .in_buckets = RepeatsSteps(model_.device(), options_.ranks),
                                      .on_host = true}));
  // The token mean over the whole step.
  const at::Tensor labelled = at::scalar_tensor(LabelledTokens(rows_), at::kFloat);
  std::vector<StepPart> parts;
  for (const LossBatch& batch : batches) {
    StepPart part{.kind = "train", .inputs = batch.Tensors()};
    part.inputs.push_back(labelled);
    part.loss = [this, batch](std::span<const at::Tensor> inputs) {
      const at::Tensor nll = ComputeTokenLosses(model_, batch.With(inputs)).nll;
      const at::Tensor loss = nll.sum() / inputs.back();
      return PartLoss{.slope_of = loss, .value = loss};
    };
    parts.push_back(std::move(part));
  }
  return parts;
}

double WarmupThenLinear(double peak, int64_t step, int64_t warmup, int64_t steps) {
  if (step <= warmup) return peak * static_cast<double>(step) / static_cast<double>(warmup);
  const double left =
      static_cast<double>(steps - step) / static_cast<double>(std::max<int64_t>(1, steps - warmup));
  return peak * (0.1 + 0.9 * left);
}

}  // namespace lethe
