#include "evidence/report_view.h"

#include <cmath>
#include <limits>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "base/status.h"

namespace lethe::evidence {
namespace {

struct Words {
  const char* figure;
  std::string before, after, control_before, control_after;
};

// The figures behind a comparison's gate.
Words FiguresOf(const Comparison& c) {
  const Values& f0 = c.before.forgotten;
  const Values& f1 = c.after.forgotten;
  const Shape& c0 = c.before.control;
  const Shape& c1 = c.after.control;
  switch (c.rule) {
    case Rule::kMean:
      return {"mean", Figure(Mean(f0)), Figure(Mean(f1)), Figure(c0.mean), Figure(c1.mean)};
    case Rule::kWorst:
      return {"worst / 95th pct", Figure(Largest(f0)), Figure(Largest(f1)), Figure(c0.p95),
              Figure(c1.p95)};
    case Rule::kMember:
      return {"AUC, too familiar", Figure(Auc(f0, c0.values)), Figure(Auc(f1, c1.values)), "", ""};
    case Rule::kNonmember:
      return {"AUC, too strange", Figure(Auc(f0, c0.values)), Figure(Auc(f1, c1.values)), "", ""};
    case Rule::kLikely:
      return {"least NLL / mean", Figure(Smallest(f0)), Figure(Smallest(f1)), Figure(c0.mean),
              Figure(c1.mean)};
    case Rule::kUnlikely:
      return {"most NLL / mean", Figure(Largest(f0)), Figure(Largest(f1)), Figure(c0.mean),
              Figure(c1.mean)};
  }
  return {};
}

GateRow RowOf(const v1::Gate& gate) {
  GateRow row;
  row.gate = gate;
  row.subject = gate.name();
  row.limit = absl::StrCat(gate.at_least() ? "≥ " : "≤ ", Figure(gate.limit()));
  return row;
}

std::string ParametersOf(const v1::AttackResult& attack) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : Sorted(attack.parameters())) {
    parts.push_back(absl::StrCat(name, " ", Parameter(value)));
  }
  return absl::StrJoin(parts, ", ");
}

// A failure counts first; then what would have failed before and holds now.
Standing StandingOf(const std::vector<GateRow>& rows) {
  if (rows.empty()) return Standing::kNotJudged;
  bool power = false;
  for (const GateRow& row : rows) {
    if (row.gate.result() == v1::GATE_RESULT_FAIL) return Standing::kFail;
    power |=
        row.gate.result() == v1::GATE_RESULT_PASS && row.gate.failure() != v1::OUTCOME_DESTROYED;
  }
  return power ? Standing::kPass : Standing::kNoPower;
}

void FillFigures(const v1::AttackResult& a, AttackView& view) {
  const Values f0 = ValuesOf(a.forgotten().before()), f1 = ValuesOf(a.forgotten().after());
  const Values c0 = ValuesOf(a.control().before()), c1 = ValuesOf(a.control().after());
  if (a.family() == v1::ATTACK_FAMILY_MEMBERSHIP) {
    if (c1.empty()) return;
    view.before = Figure(Auc(f0, c0));
    view.after = Figure(Auc(f1, c1));
    // A score that only rules out training under a condition does not look below 0.5.
    view.excess = a.condition().empty() ? std::abs(Auc(f1, c1) - 0.5) : Auc(f1, c1) - 0.5;
    return;
  }
  view.before = Figure(Mean(f0));
  view.after = Figure(Mean(f1));
  if (c1.empty()) return;
  view.control_before = Figure(Mean(c0));
  view.control_after = Figure(Mean(c1));
  view.excess = Mean(f1) - Mean(c1);
}

AttackView LikelihoodView(const v1::Measurements& m) {
  AttackView view{.attack = -1, .title = "Likelihood", .name = "Likelihood"};
  view.before = Figure(Mean(ValuesOf(m.forgotten_nll().before())));
  view.after = Figure(Mean(ValuesOf(m.forgotten_nll().after())));
  if (m.control_nll().after().empty()) return view;
  view.control_before = Figure(Mean(ValuesOf(m.control_nll().before())));
  view.control_after = Figure(Mean(ValuesOf(m.control_nll().after())));
  return view;
}

