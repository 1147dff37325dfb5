#include "engine/unlearn/forget_state.h"

#include <algorithm>

#include "engine/metric/memorisation.h"
#include "engine/metric/span_score.h"

namespace lethe {
namespace {

// The n to ask for: the wanted one, or the largest smaller one that was measured on unseen text and fits the shortest sequence.
int FittingN(std::span<const Sequence> sequences, const ModelThresholds& thresholds, int wanted) {
  size_t shortest = SIZE_MAX;  // tokens behind the first prefix
  for (const Sequence& sequence : sequences) {
    shortest = std::min(shortest, sequence.ids.size() - static_cast<size_t>(FirstScored(sequence)));
  }
  int best = 0;
  for (const auto& [n, el] : thresholds.el) {
    if (n <= wanted && static_cast<size_t>(n) <= shortest) best = std::max(best, n);
  }
  return best;
}

// A mean cannot be below one that is zero: then it has to be zero as well.
bool Under(double value, double threshold) { return value < threshold || value == 0; }

}  // namespace

ForgetState::ForgetState(std::span<const Sequence> sequences, const ModelThresholds& thresholds,
                         int el_n, double overshoot_sds, double slack)
    : sequences_(sequences),
      thresholds_(thresholds),
      slack_(slack),
      el_n_(FittingN(sequences, thresholds, el_n)) {
  for (const Sequence& sequence : sequences) {
    ForgetTarget target;
    target.whole.target = thresholds.nll_mean;
    target.whole.allowance = overshoot_sds * thresholds.nll_sd;
    if (thresholds.span_nll_mean > 0 && !SpanEntries(sequence).empty()) {
      target.spans = Aim{.target = thresholds.span_nll_mean,
                         .allowance = overshoot_sds * thresholds.span_nll_sd};
    }
    targets_.push_back(target);
  }
}

absl::Status ForgetState::Measure(const Decoder& model) {
  LETHE_ASSIGN_OR_RETURN(const auto scores, ScoreSequences(model, sequences_));
  previous_ = targets_;
  for (size_t i = 0; i < scores.size(); ++i) {
    ForgetTarget& target = targets_[i];
    target.ma = scores[i].HitRate();
    target.whole.nll = scores[i].MeanNll();
    if (target.spans.has_value()) target.spans->nll = *SpanNll(sequences_[i], scores[i]);
    if (measured_) continue;
    target.whole.start = target.whole.nll;
    if (target.spans.has_value()) target.spans->start = target.spans->nll;
  }
  measured_ = true;
  mean_el_ = -1;
  return absl::OkStatus();
}

void ForgetState::Revert() { targets_ = previous_; }

double ForgetState::MeanNll() const {
  double sum = 0;
  for (const ForgetTarget& target : targets_) sum += target.whole.nll;
  return sum / static_cast<double>(targets_.size());
}

double ForgetState::MeanMa() const {
  double sum = 0;
  for (const ForgetTarget& target : targets_) sum += target.ma;
  return sum / static_cast<double>(targets_.size());
}

bool ForgetState::AllArrived() const {
  return std::all_of(targets_.begin(), targets_.end(),
                     [](const ForgetTarget& target) { return target.Arrived(); });
}

bool ForgetState::Overshot() const {
  return std::any_of(targets_.begin(), targets_.end(), [](const ForgetTarget& target) {
    return target.whole.Overshot() || (target.spans.has_value() && target.spans->Overshot());
  });
}

double ForgetState::MeanGap() const {
  double sum = 0;
  int count = 0;
  const auto add = [&](const Aim& aim) {
    const double way = aim.target - aim.start;
    sum += way > 0 ? std::max(0.0, aim.Gap()) / way : 0;
    ++count;
  };
  for (const ForgetTarget& target : targets_) {
    add(target.whole);
    if (target.spans.has_value()) add(*target.spans);
  }
  return sum / count;
}

absl::StatusOr<bool> ForgetState::UnderThresholds(const Decoder& model) {
  if (!Under(MeanMa(), thresholds_.ma + slack_)) return false;
  if (el_n_ == 0) return true;
  LETHE_ASSIGN_OR_RETURN(const auto measured,
                         MeasureMemorisation(model, sequences_, {.el_n = {el_n_}}));
  double sum = 0;
  for (const Memorisation& m : measured) sum += m.el.at(el_n_);
  mean_el_ = sum / static_cast<double>(measured.size());
  return Under(mean_el_, thresholds_.el.at(el_n_) + slack_);
}

bool ForgetState::RaiseTargets() {
  static constexpr double kStep = 0.25, kMost = 2;
  if (raised_sds_ >= kMost) return false;
  raised_sds_ += kStep;
  for (ForgetTarget& target : targets_) {
    if (target.ma < thresholds_.ma) continue;
    target.whole.target += kStep * thresholds_.nll_sd;
    if (target.spans.has_value()) target.spans->target += kStep * thresholds_.span_nll_sd;
  }
  return true;
}

}  // namespace lethe
