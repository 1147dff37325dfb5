#include "evidence/comparison.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/condition.h"
#include "evidence/policy.h"

namespace lethe::evidence {
namespace {

using Doubles = google::protobuf::RepeatedField<double>;

// Rounding of sums may carry a figure over its limit by this much.
constexpr double kRounding = 1e-9;

Moment MomentOf(const Doubles& forgotten, const Doubles& control) {
  Moment moment;
  moment.forgotten.assign(forgotten.begin(), forgotten.end());
  Shape& shape = moment.control;
  shape.values.assign(control.begin(), control.end());
  if (shape.values.empty()) return moment;
  shape.mean = Mean(shape.values);
  shape.sd = StandardDeviation(shape.values);
  shape.skew = Skewness(shape.values);
  shape.p95 = Quantile(shape.values, 0.95);
  return moment;
}

void AddComparisons(const v1::BeforeAfter& forgotten, const v1::BeforeAfter& control,
                    Comparison pattern, std::initializer_list<std::pair<Rule, const char*>> rules,
                    std::vector<Comparison>& out) {
  pattern.before = MomentOf(forgotten.before(), control.before());
  pattern.after = MomentOf(forgotten.after(), control.after());
  for (const auto& [rule, figure] : rules) {
    Comparison comparison = pattern;
    comparison.rule = rule;
    absl::StrAppend(&comparison.name, ".", figure);
    out.push_back(std::move(comparison));
  }
}

double Statistic(Rule rule, const Values& judged, const Shape& control) {
  switch (rule) {
    case Rule::kMean:
      return Mean(judged);
    case Rule::kWorst:
    case Rule::kUnlikely:
      return Largest(judged);
    case Rule::kLikely:
      return Smallest(judged);
    case Rule::kMember:
    case Rule::kNonmember:
      return Auc(judged, control.values);
  }
  return 0;
}

// The quantile of a mean of n draws from a distribution with a long tail to the right.
double SkewedMeanT(double t, double skew, size_t n) {
  const double tail = std::max(0.0, skew) * std::max(0.0, t * t - 1);
  return t + tail / (6 * std::sqrt(static_cast<double>(n)));
}

// How far from the centre the policy lets the figure go, and how far chance
// alone may carry it; the larger one counts.
struct Reach {
  double policy = 0;
  double chance = 0;
};

Reach ReachOf(Rule rule, const Shape& control, size_t judged, const Allowance& allowance) {
  const v1::VerdictPolicy& p = allowance.policy;
  const size_t m = control.values.size();
  const double half_way =
      (control.p95 + 1) / 2;  // what comes out further than this is never chance
  switch (rule) {
    case Rule::kMean: {
      const double noise = judged == 1
                               ? control.p95 - control.mean + allowance.single_tail * control.sd
                               : SkewedMeanT(allowance.mean_t, control.skew, judged) *
                                     MeanDifferenceError(judged, control.values);
      return {p.extraction_margin(), std::min(noise, half_way - control.mean)};
    }
    case Rule::kWorst: {
      const double noise = allowance.outlier_tail * control.sd;
      return {p.extraction_worst_margin(), std::min(noise, half_way - control.p95)};
    }
    case Rule::kMember:
    case Rule::kNonmember:
      return {p.membership_margin(), allowance.auc_reach.at(judged)};
    case Rule::kLikely:
    case Rule::kUnlikely: {
      const double sds = rule == Rule::kLikely ? p.likely_sds() : p.unlikely_sds();
      // sd of a new sequence around a mean that was itself estimated from m
      const double sd = control.sd * std::sqrt(1 + 1 / static_cast<double>(m));
      return {std::max(sds * sd, p.control_change() * control.mean), allowance.outlier_t * sd};
    }
  }
  return {};
}

double Centre(Rule rule, const Shape& control) {
  switch (rule) {
    case Rule::kWorst:
      return control.p95;
    case Rule::kMember:
    case Rule::kNonmember:
      return 0.5;
    default:
      return control.mean;
  }
}

}  // namespace

std::vector<Comparison> Comparisons(const v1::Measurements& m) {
  std::vector<Comparison> out;
  for (int i = 0; i < m.attacks_size(); ++i) {
    const v1::AttackResult& a = m.attacks(i);
    if (a.report_only() || a.family() == v1::ATTACK_FAMILY_DIAGNOSTIC) continue;
    Comparison pattern{.attack = i};
    pattern.greedy = a.reach() != v1::ATTACK_REACH_DEEPER && a.condition().empty();
    pattern.name = absl::StrCat(std::string(FamilyName(a.family())), ".", AttackLabel(m, i));
    pattern.title = Title(AttackLabel(m, i));
    pattern.extracts = a.family() != v1::ATTACK_FAMILY_MEMBERSHIP;
    if (pattern.extracts) {
      AddComparisons(a.forgotten(), a.control(), pattern,
                     {{Rule::kMean, "mean"}, {Rule::kWorst, "worst"}}, out);
    } else if (a.condition().empty()) {
      AddComparisons(a.forgotten(), a.control(), pattern,
                     {{Rule::kMember, "above"}, {Rule::kNonmember, "below"}}, out);
    } else {
      AddComparisons(a.forgotten(), a.control(), pattern, {{Rule::kMember, "above"}}, out);
    }
  }
  AddComparisons(m.forgotten_nll(), m.control_nll(),
                 Comparison{.name = "likelihood.forgotten", .title = "Likelihood"},
                 {{Rule::kLikely, "likely"}, {Rule::kUnlikely, "unlikely"}}, out);
  return out;
}

Allowance MakeAllowance(v1::VerdictPolicy policy, double chance, size_t sequences, size_t control,
                        const std::set<size_t>& judged) {
  Allowance allowance;
  allowance.policy = std::move(policy);
  const bool noise = chance < 1;
  if (noise) {
    allowance.mean_t = StudentQuantile(chance, control - 1);
    const double outlier = chance / static_cast<double>(sequences);
    allowance.outlier_t = StudentQuantile(outlier, control - 1);
    allowance.outlier_tail = ExponentialReach(0.05, outlier);
    allowance.single_tail = ExponentialReach(0.05, chance);
  }
  for (size_t n : judged) allowance.auc_reach[n] = noise ? AucReach(chance, n, control) : 0;
  return allowance;
}

Finding Find(const Comparison& comparison, const Moment& moment, const std::vector<size_t>& which,
             const Allowance& allowance) {
  Values judged;
  judged.reserve(which.size());
  for (size_t i : which) judged.push_back(moment.forgotten[i]);
  const Rule rule = comparison.rule;
  const Reach reach = ReachOf(rule, moment.control, judged.size(), allowance);
  const double allowed = std::max(reach.policy, reach.chance);
  Finding finding;
  finding.value = Statistic(rule, judged, moment.control);
  finding.at_least = rule == Rule::kNonmember || rule == Rule::kLikely;
  finding.limit = Centre(rule, moment.control) + (finding.at_least ? -allowed : allowed);
  finding.by_chance = reach.chance > reach.policy;
  finding.held = Holds(finding.value, finding.limit, finding.at_least);
  return finding;
}

bool Holds(double value, double limit, bool at_least) {
  return at_least ? value >= limit - kRounding : value <= limit + kRounding;
}

bool IsAboutForgetting(Rule rule) { return rule != Rule::kNonmember && rule != Rule::kUnlikely; }

std::string Title(std::string_view name) {
  const size_t at = name.find('@');
  std::string title(name.substr(0, at));
  std::replace(title.begin(), title.end(), '_', ' ');
  if (!title.empty() && title[0] >= 'a' && title[0] <= 'z') title[0] += 'A' - 'a';
  if (at == std::string_view::npos) return title;
  const size_t number = std::min(name.find('#'), name.size());
  const auto condition = ParseCondition(name.substr(at + 1, number - at - 1));
  return absl::StrCat(title, ", ",
                      condition.ok() ? condition->Title() : std::string(name.substr(at + 1)),
                      std::string(name.substr(number)));
}

std::string AttackLabel(const v1::Measurements& m, int index) {
  const auto id = [&](int i) { return AttackId(m.attacks(i).attack(), m.attacks(i).condition()); };
  int earlier = 0;
  for (int i = 0; i < index; ++i) earlier += id(i) == id(index);
  return earlier == 0 ? id(index) : absl::StrCat(id(index), "#", earlier + 1);
}

std::string_view FamilyName(v1::AttackFamily family) {
  switch (family) {
    case v1::ATTACK_FAMILY_EXTRACTION:
      return "extraction";
    case v1::ATTACK_FAMILY_MEMBERSHIP:
      return "membership";
    case v1::ATTACK_FAMILY_MEMORISATION:
      return "memorisation";
    case v1::ATTACK_FAMILY_DIAGNOSTIC:
      return "diagnostic";
    default:
      return "unknown";
  }
}

const v1::AttackDetail* FindDetail(const v1::AttackResult& attack, std::string_view name) {
  for (const v1::AttackDetail& detail : attack.details()) {
    if (detail.name() == name) return &detail;
  }
  return nullptr;
}

std::string Figure(double value) {
  if (std::abs(value) < 0.0005) return "0.000";  // and never "-0.000"
  if (std::abs(value) < 1000) return absl::StrFormat("%.3f", value);
  if (std::abs(value) < 1e7) return absl::StrFormat("%.0f", value);
  return absl::StrFormat("%.3e", value);
}

}  // namespace lethe::evidence
