// Where the sequences of a chunk stand on their way from memorised to unseen, and the stop rule that follows from it.
//
//   ForgetState state(sequences, thresholds, el_n);
//   LETHE_RETURN_IF_ERROR(state.Measure(model));      // one teacher-forced pass over the chunk: NLL and MA
//   LETHE_ASSIGN_OR_RETURN(bool low, state.UnderThresholds(model));   // EL only when MA is under: it costs roll-outs
//
// Target     tau_b = the mean NLL a token of unseen text of the kind; where sequence and thresholds know sensitive spans, the spans
//            have a target of their own beside the whole.
// Threads    none.
#ifndef LETHE_ENGINE_UNLEARN_FORGET_STATE_H_
#define LETHE_ENGINE_UNLEARN_FORGET_STATE_H_

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/loss/sequence_loss.h"
#include "engine/model/decoder.h"
#include "engine/prepare.h"
#include "text/sequence.h"

namespace lethe {

// One thing that has to reach its target: a whole sequence, or its spans.
struct Aim {
  double target = 0;     // nats a token
  double allowance = 0;  // nats a token above the target that are not yet an overshoot
  double start = 0;      // nats a token at the first measurement
  double nll = 0;        // nats a token at the last
  bool Arrived() const { return nll >= target; }
  // A sequence that was beyond its target from the start has nothing to come back to.
  double Floor() const { return std::max(target, start); }
  double Ceiling() const { return Floor() + allowance / 2; }
  bool Overshot() const { return nll > Floor() + allowance; }
  double Gap() const { return target - nll; }
};

struct ForgetTarget {
  Aim whole;
  std::optional<Aim> spans;
  double ma = 0;  // at the last measurement
  bool Arrived() const { return whole.Arrived() && (!spans.has_value() || spans->Arrived()); }
};

class ForgetState {
 public:
  // `overshoot_sds`: allowance in standard deviations of unseen text. `slack`: how far above the thresholds of MA and EL_n is still
  // under them; the means of a few sequences scatter around those of unseen text.
  ForgetState(std::span<const Sequence> sequences, const ModelThresholds& thresholds, int el_n,
              double overshoot_sds, double slack);

  absl::Status Measure(const Decoder& model);
  void Revert();  // to the measurement before the last: the step was taken back

  const std::vector<ForgetTarget>& targets() const { return targets_; }
  double MeanNll() const;
  double MeanMa() const;
  double MeanEl() const { return mean_el_; }  // of the last UnderThresholds; -1: not asked
  bool AllArrived() const;
  bool Overshot() const;  // some aim is beyond target and allowance, and was moved there
  double MeanGap()
      const;  // mean over aims of what is left, as a share of what was to go at the start; 0: all arrived

  // Jang et al.: mean MA and mean EL_n are below those of unseen text, here plus the slack.
  absl::StatusOr<bool> UnderThresholds(const Decoder& model);

  // All have arrived and still look memorised: moves the targets of those with the highest MA up a little. False when they have been
  // moved as far as it is sensible (two standard deviations).
  bool RaiseTargets();

 private:
  const std::span<const Sequence> sequences_;
  const ModelThresholds& thresholds_;
  const double slack_;
  int el_n_ = 0;  // the n that is asked for; 0: no sequence is long enough
  std::vector<ForgetTarget> targets_, previous_;
  bool measured_ = false;
  double mean_el_ = -1;
  double raised_sds_ = 0;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_UNLEARN_FORGET_STATE_H_
