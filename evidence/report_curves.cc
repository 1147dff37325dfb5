#include "evidence/report_curves.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "evidence/report_view.h"

namespace lethe::evidence {
namespace {

constexpr double kHalf = 0.5;
constexpr double kFalsePositives = 0.01;

bool IsScored(const v1::AttackResult& a) {
  return a.family() == v1::ATTACK_FAMILY_EXTRACTION || a.family() == v1::ATTACK_FAMILY_MEMORISATION;
}

// The first result of an attack under a condition; null where it did not run there.
const v1::AttackResult* ResultOf(const v1::Measurements& m, const std::string& attack,
                                 const std::string& condition) {
  for (const v1::AttackResult& a : m.attacks()) {
    if (a.attack() == attack && a.condition() == condition) return &a;
  }
  return nullptr;
}

// The mean of control that `like` was compared with.
template <typename List>
double ControlMean(const List& control, const v1::AttackResult& like) {
  if (like.control_indexes().empty()) return Mean(ValuesOf(control));
  Values some;
  for (const int i : like.control_indexes()) some.push_back(control.Get(i));
  return Mean(std::move(some));
}

void AddStop(double steps, const v1::AttackResult& a, const v1::AttackResult& like,
             RelearnCurve& curve) {
  const bool whole = &a != &like;  // of a stop itself, control is already what was compared with
  curve.steps.push_back(steps);
  curve.forgotten_before.push_back(Mean(ValuesOf(a.forgotten().before())));
  curve.forgotten_now.push_back(Mean(ValuesOf(a.forgotten().after())));
  if (a.control().after().empty()) return;
  curve.control_before.push_back(whole ? ControlMean(a.control().before(), like)
                                       : Mean(ValuesOf(a.control().before())));
  curve.control_now.push_back(whole ? ControlMean(a.control().after(), like)
                                    : Mean(ValuesOf(a.control().after())));
}

std::optional<RelearnCurve> CurveOf(const v1::Measurements& m, Relearned text) {
  std::vector<std::pair<int, const v1::AttackResult*>> stops;
  for (const v1::AttackResult& a : m.attacks()) {
    const auto condition = ParseCondition(a.condition());
    if (!condition.ok() || condition->kind != ModelCondition::Kind::kRelearned ||
        condition->text != text || !IsScored(a)) {
      continue;
    }
    if (!stops.empty() && a.attack() != stops[0].second->attack()) continue;
    stops.push_back({condition->steps, &a});
  }
  if (stops.empty()) return std::nullopt;
  std::stable_sort(stops.begin(), stops.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  const v1::AttackResult& first = *stops[0].second;
  RelearnCurve curve{.text = text, .attack = Title(first.attack())};
  curve.judged = !first.report_only();
  const v1::AttackResult* as_it_is = ResultOf(m, first.attack(), "");
  if (as_it_is != nullptr && as_it_is->control_indexes().empty()) {
    AddStop(0, *as_it_is, first, curve);
  }
  for (const auto& [steps, a] : stops) {
    if (curve.steps.empty() || steps > curve.steps.back()) AddStop(steps, *a, *a, curve);
  }
  return curve;
}

const char* TitleOf(Relearned text) {
  switch (text) {
    case Relearned::kHalf:
      return "half of the forgotten text";
    case Relearned::kRelated:
      return "other text of the kind";
    case Relearned::kUnrelated:
      return "unrelated text";
    case Relearned::kSame:
      return "the text itself, beside unseen text";
  }
  return "";
}

std::string StepsPhrase(const std::optional<double>& steps, double most) {
  if (!steps.has_value()) return absl::StrFormat("not within %.0f steps", most);
  if (*steps == 0) return "before any step";
  return absl::StrFormat("after %.1f steps", *steps);
}

}  // namespace

std::vector<RelearnCurve> RelearnCurves(const v1::Measurements& m) {
  std::vector<RelearnCurve> out;
  for (const Relearned text :
       {Relearned::kHalf, Relearned::kRelated, Relearned::kUnrelated, Relearned::kSame}) {
    std::optional<RelearnCurve> curve = CurveOf(m, text);
    if (!curve.has_value()) continue;
    curve->title = TitleOf(text);
    out.push_back(*std::move(curve));
  }
  return out;
}

std::optional<double> StepsTo(const Values& steps, const Values& scores, double level) {
  for (size_t i = 0; i < std::min(steps.size(), scores.size()); ++i) {
    if (scores[i] < level) continue;
    if (i == 0) return steps[0];
    const double share = (level - scores[i - 1]) / (scores[i] - scores[i - 1]);
    return steps[i - 1] + share * (steps[i] - steps[i - 1]);
  }
  return std::nullopt;
}

std::string RelearningLead(const RelearnCurve& curve) {
  if (curve.control_now.empty()) return "";
  const double most = curve.steps.back();
  const auto forgotten = StepsTo(curve.steps, curve.forgotten_now, kHalf);
  const auto control = StepsTo(curve.steps, curve.control_now, kHalf);
  std::string text =
      absl::StrCat("Half of the forgotten text is back ", StepsPhrase(forgotten, most),
                   "; half of never-seen text is there ", StepsPhrase(control, most), ". ");
  if (!forgotten.has_value() && !control.has_value()) {
    return text + "Too few steps to tell them apart.";
  }
  if (!forgotten.has_value()) {
    return text + absl::StrFormat("It needs at least %.1f steps more than never-seen text.",
                                  most - *control);
  }
  if (!control.has_value()) {
    return text + absl::StrFormat("It needs at least %.1f steps fewer than never-seen text.",
                                  most - *forgotten);
  }
  const double more = *forgotten - *control;
  if (std::abs(more) < 0.05) return text + "It needs as many steps as never-seen text.";
  return text + absl::StrFormat("It needs %.1f steps %s than never-seen text.", std::abs(more),
                                more > 0 ? "more" : "fewer");
}

RoundingTable Roundings(const v1::Measurements& m) {
  RoundingTable table;
  std::string attack;
  const auto add = [&](const v1::AttackResult& a, const ModelCondition& condition) {
    RoundingRow row{.title = ShortTitle(condition)};
    row.before = Mean(ValuesOf(a.forgotten().before()));
    row.now = Mean(ValuesOf(a.forgotten().after()));
    if (!a.control().after().empty()) row.control = Mean(ValuesOf(a.control().after()));
    for (const v1::CodeChange& change : m.code_changes()) {
      if (change.condition() == a.condition()) row.changed = change.share();
    }
    table.rows.push_back(std::move(row));
  };
  for (const v1::AttackResult& a : m.attacks()) {
    const auto condition = ParseCondition(a.condition());
    if (!condition.ok() || condition->kind != ModelCondition::Kind::kQuantised || !IsScored(a) ||
        (!attack.empty() && a.attack() != attack)) {
      continue;
    }
    if (attack.empty()) {
      attack = a.attack();
      const v1::AttackResult* as_it_is = ResultOf(m, attack, "");
      if (as_it_is != nullptr) add(*as_it_is, {});
    }
    add(a, *condition);
  }
  if (!attack.empty()) table.attack = Title(attack);
  return table;
}

std::vector<MembershipRow> MembershipRows(const v1::Measurements& m) {
  std::vector<MembershipRow> rows;
  for (int i = 0; i < m.attacks_size(); ++i) {
    const v1::AttackResult& a = m.attacks(i);
    if (a.family() != v1::ATTACK_FAMILY_MEMBERSHIP || !a.condition().empty() ||
        a.control().after().empty()) {
      continue;
    }
    const Values f0 = ValuesOf(a.forgotten().before()), f1 = ValuesOf(a.forgotten().after());
    const Values c0 = ValuesOf(a.control().before()), c1 = ValuesOf(a.control().after());
    rows.push_back({.attack = i,
                    .title = Title(AttackLabel(m, i)),
                    .before = Auc(f0, c0),
                    .now = Auc(f1, c1),
                    .before_range = AucInterval(f0, c0),
                    .now_range = AucInterval(f1, c1),
                    .tpr_before = TprAtFpr(f0, c0, kFalsePositives),
                    .tpr_now = TprAtFpr(f1, c1, kFalsePositives)});
  }
  return rows;
}

const MembershipRow* BestMembership(const std::vector<MembershipRow>& rows) {
  const auto best = std::max_element(
      rows.begin(), rows.end(), [](const MembershipRow& a, const MembershipRow& b) {
        return std::pair(a.now, a.before) < std::pair(b.now, b.before);
      });
  return best == rows.end() ? nullptr : &*best;
}

}  // namespace lethe::evidence
