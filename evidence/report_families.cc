#include "evidence/report_families.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "evidence/sentences.h"

namespace lethe::evidence {
namespace {

struct FamilyWords {
  Family family;
  const char* title;
  const char* what;
};

constexpr FamilyWords kFamilies[] = {
    {Family::kAsked, "Asked once", "a true beginning, the likeliest continuation"},
    {Family::kSampled, "Asked many times", "drawn answers, searches, the exact chance"},
    {Family::kPrompts, "Other prompts", "shifted, damaged or leading ones, examples"},
    {Family::kLikelihood, "Likelihood and membership", "was it in the training data?"},
    {Family::kInside, "Inside the model", "what its layers hold"},
    {Family::kRounded8, "Weights rounded to 8 bits", "as for cheap machines"},
    {Family::kRounded4, "Weights rounded to 4 bits", "as for small devices"},
    {Family::kTaught, "Taught a few steps", "on half of it, or on other text"},
};

// Names of the catalogue that the way of reading the score does not tell apart. A name that holds
// one of these words belongs there.
struct NameRow {
  const char* word;
  Family family;
};
constexpr NameRow kNames[] = {
    {"prompt", Family::kPrompts},       {"shift", Family::kPrompts},
    {"drop", Family::kPrompts},         {"noise", Family::kPrompts},
    {"jail", Family::kPrompts},         {"shot", Family::kPrompts},
    {"lens", Family::kInside},          {"projection", Family::kInside},
    {"exposure", Family::kLikelihood},  {"loss", Family::kLikelihood},
    {"zlib", Family::kLikelihood},      {"min_k", Family::kLikelihood},
    {"reference", Family::kLikelihood}, {"gradient", Family::kLikelihood},
    {"greedy", Family::kAsked},         {"strength", Family::kAsked},
    {"memorisation", Family::kAsked},   {"extraction_likelihood", Family::kAsked},
};

std::optional<Family> FamilyByCondition(const std::string& name) {
  const auto condition = ParseCondition(name);
  if (!condition.ok() || condition->kind == ModelCondition::Kind::kAsIs) return std::nullopt;
  if (condition->kind == ModelCondition::Kind::kRelearned) return Family::kTaught;
  return condition->bits == 8 ? Family::kRounded8 : Family::kRounded4;
}

std::optional<Family> FamilyByName(std::string_view name) {
  for (const NameRow& row : kNames) {
    if (name.find(row.word) != std::string_view::npos) return row.family;
  }
  return std::nullopt;
}

// The attempt that a row shows: failures first, then what is judged, then what shows how much comes
// out, then what stands out most.
const AttackView* Telling(const ReportView& view, const FamilyRow& row) {
  const auto rank = [&](const AttackView& a) {
    const bool scored = a.attack >= 0 && !a.control_after.empty();
    return std::tuple(a.standing == Standing::kFail, a.standing != Standing::kNotJudged, scored,
                      a.attack >= 0, a.excess);
  };
  const AttackView* best = nullptr;
  for (const size_t i : row.attacks) {
    const AttackView& attack = view.attacks[i];
    if (best == nullptr || rank(attack) > rank(*best)) best = &attack;
  }
  return best;
}

const char* FigureOf(const AttackView& attack, const v1::Measurements& m) {
  if (attack.attack < 0) return "nats a token";
  switch (m.attacks(attack.attack).family()) {
    case v1::ATTACK_FAMILY_EXTRACTION:
      return "share or chance that came out";
    case v1::ATTACK_FAMILY_MEMBERSHIP:
      return "AUC, 0.5 is a guess";
    case v1::ATTACK_FAMILY_MEMORISATION:
      return "share it goes on with";
    default:
      return "mean score";
  }
}

// How many attempts came out how.
struct Tally {
  size_t fail = 0, pass = 0, no_power = 0, not_judged = 0;
  size_t judged() const { return fail + pass + no_power; }
};

Tally TallyOf(const ReportView& view, const FamilyRow& row) {
  Tally tally;
  for (const size_t i : row.attacks) {
    switch (view.attacks[i].standing) {
      case Standing::kFail:
        ++tally.fail;
        break;
      case Standing::kPass:
        ++tally.pass;
        break;
      case Standing::kNoPower:
        ++tally.no_power;
        break;
      default:
        ++tally.not_judged;
    }
  }
  return tally;
}

Standing StandingOf(const Tally& tally, const FamilyRow& row) {
  if (tally.fail > 0) return Standing::kFail;
  if (tally.pass > 0) return Standing::kPass;
  if (tally.no_power > 0) return Standing::kNoPower;
  if (tally.not_judged > 0) return Standing::kNotJudged;
  return row.left_out > 0 ? Standing::kLeftOut : Standing::kNotTried;
}

// Whether a failed attempt failed by forgetting too much, not too little.
bool Overdone(const AttackView& attack) {
  for (const GateRow& row : attack.rows) {
    if (row.gate.result() == v1::GATE_RESULT_FAIL && row.gate.failure() != v1::OUTCOME_DESTROYED) {
      return false;
    }
  }
  return true;
}

std::string Attempts(size_t count) { return Count(count, "attempt", "attempts"); }

std::string FailureSentence(const Tally& tally, const AttackView& worst) {
  const std::string of = tally.judged() == 1
                             ? std::string("The attempt")
                             : absl::StrCat(tally.fail, " of ", Attempts(tally.judged()));
  if (Overdone(worst)) {
    return absl::StrCat(of,
                        " can pick the forgotten text out by how unlikely it became; most of all: ",
                        worst.title, ".");
  }
  return absl::StrCat(of, tally.fail == 1 ? " still tells" : " still tell",
                      " the forgotten text from unseen text; most of all: ", worst.title, ".");
}

std::string SentenceOf(const Tally& tally, const FamilyRow& row, const AttackView* telling,
                       bool any_judged) {
  switch (row.standing) {
    case Standing::kFail:
      return FailureSentence(tally, *telling);
    case Standing::kPass: {
      std::string text = absl::StrCat(
          Attempts(tally.pass), tally.pass == 1 ? " that would have" : " that would have",
          " found the text before", tally.pass == 1 ? " finds" : " find",
          " no more now than in unseen text.");
      if (tally.no_power > 0) {
        absl::StrAppend(&text, " ", tally.no_power, " more had nothing to find before either.");
      }
      return text;
    }
    case Standing::kNoPower:
      return absl::StrCat(Attempts(tally.no_power),
                          " would have found nothing before unlearning either: this says nothing "
                          "about forgetting.");
    case Standing::kNotJudged:
      return any_judged ? "Measured and shown; the verdict does not use it."
                        : "Measured, but without a control that fits nothing follows from it.";
    case Standing::kLeftOut:
      return "Left out; the reason stands below.";
    default:
      return "The plan asked for nothing of this kind.";
  }
}

}  // namespace

Family FamilyOf(const v1::AttackResult& attack) {
  if (const auto family = FamilyByCondition(attack.condition())) return *family;
  if (const auto family = FamilyByName(attack.attack())) return *family;
  switch (attack.family()) {
    case v1::ATTACK_FAMILY_MEMBERSHIP:
      return Family::kLikelihood;
    case v1::ATTACK_FAMILY_DIAGNOSTIC:
      return Family::kInside;
    default:
      return attack.reach() == v1::ATTACK_REACH_DEEPER ? Family::kSampled : Family::kAsked;
  }
}

Family FamilyOf(const v1::LeftOut& left) {
  if (const auto family = FamilyByCondition(left.condition())) return *family;
  return FamilyByName(left.attack()).value_or(Family::kSampled);
}

std::vector<FamilyRow> FamilyRows(const ReportView& view) {
  const v1::Measurements& m = view.m();
  const bool any_judged = std::any_of(view.attacks.begin(), view.attacks.end(),
                                      [](const AttackView& a) { return !a.rows.empty(); });
  std::vector<FamilyRow> rows;
  for (const FamilyWords& words : kFamilies) {
    FamilyRow row{.family = words.family, .title = words.title, .what = words.what};
    for (size_t i = 0; i < view.attacks.size(); ++i) {
      const int attack = view.attacks[i].attack;
      const Family family = attack < 0 ? Family::kLikelihood : FamilyOf(m.attacks(attack));
      if (family != row.family) continue;
      row.attacks.push_back(i);
      if (attack < 0) continue;
      row.expected_tokens += m.attacks(attack).expected_forward_tokens();
      row.tokens += m.attacks(attack).forward_tokens();
      row.seconds += m.attacks(attack).seconds();
    }
    for (const v1::LeftOut& left : m.left_out()) row.left_out += FamilyOf(left) == row.family;
    const Tally tally = TallyOf(view, row);
    row.standing = StandingOf(tally, row);
    const AttackView* telling = Telling(view, row);
    if (telling != nullptr) {
      row.shown = telling->name;
      if (telling->condition != ModelCondition{}) {
        absl::StrAppend(&row.shown, ", ", ShortTitle(telling->condition));
      }
      row.figure = FigureOf(*telling, m);
      row.before = telling->before;
      row.after = telling->after;
      row.control_after = telling->control_after;
    }
    row.sentence = SentenceOf(tally, row, telling, any_judged);
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace lethe::evidence
