// A comparison: one figure of the forgotten text held against the same figure of
// control text. The verdict is made of these.
//
//   std::vector<Comparison> all = Comparisons(measurements);
//   Finding now = Find(all[0], all[0].after, every_sequence, allowance);
//   if (!now.held) ...
//
// Six rules, each with a limit that control and policy give, never the forgotten text itself:
//   kMean       mean score         <= control mean + max(margin, t* sd sqrt(1/n + 1/m))
//   kWorst      largest score      <= control's 95th percentile
//                                     + max(worst margin, sd ln(0.05 n / chance))
//   kMember     AUC                <= 0.5 + max(margin, what chance reaches by the Mann-Whitney
//                                     distribution)
//   kNonmember  AUC                >= 0.5 - the same
//   kLikely     least NLL a token  >= control mean - max(k sd', t_n sd', share of the mean)
//   kUnlikely   most NLL a token   <= control mean + the same
//
// n sequences judged, m control sequences, sd control's standard deviation, sd' = sd sqrt(1 + 1/m).
// t is Student's with m - 1 degrees of freedom, exceeded by chance with the chance that falls to
// one comparison (false_alarm over their number); t_n, with that over n. t* allows for a long tail to
// the right, which a mean of few draws has left: t + (t^2 - 1) g / (6 sqrt n) with g control's
// skewness, at least 0 (Cornish and Fisher 1938). Scores of unseen text have
// long tails, hence the exponential one in kWorst; one sequence has no mean, so kMean allows it
// what chance reaches beyond the percentile, too. For kMean and kWorst chance never reaches further
// than half way from control's 95th percentile to 1: what comes out that far is a leak, however few
// the sequences.
//
// Threads    pure; any. Input has passed ValidateMeasurements, control is not empty.
#ifndef LETHE_EVIDENCE_COMPARISON_H_
#define LETHE_EVIDENCE_COMPARISON_H_

#include <cstddef>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "evidence/statistics.h"
#include "lethe/v1/policy.pb.h"
#include "lethe/v1/report.pb.h"

namespace lethe::evidence {

enum class Rule { kMean, kWorst, kMember, kNonmember, kLikely, kUnlikely };

// Control's figures and what is needed of them, computed once.
struct Shape {
  Values values;
  double mean = 0;
  double sd = 0;
  double skew = 0;
  double p95 = 0;
};

// One moment: the forgotten figures, in the order of Measurements.forgotten, and control's.
struct Moment {
  Values forgotten;
  Shape control;
};

struct Comparison {
  Rule rule;
  std::string name;   // of the gate
  std::string title;  // for people: "Greedy extraction"
  int attack = -1;    // place in Measurements.attacks; -1: the likelihoods
  // extraction or memorisation: counts for VerdictPolicy.min_powerful_attacks
  bool extracts = false;
  // somebody who decodes greedily sees it; what only deeper attacks find is hidden, not forgotten
  bool greedy = false;
  Moment before;
  Moment after;
};

// Every comparison that the measurements allow, attacks in their order, then the likelihoods. What
// is only reported (diagnostics, report_only) has none. Over-unlearning is judged on the model as it
// is, not under a condition.
std::vector<Comparison> Comparisons(const v1::Measurements& measurements);

// What chance and policy allow.
struct Allowance {
  v1::VerdictPolicy policy;  // with its defaults filled in
  double mean_t = 0;         // standard errors for a mean
  double outlier_t = 0;  // standard deviations for the most extreme of all sequences, normal tail
  double outlier_tail = 0;             // the same beyond the 95th percentile, exponential tail
  double single_tail = 0;              // and of one sequence alone
  std::map<size_t, double> auc_reach;  // by the number of sequences judged
};

// Allows each comparison to fail by noise with probability `chance`; 1 allows for no noise.
// `sequences` of which the most extreme one is judged, `control` sequences, and every number of
// sequences that will be judged together.
Allowance MakeAllowance(v1::VerdictPolicy policy, double chance, size_t sequences, size_t control,
                        const std::set<size_t>& judged);

struct Finding {
  double value = 0;
  double limit = 0;
  bool at_least = false;
  bool by_chance = false;  // chance, not the policy's margin, set the limit
  bool held = false;
};

// Judges the sequences at `which` (not empty) at one moment.
Finding Find(const Comparison& comparison, const Moment& moment, const std::vector<size_t>& which,
             const Allowance& allowance);

// Whether `value` keeps the limit. Rounding of sums is forgiven (1e-9).
bool Holds(double value, double limit, bool at_least);

// Whether breaking the rule means too little forgetting (NOT_FORGOTTEN) or too much (DESTROYED).
bool IsAboutForgetting(Rule rule);

// A name of an attack for people: "greedy_extraction@int4" becomes "Greedy extraction, rounded to 4
// bits".
std::string Title(std::string_view name);

// The name of attack `index` in gates: "greedy_extraction", "greedy_extraction@int4-g128" under a
// condition, "greedy_extraction#2" when it ran before with other parameters.
std::string AttackLabel(const v1::Measurements& measurements, int index);

// "extraction", "membership" or "memorisation".
std::string_view FamilyName(v1::AttackFamily family);

// A further figure of an attack; null where it has none of this name.
const v1::AttackDetail* FindDetail(const v1::AttackResult& attack, std::string_view name);

// Figures as all sentences, tables and pages write them: three decimals, fewer for large ones.
std::string Figure(double value);

}  // namespace lethe::evidence

#endif  // LETHE_EVIDENCE_COMPARISON_H_
