#include "engine/unlearn/kept_text.h"

#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/unlearn/gradient_ascent.h"

namespace lethe {
namespace {

constexpr size_t kPart = 64;  // retain sequences between two reports of progress

}  // namespace

absl::StatusOr<KeptText> KeptText::Make(const Decoder& model, std::span<const Sequence> retain,
                                        std::span<const Sequence> watch, uint64_t seed,
                                        const ProgressCallback& progress, Ranks* ranks) {
  KeptText kept;
  kept.ranks_ = ranks;
  kept.retain_ = retain;
  kept.random_ = SeededGenerator(seed);
  if (!retain.empty()) {
    for (size_t begin = 0; begin < retain.size(); begin += kPart) {
      LETHE_RETURN_IF_ERROR(Report(
          progress,
          {"measuring", static_cast<int64_t>(begin), static_cast<int64_t>(retain.size()), {}}));
      LETHE_ASSIGN_OR_RETURN(
          auto scores,
          ScoreSequences(model, retain.subspan(begin, std::min(kPart, retain.size() - begin)),
                         {.ranks = ranks}));
      for (SequenceScore& score : scores) kept.reference_.push_back(std::move(score.nll));
    }
    kept.order_.resize(retain.size());
    std::iota(kept.order_.begin(), kept.order_.end(), size_t{0});
    kept.random_.Shuffle(kept.order_);
  }
  Sample(retain, kept.random_, kept.retain_probe_);
  Sample(watch, kept.random_, kept.watch_probe_);
  for (ProbeSet* set : {&kept.retain_probe_, &kept.watch_probe_}) {
    LETHE_ASSIGN_OR_RETURN(set->before, kept.NllPerToken(model, *set));
    set->now = set->before;
    if (model.precision() == Precision::kFp32) continue;
    LETHE_ASSIGN_OR_RETURN(set->exactly_before, kept.NllPerToken(model.In(Precision::kFp32), *set));
  }
  return kept;
}

void KeptText::Sample(std::span<const Sequence> from, SeededGenerator& random, ProbeSet& set) {
  std::vector<size_t> order(from.size());
  std::iota(order.begin(), order.end(), size_t{0});
  random.Shuffle(order);
  order.resize(std::min(order.size(), kProbe));
  for (const size_t i : order) set.sequences.push_back(from[i]);
}

absl::StatusOr<double> KeptText::NllPerToken(const Decoder& model, const ProbeSet& set) const {
  if (set.sequences.empty()) return 0.0;
  LETHE_ASSIGN_OR_RETURN(const auto scores,
                         ScoreSequences(model, set.sequences, {.ranks = ranks_}));
  double nats = 0, tokens = 0;
  for (const SequenceScore& score : scores) {
    nats += score.total_nll;
    tokens += static_cast<double>(score.nll.size());
  }
  if (!std::isfinite(nats)) {
    return Error(absl::StatusCode::kFailedPrecondition, "METHOD_DIVERGED",
                 "the model gives NaN or infinity on kept text");
  }
  return nats / tokens;
}

void KeptText::Draw(size_t batch) {
  drawn_.clear();
  while (drawn_.size() < std::min(batch, retain_.size())) {
    if (next_ == order_.size()) {
      random_.Shuffle(order_);
      next_ = 0;
    }
    drawn_.push_back(order_[next_++]);
  }
}

absl::StatusOr<std::vector<StepPart>> KeptText::HoldParts(const Decoder& model, double weight,
                                                          BatchOptions options) const {
  std::vector<Sequence> chosen;
  for (const size_t i : drawn_) chosen.push_back(retain_[i]);
  options.on_host = true;
  LETHE_ASSIGN_OR_RETURN(const auto batches, MakeBatches(model, chosen, options));
  const at::Tensor labelled = at::scalar_tensor(LabelledTokens(chosen, options.labels), at::kFloat);
  std::vector<StepPart> parts;
  for (const LossBatch& batch : batches) {
    std::vector<float> reference;
    for (const size_t s : batch.sequences) {
      const std::vector<float>& row = reference_[drawn_[s]];
      reference.insert(reference.end(), row.begin(), row.end());
    }
    reference.resize(batch.targets.size(0), 0.0F);  // behind what counts: the loss there is 0 too
    StepPart part{.kind = "hold", .inputs = batch.Tensors()};
    const size_t own = part.inputs.size();
    part.inputs.push_back(at::tensor(reference, at::kFloat));
    part.inputs.push_back(labelled);
    part.inputs.push_back(at::scalar_tensor(weight, at::kFloat));
    part.loss = [&model, batch, own](std::span<const at::Tensor> inputs) {
      const at::Tensor nll = ComputeTokenLosses(model, batch.With(inputs)).nll;
      const at::Tensor hold = HoldLoss(nll, inputs[own], 1) / inputs[own + 1];
      return PartLoss{.slope_of = hold * inputs[own + 2], .value = hold};
    };
    parts.push_back(std::move(part));
  }
  return parts;
}

absl::Status KeptText::Probe(const Decoder& model) {
  for (ProbeSet* set : {&retain_probe_, &watch_probe_}) {
    set->previous = set->now;
    LETHE_ASSIGN_OR_RETURN(set->now, NllPerToken(model, *set));
  }
  return absl::OkStatus();
}

void KeptText::Revert() {
  for (ProbeSet* set : {&retain_probe_, &watch_probe_}) set->now = set->previous;
}

double KeptText::Share(double before, double now) {
  return before > 0 ? (now - before) / before : 0.0;
}

double KeptText::Rise() const {
  return std::max(0.0, Share(retain_probe_.before, retain_probe_.now));
}

double KeptText::Damage() const {
  return std::max(Rise(), std::abs(Share(watch_probe_.before, watch_probe_.now)));
}

absl::StatusOr<double> KeptText::ExactDamage(const Decoder& model) const {
  if (model.precision() == Precision::kFp32) return Damage();
  const Decoder exact = model.In(Precision::kFp32);
  LETHE_ASSIGN_OR_RETURN(const double retain, NllPerToken(exact, retain_probe_));
  LETHE_ASSIGN_OR_RETURN(const double watch, NllPerToken(exact, watch_probe_));
  return std::max(Share(retain_probe_.exactly_before, retain),
                  std::abs(Share(watch_probe_.exactly_before, watch)));
}

}  // namespace lethe
