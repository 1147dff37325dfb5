// Membership by likelihood: the loss (Yeom et al. 2018), Min-K% (Shi et al. 2024), Min-K%++ (Zhang et
// al. 2024) and, as a diagnostic, the loss against the base's.
#include "engine/attack/attack_table.h"
#include "engine/attack/min_k.h"
#include "engine/metric/span_score.h"

namespace lethe {
namespace {

// NLL of the tokens that count, a list for each sequence.
absl::StatusOr<std::vector<std::vector<double>>> CountedNll(const AttackInput& input) {
  LETHE_ASSIGN_OR_RETURN(const auto tokens, input.forced.Tokens());
  std::vector<std::vector<double>> counted;
  for (size_t i = 0; i < tokens.size(); ++i) {
    std::vector<double>& list = counted.emplace_back();
    for (const size_t e : CountedEntries(input.sequences[i], input.on_spans)) {
      list.push_back(tokens[i].score.nll[e]);
    }
  }
  return counted;
}

}  // namespace

absl::StatusOr<AttackScores> LossMembership(const AttackInput& input) {
  AttackScores out;
  LETHE_ASSIGN_OR_RETURN(auto counted, CountedNll(input));
  for (std::vector<double>& nll : counted) out.scores.push_back(MinK(std::move(nll), 1));
  return out;
}

absl::StatusOr<AttackScores> MinKMembership(const AttackInput& input) {
  AttackScores out;
  LETHE_ASSIGN_OR_RETURN(auto counted, CountedNll(input));
  const double k = input.parameters.at("k");
  for (std::vector<double>& nll : counted) out.scores.push_back(MinK(std::move(nll), k));
  return out;
}

absl::StatusOr<AttackScores> MinKPlusPlusMembership(const AttackInput& input) {
  LETHE_ASSIGN_OR_RETURN(const auto tokens, input.forced.Tokens());
  AttackScores out;
  const double k = input.parameters.at("k");
  for (size_t i = 0; i < tokens.size(); ++i) {
    const TokenStatistics& t = tokens[i];
    std::vector<double> surprise;  // (mu - log p) / sigma
    for (const size_t e : CountedEntries(input.sequences[i], input.on_spans)) {
      surprise.push_back((t.score.nll[e] + t.mean[e]) / t.deviation[e]);
    }
    out.scores.push_back(MinK(std::move(surprise), k));
  }
  return out;
}

absl::StatusOr<AttackScores> ReferenceMembership(const AttackInput& input) {
  AttackScores out;
  if (input.context.reference_nll.size() != input.sequences.size()) {
    out.not_applicable = "the likelihood under the base is not known";
    return out;
  }
  LETHE_ASSIGN_OR_RETURN(auto counted, CountedNll(input));
  for (size_t i = 0; i < counted.size(); ++i) {
    out.scores.push_back(input.context.reference_nll[i] + MinK(std::move(counted[i]), 1));
  }
  return out;
}

}  // namespace lethe
