// The figures behind the report's pictures that no gate holds: curves over steps of training, what
// rounding brings back, how well the best membership attack tells.
//
//   for (const RelearnCurve& curve : RelearnCurves(m)) Draw(curve.steps, curve.forgotten_now);
//
// Threads    pure; any.
#ifndef LETHE_EVIDENCE_REPORT_CURVES_H_
#define LETHE_EVIDENCE_REPORT_CURVES_H_

#include <optional>
#include <string>
#include <vector>

#include "engine/condition.h"
#include "evidence/report_view.h"
#include "evidence/statistics.h"

namespace lethe::evidence {

// Mean scores of one attack after steps of training on one kind of text, from 0 where the attack
// also ran on the model as it is. The attack is the plan's first of the extraction or memorisation
// family that ran there; the control is that which was compared with.
struct RelearnCurve {
  Relearned text = Relearned::kHalf;
  std::string title;   // "half of the forgotten text"
  std::string attack;  // "Greedy extraction"
  bool judged = false;
  Values steps, forgotten_before, forgotten_now, control_before, control_now;  // one a stop
};
std::vector<RelearnCurve> RelearnCurves(const v1::Measurements& m);

// Steps until a curve first reaches `level`, on the straight lines between its stops; nothing when
// it never does.
std::optional<double> StepsTo(const Values& steps, const Values& scores, double level);

// How many more steps the candidate needs than text that it never saw until half comes out, in
// words. Below 0 it needs fewer: it had not forgotten.
std::string RelearningLead(const RelearnCurve& curve);

// What one rounding does to the mean score of one attack, "as it is" first.
struct RoundingRow {
  std::string title;  // "8 bits, groups of 128"
  double before = 0, now = 0, control = 0;
  std::optional<double> changed;  // share of weights whose code differs from the base's
};
struct RoundingTable {
  std::string attack;  // "Greedy extraction"; empty: nothing was rounded
  std::vector<RoundingRow> rows;
};
RoundingTable Roundings(const v1::Measurements& m);

// A membership attack on the model as it is.
struct MembershipRow {
  int attack = -1;
  std::string title;
  double before = 0, now = 0;                       // AUC
  std::optional<Interval> before_range, now_range;  // 95 %
  double tpr_before = 0, tpr_now = 0;               // at 1 % FPR
};
// In the plan's order; none without control.
std::vector<MembershipRow> MembershipRows(const v1::Measurements& m);

// The one with the highest AUC now; null where there is none.
const MembershipRow* BestMembership(const std::vector<MembershipRow>& rows);

}  // namespace lethe::evidence

#endif  // LETHE_EVIDENCE_REPORT_CURVES_H_
