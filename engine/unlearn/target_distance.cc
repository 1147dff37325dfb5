#include "engine/unlearn/target_distance.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>
#include <string>

namespace lethe {
namespace {

// The largest sum over neighbouring entries (Kadane).
double BestPassage(const DistillationAim& aim, const SequenceScore& score) {
  const float* own = aim.targets.own.const_data_ptr<float>();
  double best = 0, here = 0;
  for (size_t i = 0; i < aim.entries.size(); ++i) {
    if (i > 0 && aim.entries[i] != aim.entries[i - 1] + 1) here = 0;
    here = std::max(0.0, here) - score.nll[aim.entries[i]] - own[i];
    best = std::max(best, here);
  }
  return best;
}

}  // namespace

ScoreHooks TargetDistance::Hooks(const Decoder& model) {
  previous_ = now_;
  for (Figures& figures : now_) figures.read = false;
  return {.also = [this, &model](const LossBatch& batch, const at::Tensor& hidden,
                                 std::span<const SequenceScore> scores) {
    Read(model, batch, hidden, scores);
  }};
}

// hidden (N,D): of all labelled tokens of the batch, aimed at or not.
void TargetDistance::Read(const Decoder& model, const LossBatch& batch, const at::Tensor& hidden,
                          std::span<const SequenceScore> scores) {
  int64_t first = 0;
  for (size_t b = 0; b < batch.sequences.size(); ++b) {
    const DistillationAim& aim = aims_[batch.sequences[b]];
    std::vector<int64_t> rows;
    for (const size_t entry : aim.entries) rows.push_back(first + static_cast<int64_t>(entry));
    first += batch.labelled[b];
    const at::Device device = hidden.device();
    const SoftLabels labels = {aim.targets.ids.to(device, at::kLong),
                               aim.targets.probabilities.to(device), aim.targets.rest.to(device)};
    const at::Tensor some = hidden.index_select(0, at::tensor(rows, at::kLong).to(device));
    const at::Tensor kl =
        SoftOutputLoss(some, model.OutputWeight(), labels).cpu() - aim.targets.entropy;
    now_[batch.sequences[b]] = {.kl = std::max(0.0, kl.mean().item<double>()),
                                .passage = BestPassage(aim, scores[batch.sequences[b]]),
                                .read = true};
  }
}

absl::Status TargetDistance::Share() {
  if (ranks_ != nullptr) {
    const std::string mine(reinterpret_cast<const char*>(now_.data()),
                           now_.size() * sizeof(Figures));
    LETHE_ASSIGN_OR_RETURN(const std::vector<std::string> all, ranks_->Gather(mine));
    for (const std::string& bytes : all) {
      std::vector<Figures> theirs(now_.size());
      if (bytes.size() != mine.size()) continue;  // the ranks' own check says what is wrong
      bytes.copy(reinterpret_cast<char*>(theirs.data()), bytes.size());
      for (size_t i = 0; i < theirs.size(); ++i) {
        if (theirs[i].read) now_[i] = theirs[i];
      }
    }
  }
  for (const Figures& figures : now_) {
    if (figures.read && std::isfinite(figures.kl) && std::isfinite(figures.passage)) continue;
    return Error(absl::StatusCode::kFailedPrecondition, "METHOD_DIVERGED",
                 "the distance of the model from its teachers is NaN or infinity");
  }
  return absl::OkStatus();
}

absl::Status TargetDistance::Measure(const Decoder& model) {
  std::vector<Sequence> sequences;
  for (const DistillationAim& aim : aims_) sequences.push_back(aim.sequence);
  LETHE_RETURN_IF_ERROR(ScoreSequences(model, sequences, {.ranks = ranks_}, Hooks(model)).status());
  return Share();
}

double TargetDistance::MeanKl() const {
  double sum = 0;
  for (const Figures& figures : now_) sum += figures.kl;
  return sum / static_cast<double>(now_.size());
}

double TargetDistance::WorstKl() const {
  double worst = 0;
  for (const Figures& figures : now_) worst = std::max(worst, figures.kl);
  return worst;
}

double TargetDistance::WorstPassage() const {
  double worst = 0;
  for (const Figures& figures : now_) worst = std::max(worst, figures.passage);
  return worst;
}

}  // namespace lethe
