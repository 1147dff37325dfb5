#include "engine/unlearn/forget_state.h"

#include <algorithm>
#include <cmath>

#include "engine/metric/memorisation.h"
#include "engine/metric/span_score.h"

namespace lethe {
namespace {

// The n to ask for: the wanted one, or the largest smaller one that was measured on unseen text and
// fits the shortest sequence.
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
                         const ForgetRule& rule, Ranks* ranks)
    : sequences_(sequences),
      thresholds_(thresholds),
      rule_(rule),
      ranks_(ranks),
      el_n_(FittingN(sequences, thresholds, rule.el_n)) {
  for (const Sequence& sequence : sequences) {
    ForgetTarget target;
    target.whole = {.target = thresholds.nll_mean,
                    .allowance = rule.overshoot_sds * thresholds.nll_sd,
                    .ma_target = thresholds.ma};
    if (rule.spans && thresholds.span_nll_mean > 0 && !SpanEntries(sequence).empty()) {
      target.spans = Aim{.target = thresholds.span_nll_mean,
                         .allowance = rule.overshoot_sds * thresholds.span_nll_sd,
                         .ma_target = thresholds.span_ma};
    }
    targets_.push_back(target);
  }
}

absl::Status ForgetState::Measure(const Decoder& model, const ScoreHooks& hooks) {
  LETHE_ASSIGN_OR_RETURN(const auto scores,
                         ScoreSequences(model, sequences_, {.ranks = ranks_}, hooks));
  for (const SequenceScore& score : scores) {
    // NaN compares as false with every threshold: it must not get as far as a comparison.
    if (!std::isfinite(score.total_nll)) {
      return Error(absl::StatusCode::kFailedPrecondition, "METHOD_DIVERGED",
                   "the model gives NaN or infinity on what is to be forgotten");
    }
  }
  previous_ = targets_;
  const auto note = [this](Aim& aim, double nll, double ma) {
    aim.nll = nll;
    aim.ma = ma;
    if (!measured_) aim.start = nll;
  };
  for (size_t i = 0; i < scores.size(); ++i) {
    ForgetTarget& target = targets_[i];
    note(target.whole, scores[i].MeanNll(), scores[i].HitRate());
    if (!target.spans.has_value()) continue;
    note(*target.spans, *SpanNll(sequences_[i], scores[i]), *SpanHitRate(sequences_[i], scores[i]));
  }
  measured_ = true;
  mean_el_ = -1;
  return absl::OkStatus();
}

void ForgetState::Revert() { targets_ = previous_; }

template <typename Visit>
void ForgetState::ForEachAim(Visit visit) const {
  for (const ForgetTarget& target : targets_) {
    visit(target.whole);
    if (target.spans.has_value()) visit(*target.spans);
  }
}

double ForgetState::MeanNll() const {
  double sum = 0;
  for (const ForgetTarget& target : targets_) sum += target.whole.nll;
  return sum / static_cast<double>(targets_.size());
}

double ForgetState::MeanMa() const {
  double sum = 0;
  for (const ForgetTarget& target : targets_) sum += target.whole.ma;
  return sum / static_cast<double>(targets_.size());
}

bool ForgetState::AllArrived() const {
  bool all = true;
  ForEachAim([&](const Aim& aim) { all &= aim.Arrived(); });
  return all;
}

bool ForgetState::Overshot() const {
  bool any = false;
  ForEachAim([&](const Aim& aim) { any |= aim.Overshot(); });
  return any;
}

double ForgetState::Distance() const {
  double sum = 0;
  int count = 0;
  ForEachAim([&](const Aim& aim) {
    sum += aim.Gap() + std::max(0.0, aim.ma - aim.ma_target);
    ++count;
  });
  return sum / count;
}

bool ForgetState::MaIsUnder() const {
  double span_sum = 0;
  int spans = 0;
  bool worst_is_under = true;
  ForEachAim(
      [&](const Aim& aim) { worst_is_under &= aim.ma <= aim.ma_target + rule_.worst_slack; });
  for (const ForgetTarget& target : targets_) {
    if (!target.spans.has_value()) continue;
    span_sum += target.spans->ma;
    ++spans;
  }
  return worst_is_under && Under(MeanMa(), thresholds_.ma + rule_.slack) &&
         (spans == 0 || Under(span_sum / spans, thresholds_.span_ma + rule_.slack));
}

absl::StatusOr<bool> ForgetState::UnderThresholds(const Decoder& model) {
  if (thresholds_.sequences == 0) return false;  // none were measured
  if (!MaIsUnder()) return false;
  if (el_n_ == 0) return true;
  LETHE_ASSIGN_OR_RETURN(const auto measured,
                         MeasureMemorisation(model, sequences_, {.el_n = {el_n_}}));
  double sum = 0;
  for (const Memorisation& m : measured) sum += m.el.at(el_n_);
  mean_el_ = sum / static_cast<double>(measured.size());
  el_is_high_ = !Under(mean_el_, thresholds_.el.at(el_n_) + rule_.slack);
  return !el_is_high_;
}

}  // namespace lethe