void FillAttacks(const std::map<std::string, v1::Gate>& gates, ReportView& view) {
  const v1::Measurements& m = view.m();
  for (int i = 0; i < m.attacks_size(); ++i) {
    AttackView attack{.attack = i, .title = Title(AttackLabel(m, i))};
    const auto condition = ParseCondition(m.attacks(i).condition());
    if (condition.ok()) attack.condition = *condition;
    // The number of an attack that ran before with other parameters stands behind the condition.
    const std::string label = AttackLabel(m, i);
    const size_t number = label.find('#');
    attack.name = Title(m.attacks(i).attack()) +
                  (number == std::string::npos ? "" : " " + label.substr(number));
    attack.parameters = ParametersOf(m.attacks(i));
    FillFigures(m.attacks(i), attack);
    view.attacks.push_back(std::move(attack));
  }
  view.attacks.push_back(LikelihoodView(m));
  for (const Comparison& c : Comparisons(m)) {
    const auto gate = gates.find(c.name);
    if (gate == gates.end()) continue;
    GateRow row = RowOf(gate->second);
    const Words words = FiguresOf(c);
    row.subject = c.title;
    row.figure = words.figure;
    row.forgotten_before = words.before;
    row.forgotten_after = words.after;
    row.control_before = words.control_before;
    row.control_after = words.control_after;
    AttackView& attack =
        c.attack < 0 ? view.attacks.back() : view.attacks[static_cast<size_t>(c.attack)];
    attack.rows.push_back(std::move(row));
  }
  for (AttackView& attack : view.attacks) attack.standing = StandingOf(attack.rows);
}

// Control's own likelihood and scores, then each set of text.
void FillCollateral(const v1::Gate& gate, ReportView& view) {
  GateRow row = RowOf(gate);
  const std::string& name = gate.name();
  const v1::Measurements& m = view.m();
  if (name == "collateral.control.nll") {
    row.subject = "Unseen control";
    row.figure = "NLL a token";
    row.control_before =
        Figure(Mean(Values(m.control_nll().before().begin(), m.control_nll().before().end())));
    row.control_after =
        Figure(Mean(Values(m.control_nll().after().begin(), m.control_nll().after().end())));
  }
  for (int i = 0; i < m.attacks_size(); ++i) {
    if (name != absl::StrCat("collateral.control.", AttackLabel(m, i))) continue;
    const v1::BeforeAfter& c = m.attacks(i).control();
    row.subject = "Unseen control";
    row.figure = Title(AttackLabel(m, i));
    row.control_before = Figure(Mean(Values(c.before().begin(), c.before().end())));
    row.control_after = Figure(Mean(Values(c.after().begin(), c.after().end())));
  }
  for (const v1::TextUtility& u : m.utility()) {
    if (name != absl::StrCat("collateral.text.", u.name())) continue;
    row.subject = absl::StrCat(u.name(), u.role() == v1::TEXT_ROLE_RETAIN    ? " (to keep)"
                                         : u.role() == v1::TEXT_ROLE_CONTROL ? " (unseen)"
                                                                             : " (other)");
    row.figure = "NLL a token";
    row.control_before = Figure(u.nll_before());
    row.control_after = Figure(u.nll_after());
  }
  view.collateral.push_back(std::move(row));
}

}  // namespace

absl::StatusOr<ReportView> ViewOf(const v1::VerificationReport& report) {
  ReportView view;
  LETHE_ASSIGN_OR_RETURN(view.check, CheckReport(report));
  if (report.has_create_time()) {
    view.created = absl::FormatTime("%Y-%m-%d %H:%M:%S UTC",
                                    absl::FromUnixSeconds(report.create_time().seconds()),
                                    absl::UTCTimeZone());
  }
  std::map<std::string, v1::Gate> gates;
  for (const v1::Gate& gate : view.check.verdict.gates()) {
    gates[gate.name()] = gate;
    const std::string room = gate.name().substr(0, gate.name().find('.'));
    if (room == "measured") view.measured.push_back(RowOf(gate));
    if (room == "collateral") FillCollateral(gate, view);
    if (room == "tickets") view.ticket_gates.push_back(RowOf(gate));
  }
  FillAttacks(gates, view);
  return view;
}

