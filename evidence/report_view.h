// What a report shows, arranged for tables and pages: both renderers read
// this, so they cannot tell different stories.
//
// Everything is recomputed from measurements and policy; what the report
// claims otherwise stands in `differences`.
//
// Threads    pure; any.
#ifndef LETHE_EVIDENCE_REPORT_VIEW_H_
#define LETHE_EVIDENCE_REPORT_VIEW_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/condition.h"
#include "evidence/comparison.h"
#include "evidence/report.h"

namespace lethe::evidence {

// One gate with the figures that it came from. Empty strings: not of this gate.
struct GateRow {
  v1::Gate gate;
  std::string subject;  // "Greedy extraction"
  std::string figure;   // "mean", "worst", "AUC"
  std::string forgotten_before, forgotten_after;
  std::string control_before, control_after;
  std::string limit;  // "<= 0.210"
};

// How one attempt, or a family of them, came out.
enum class Standing { kFail, kPass, kNoPower, kNotJudged, kLeftOut, kNotTried };

// An attack, or the likelihoods (attack is -1), with its gates.
struct AttackView {
  int attack = -1;
  std::string title;          // with the condition: "Greedy extraction, rounded to 4 bits"
  std::string name;           // without: "Greedy extraction"
  ModelCondition condition;   // of the model
  std::string parameters;     // "prefix_share 0.5, samples 64"; empty when none
  std::vector<GateRow> rows;  // empty: measured and shown, not judged
  Standing standing = Standing::kNotJudged;
  // The figure that tables show: the mean score, or the AUC. Control is empty for an AUC.
  std::string before, after, control_before, control_after;
  double excess = 0;  // how far the forgotten stands out from control now: orders attacks
};

struct ReportView {
  ReportCheck check;
  std::string created;            // "2026-11-23 20:30:15 UTC"; empty when the report names no time
  std::vector<GateRow> measured;  // what was measured at all
  std::vector<AttackView> attacks;    // in their order, then the likelihoods
  std::vector<GateRow> collateral;    // other text
  std::vector<GateRow> ticket_gates;  // tickets judged alone
  const v1::Measurements& m() const { return check.measurements; }
};

absl::StatusOr<ReportView> ViewOf(const v1::VerificationReport& report);

// "PASS", "NOT FORGOTTEN", "DESTROYED", "INCONCLUSIVE".
std::string_view OutcomeWord(v1::Outcome outcome);

// "pass", "FAIL", "no power".
std::string_view ResultWord(v1::GateResult result);

// "pass", "fail", "no power", "not judged", "left out", "not tried".
std::string_view StandingWord(Standing standing);

// A condition as columns head it: "as it is", "4 bits, by 128", "20 steps".
std::string ShortTitle(const ModelCondition& condition);

// What an outcome means for whoever filed the ticket, two or three plain sentences.
std::string_view OutcomeMeaning(v1::Outcome outcome);

// A number as people write parameters: 5e-05, 0.98, 64.
std::string Parameter(double value);

// Whole numbers in groups: 1,234,567.
std::string Grouped(int64_t number);

template <typename List>
Values ValuesOf(const List& list) {
  return Values(list.begin(), list.end());
}

// "learning_rate 5e-05, max_steps 40", by name; for a map of numbers.
template <typename Map>
std::vector<std::pair<std::string, typename Map::mapped_type>> Sorted(const Map& map) {
  std::vector<std::pair<std::string, typename Map::mapped_type>> out(map.begin(), map.end());
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace lethe::evidence

#endif  // LETHE_EVIDENCE_REPORT_VIEW_H_
