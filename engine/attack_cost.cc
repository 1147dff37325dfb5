#include "engine/attack_cost.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "engine/attack_catalog.h"
#include "engine/condition.h"

namespace lethe {
namespace {

constexpr double kRounding = 1.4;  // GroupByLength asks for up to twice what is needed: 2 ln 2
constexpr double kShortPrefix = 8;
constexpr double kRolloutShare = 0.6, kKnownShare = 0.1;
constexpr double kSizesTried = 2;
constexpr double kMostAStep = 4;  // sequences that a step of relearning takes (attack/relearn.h)
constexpr double kMostTokens = 9e18;

// What an attack does beside reading the shared pass.
enum class Own {
  kNothing,
  kQuarters,   // greedy continuations of prefixes of a quarter, a half, three quarters
  kProbes,     // reads changed prompts with the suffix behind each, and continues them
  kContinues,  // draws or beams from one prefix
  kRollsOut,   // EL
  kRollsOutSpans,
  kRanks,        // reads alternatives of the first span
  kReadsLayers,  // a pass of its own
  kSlopes,       // a backward pass a sequence
};

struct CostRow {
  std::string_view attack;
  bool shared;
  Own own;
};

// Attacks that are not here ask by changed prompts, if they extract, and else read the shared pass.
constexpr CostRow kCosts[] = {
    {"greedy_extraction", true, Own::kQuarters},
    {"exact_extraction", true, Own::kNothing},
    {"sampled_extraction", true, Own::kContinues},
    {"beam_extraction", false, Own::kContinues},
    {"extraction_likelihood", false, Own::kRollsOut},
    {"span_extraction_likelihood", true, Own::kRollsOutSpans},
    {"exposure", false, Own::kRanks},
    {"logit_lens", false, Own::kReadsLayers},
    {"gradient_norm", false, Own::kSlopes},
};

// The changed prompts of a case (attack/prompt_change.h): how many, and how long, as a share of the
// true prefix and tokens beside it.
struct ProbeRow {
  std::string_view attack;
  double prompts;  // 0: the attack's `variants`
  double share;
  double added;  // words before the prefix; of few_shot: records, from its parameters
};
constexpr ProbeRow kProbes[] = {
    {"shifted_prefix", 4, 0.625, 0},  // without the first token, a quarter, a half, three quarters
    {"dropped_tokens", 0, 0.9, 0},   {"noisy_prompt", 4, 1.1, 0}, {"jailbreak_prefix", 3, 1, 30},
    {"few_shot", 0, 1, 0},           {"cross_prompt", 1, 1, 0},
};

const ProbeRow* ProbesOf(std::string_view attack) {
  for (const ProbeRow& row : kProbes) {
    if (row.attack == attack) return &row;
  }
  return nullptr;
}

CostRow CostRowOf(std::string_view attack) {
  for (const CostRow& row : kCosts) {
    if (row.attack == attack) return row;
  }
  const bool probes = ProbesOf(attack) != nullptr;
  return {attack, !probes, probes ? Own::kProbes : Own::kNothing};
}

double Get(const ParameterValues& values, const char* name, double otherwise) {
  const auto found = values.find(name);
  return found == values.end() ? otherwise : found->second;
}

// Draws or beams behind the spans' prefixes, or behind one prefix of the whole.
AttackCost Continued(const PlannedAttack& attack, const TextSize& size, bool on_spans) {
  const double most = Get(attack.values, "max_suffix_tokens", 256);
  const double draws = Get(attack.values, "samples", 1) * Get(attack.values, "beams", 1);
  const double length = MeanLength(size), share = Get(attack.values, "prefix_share", 0.5);
  AttackCost cost;
  if (on_spans) {
    cost.generated = draws * kRounding * std::min(size.span_tokens, size.spans * most);
    cost.read = size.spans * length;
    return cost;
  }
  cost.generated =
      size.sequences * draws * std::min(kRounding * std::min((1 - share) * length, most), most);
  cost.read = size.sequences * share * length;
  return cost;
}

// Greedy continuations behind the pass over the text; where another attack has read that before,
// the longest prefix is read again.
AttackCost Quarters(const PlannedAttack& attack, const TextSize& size, bool on_spans, bool known,
                    bool again) {
  const double most = Get(attack.values, "max_suffix_tokens", 256), length = MeanLength(size);
  const double mistaken = known ? kKnownShare : 1;
  AttackCost cost;
  if (on_spans) {
    const double suffixes = std::min(size.span_tokens, size.spans * most);
    cost.generated = 2 * mistaken * suffixes;  // behind all of the text before, and a little of it
    cost.read = size.spans * kShortPrefix + suffixes + (again ? size.sequences * length : 0);
    return cost;
  }
  double longest = 0;
  const auto add = [&](double share) {
    cost.generated += size.sequences * mistaken * std::min((1 - share) * length, most);
    longest = std::max(longest, share);
  };
  const double prefix = Get(attack.values, "prefix_tokens", 0);
  if (Get(attack.values, "prefix_quarters", 1) != 0 || prefix == 0) {
    for (const double share : {0.25, 0.5, 0.75}) add(share);
  }
  if (prefix > 0 && prefix < length) add(prefix / length);
  if (again) cost.read = size.sequences * longest * length;
  return cost;
}

AttackCost Probed(const PlannedAttack& attack, const TextSize& size, bool on_spans) {
  const ProbeRow& row = *ProbesOf(attack.attack);
  const double most = Get(attack.values, "max_suffix_tokens", 50), length = MeanLength(size);
  const double cases = on_spans ? size.spans : size.sequences;
  if (cases == 0) return {};
  const double prefix = on_spans ? length : length / 2;
  const double suffix = std::min(on_spans ? size.span_tokens / size.spans : length / 2, most);
  const double prompts =
      cases * (row.prompts > 0 ? row.prompts : Get(attack.values, "variants", 3));
  const double added = row.added + Get(attack.values, "shots", 0) *
                                       std::min(Get(attack.values, "max_shot_tokens", 128), length);
  return {.read = prompts * (row.share * prefix + added + suffix), .generated = prompts * suffix};
}

// On one text under one model; `again`: the shared pass was made for an attack before.
AttackCost OwnCost(const PlannedAttack& attack, const TextSize& size, bool on_spans, bool known,
                   bool again) {
  AttackCost cost;
  double& rolls = known ? cost.rolls_known : cost.rolls_unseen;
  switch (CostRowOf(attack.attack).own) {
    case Own::kNothing:
      break;
    case Own::kQuarters:
      return Quarters(attack, size, on_spans, known, again);
    case Own::kProbes:
      return Probed(attack, size, on_spans);
    case Own::kContinues:
      return Continued(attack, size, on_spans);
    case Own::kRollsOut:
      cost.read = size.tokens;
      rolls = size.square_tokens / 2;
      break;
    case Own::kRollsOutSpans:
      rolls = size.span_tokens * MeanLength(size) / 2;
      // Once more, for the pass has to say first where the mistakes are.
      if (size.spans > 0) cost.read = size.tokens;
      break;
    case Own::kRanks: {
      if (size.spans == 0) break;  // there is nothing to rank
      const double ranked =
          std::min(size.span_tokens / size.spans, Get(attack.values, "max_span_tokens", 16));
      cost.read =
          size.tokens / 2 + size.span_sequences * Get(attack.values, "alternatives", 1000) * ranked;
      break;
    }
    case Own::kReadsLayers:
      cost.read = size.tokens;
      break;
    case Own::kSlopes:
      cost.taught = size.tokens;
      break;
  }
  return cost;
}

// Tokens of one step of training, of all lessons (attack/relearn.h).
double TokensAStep(Relearned text, const AuditSize& size) {
  const double forgotten = size.forgotten.sequences;
  switch (text) {
    case Relearned::kHalf:
      return forgotten < 2 ? 0 : AtMost(size.forgotten, 2 * kMostAStep).tokens;
    case Relearned::kRelated:
      return AtMost(size.retain, kMostAStep).tokens;
    case Relearned::kUnrelated:
      return AtMost(size.others, kMostAStep).tokens;
    case Relearned::kSame:
      return AtMost(size.forgotten, kMostAStep).tokens +
             AtMost(size.control, std::min(forgotten, kMostAStep)).tokens;
  }
  return 0;
}

class Audit {
 public:
  Audit(std::span<const PlannedAttack> plan, const AuditSize& size) : size_(size) {
    for (const PlannedAttack& attack : plan) {
      const auto condition = ParseCondition(attack.condition);
      if (!condition.ok() || condition->kind != ModelCondition::Kind::kRelearned) continue;
      stops_[condition->text].insert(condition->steps);
    }
    const auto all_spans = [](const TextSize& text) {
      return text.sequences > 0 && text.span_sequences >= text.sequences;
    };
    on_spans_ = all_spans(size.forgotten) && all_spans(size.control);
  }

