// Where the sequences of a chunk stand on their way from memorised to unseen, and the stop rule
// that follows from it.
//
//   ForgetState state(sequences, thresholds, {.el_n = 10});
//   LETHE_RETURN_IF_ERROR(state.Measure(model));   // NLL and MA: one teacher-forced pass
//   LETHE_ASSIGN_OR_RETURN(bool low, state.UnderThresholds(model));   // EL only when MA is under
//
// Aims       each sequence as a whole; where sequence and thresholds know sensitive spans, the
//            spans beside it. An aim has a target in nats a token (the mean of unseen text of the
//            kind) and one in MA.
// Threads    none.
// Errors     as ScoreSequences and MeasureMemorisation; FAILED_PRECONDITION/METHOD_DIVERGED when a
//            likelihood is not finite.
#ifndef LETHE_ENGINE_UNLEARN_FORGET_STATE_H_
#define LETHE_ENGINE_UNLEARN_FORGET_STATE_H_

#include <algorithm>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/loss/sequence_loss.h"
#include "engine/model/decoder.h"
#include "engine/prepare.h"
#include "text/sequence.h"

namespace lethe {

struct Aim {
  double target = 0;     // nats a token
  double allowance = 0;  // nats a token above the target that are not yet an overshoot
  double ma_target = 0;
  double start = 0;  // nats a token at the first measurement
  double nll = 0;    // nats a token at the last
  double ma = 0;     // at the last
  bool Arrived() const { return nll >= target; }
  // What was beyond its target from the start has nothing to come back to.
  double Floor() const { return std::max(target, start); }
  double Ceiling() const { return Floor() + allowance / 4; }
  bool Overshot() const { return nll > Floor() + allowance; }
  // What is left of the way, as a share; 0: arrived.
  double Gap() const { return target > start ? std::max(0.0, target - nll) / (target - start) : 0; }
};

struct ForgetTarget {
  Aim whole;
  std::optional<Aim> spans;
};

struct ForgetRule {
  int el_n = 10;
  double overshoot_sds = 2;  // allowance, in standard deviations of unseen text
  // How far above the thresholds of MA and EL_n the means may be: those of a few sequences scatter
  // around those of unseen text.
  double slack = 0;
  // How far above the threshold of MA a single sequence may be; unseen ones scatter by as much.
  double worst_slack = 1;
  bool spans = true;  // sensitive spans have aims of their own; the paper knows none
};

class ForgetState {
 public:
  ForgetState(std::span<const Sequence> sequences, const ModelThresholds& thresholds,
              const ForgetRule& rule, Ranks* ranks = nullptr);

  // `hooks` see the batches of the pass, which has every labelled token.
  absl::Status Measure(const Decoder& model, const ScoreHooks& hooks = {});
  void Revert();  // to the measurement before the last: the step was taken back

  const std::vector<ForgetTarget>& targets() const { return targets_; }
  double MeanNll() const;  // of whole sequences
  double MeanMa() const;
  double MeanEl() const { return mean_el_; }  // of the last UnderThresholds; -1: not asked
  bool AllArrived() const;
  bool Overshot() const;    // some aim is beyond target and allowance, and was moved there
  double Distance() const;  // mean over aims of the gap, and of the MA above its target; 0: there

  // Jang et al.: mean MA and mean EL_n are below those of unseen text, here plus the slack; the MA
  // of the spans likewise.
  absl::StatusOr<bool> UnderThresholds(const Decoder& model);

  // The aim has arrived and its text is still the model's first choice too often: push the tokens
  // that are.
  bool StillChosen(const Aim& aim) const {
    return aim.Arrived() && (aim.ma > aim.ma_target || el_is_high_);
  }

 private:
  bool MaIsUnder() const;
  template <typename Visit>
  void ForEachAim(Visit visit) const;

  const std::span<const Sequence> sequences_;
  const ModelThresholds& thresholds_;
  const ForgetRule rule_;
  Ranks* const ranks_;  // who shares the measurements
  int el_n_ = 0;        // the n that is asked for; 0: no sequence is long enough
  std::vector<ForgetTarget> targets_, previous_;
  bool measured_ = false;
  double mean_el_ = -1;
  bool el_is_high_ = false;  // MA was under its threshold and EL was not
};

}  // namespace lethe

#endif  // LETHE_ENGINE_UNLEARN_FORGET_STATE_H_