std::string_view OutcomeWord(v1::Outcome outcome) {
  switch (outcome) {
    case v1::OUTCOME_PASS:
      return "PASS";
    case v1::OUTCOME_NOT_FORGOTTEN:
      return "NOT FORGOTTEN";
    case v1::OUTCOME_DESTROYED:
      return "DESTROYED";
    case v1::OUTCOME_INCONCLUSIVE:
      return "INCONCLUSIVE";
    case v1::OUTCOME_HIDDEN:
      return "HIDDEN";
    default:
      return "UNKNOWN";
  }
}

std::string ShortTitle(const ModelCondition& condition) {
  switch (condition.kind) {
    case ModelCondition::Kind::kAsIs:
      return "as it is";
    case ModelCondition::Kind::kRelearned:
      return absl::StrCat(condition.steps, condition.steps == 1 ? " step" : " steps");
    case ModelCondition::Kind::kQuantised:
      return absl::StrCat(condition.bits, " bits",
                          condition.group > 0 ? absl::StrCat(", by ", condition.group) : "");
  }
  return "";
}

std::string_view StandingWord(Standing standing) {
  switch (standing) {
    case Standing::kFail:
      return "fail";
    case Standing::kPass:
      return "pass";
    case Standing::kNoPower:
      return "no power";
    case Standing::kNotJudged:
      return "not judged";
    case Standing::kLeftOut:
      return "left out";
    case Standing::kNotTried:
      return "not tried";
  }
  return "unknown";
}

std::string_view ResultWord(v1::GateResult result) {
  switch (result) {
    case v1::GATE_RESULT_PASS:
      return "pass";
    case v1::GATE_RESULT_FAIL:
      return "FAIL";
    case v1::GATE_RESULT_NO_POWER:
      return "no power";
    default:
      return "unknown";
  }
}

std::string_view OutcomeMeaning(v1::Outcome outcome) {
  switch (outcome) {
    case v1::OUTCOME_PASS:
      return "The candidate may take the place of the model. The attacks below were run on the "
             "model "
             "before and after unlearning, and on comparable text that it never saw. None of those "
             "that are judged tells the forgotten text from never-seen text now, and the model "
             "kept "
             "its quality on other text.";
    case v1::OUTCOME_NOT_FORGOTTEN:
      return "The candidate must not take the place of the model. At least one attack still gets "
             "more "
             "out of the text that should be forgotten than out of comparable text that the model "
             "never "
             "saw.";
    case v1::OUTCOME_HIDDEN:
      return "The candidate must not take the place of the model. Asked plainly, it no longer says "
             "the forgotten text, but whoever looks deeper still tells it from text that the model "
             "never saw: by asking often or in other words, by rounding the weights, by a few "
             "steps of training, or by its likelihoods. It was hidden, not forgotten.";
    case v1::OUTCOME_DESTROYED:
      return "The candidate must not take the place of the model. Unlearning went too far: either "
             "other text of the same kind, or text to keep, suffered, or the forgotten text became "
             "so "
             "strangely unlikely that this itself gives away what was deleted.";
    default:
      return "The candidate must not take the place of the model on this evidence. Nothing failed, "
             "but "
             "the measurements are too weak to show that the text is gone and nothing else is "
             "harmed.";
  }
}

int64_t SumOf(int64_t a, int64_t b) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  return a > kMost - b ? kMost : a + b;
}

std::string Grouped(int64_t number) {
  const std::string digits = absl::StrCat(number < 0 ? -number : number);
  std::string out = number < 0 ? "-" : "";
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

std::string Parameter(double value) { return absl::StrFormat("%.6g", value); }

}  // namespace lethe::evidence