  AttackCost Of(const PlannedAttack& attack) {
    const auto condition = ParseCondition(attack.condition);
    if (FindAttack(attack.attack) == nullptr || !condition.ok()) return {};
    const bool relearned = condition->kind == ModelCondition::Kind::kRelearned;
    if (relearned && TokensAStep(condition->text, size_) == 0) return {};  // it is left out
    const TextSize control = relearned && condition->text == Relearned::kSame
                                 ? AtMost(size_.control, size_.forgotten.sequences)
                                 : size_.control;
    const bool again = read_.count(attack.condition) > 0;
    AttackCost cost;
    for (const bool base : {true, false}) {
      cost += OwnCost(attack, size_.forgotten, on_spans_, /*known=*/base, again);
      cost += OwnCost(attack, control, on_spans_, /*known=*/false, again);
    }
    if (CostRowOf(attack.attack).shared && read_.insert(attack.condition).second) {
      cost.read += 2 * (size_.forgotten.tokens + control.tokens);
    }
    if (relearned && taught_.insert(attack.condition).second) cost += Teaching(*condition);
    return cost;
  }

 private:
  // The steps since the J before, on both models; with the first J, the choice of the step size.
  AttackCost Teaching(const ModelCondition& condition) const {
    const std::set<int>& stops = stops_.at(condition.text);
    const auto here = stops.find(condition.steps);
    const double a_step = TokensAStep(condition.text, size_);
    const bool first = here == stops.begin();
    const bool chosen = condition.text == Relearned::kSame && size_.forgotten.sequences >= 2 &&
                        stops_.count(Relearned::kHalf) > 0;
    AttackCost cost;
    cost.steps = 2.0 * (condition.steps - (first ? 0 : *std::prev(here)));
    if (first && !chosen) {
      cost.steps += kSizesTried * *stops.rbegin();
      cost.read += (1 + kSizesTried * static_cast<double>(stops.size())) * size_.forgotten.tokens;
    }
    cost.taught = cost.steps * a_step;
    if (condition.text == Relearned::kHalf) cost.steps *= 2;
    return cost;
  }

  const AuditSize& size_;
  bool on_spans_ = false;
  std::map<Relearned, std::set<int>> stops_;
  std::set<std::string> read_, taught_;  // conditions whose pass, whose steps are charged
};

}  // namespace

int64_t AttackCost::ForwardTokens() const {
  const double tokens =
      read + generated + kRolloutShare * (kKnownShare * rolls_known + rolls_unseen) + 3 * taught;
  return tokens < kMostTokens ? std::llround(tokens) : static_cast<int64_t>(kMostTokens);
}

AttackCost& AttackCost::operator+=(const AttackCost& more) {
  read += more.read;
  generated += more.generated;
  rolls_known += more.rolls_known;
  rolls_unseen += more.rolls_unseen;
  taught += more.taught;
  steps += more.steps;
  return *this;
}

bool ReadsSharedPass(std::string_view attack) {
  return FindAttack(attack) != nullptr && CostRowOf(attack).shared;
}

std::vector<AttackCost> CostOfAudit(std::span<const PlannedAttack> plan, const AuditSize& size) {
  Audit audit(plan, size);
  std::vector<AttackCost> costs;
  for (const PlannedAttack& attack : plan) costs.push_back(audit.Of(attack));
  return costs;
}

}  // namespace lethe
