// How firmly kept text is held while something else is forgotten: it follows what has been lost.
//
//   HoldControl control(/*limit=*/0.05);
//   control.Note(kept.Rise(), kept.Damage());       // once before each step
//   if (control.MayPush()) { ... }
//   weight = retain_weight * control.firmness();
//
// Intuition  no weight of the hold fits every model: one that is too heavy drowns the push in the
//            noise of its own gradient, and the run ends before it arrives; under one that is too
//            light kept text goes. So the weight rises while kept text suffers, and falls while it
//            does not.
// Rule       rise above limit / 2     firmness x 1.15, up to 1; no push: the step is the hold's
//                                     alone, and mends
//            rise below limit / 4     firmness / 1.05, down to 1/8
//            damage above limit       no push
//            damage above 2 limit     the step goes too far: the caller takes it back
//            Rise is what retain text has lost. Damage is also what unseen text has moved, against
//            which a hold of the retain text helps little.
// Threads    none.
#ifndef LETHE_ENGINE_UNLEARN_HOLD_CONTROL_H_
#define LETHE_ENGINE_UNLEARN_HOLD_CONTROL_H_

#include <algorithm>

namespace lethe {

class HoldControl {
 public:
  // `limit`: the share of its likelihood that kept text may lose.
  explicit HoldControl(double limit) : limit_(limit) {}

  void Note(double rise, double damage) {
    may_push_ = rise <= limit_ / 2 && damage <= limit_;
    if (rise > limit_ / 2) firmness_ = std::min(firmness_ * 1.15, 1.0);
    if (rise < limit_ / 4) firmness_ = std::max(firmness_ / 1.05, 1.0 / 8);
  }

  double firmness() const { return firmness_; }
  bool MayPush() const { return may_push_; }

  // Whether a step that gave this damage leaves room for a larger one.
  bool LeavesRoom(double damage) const { return damage < limit_ / 2; }
  bool TooFar(double damage) const { return damage > 2 * limit_; }

 private:
  const double limit_;
  bool may_push_ = true;
  double firmness_ = 1;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_UNLEARN_HOLD_CONTROL_H_
