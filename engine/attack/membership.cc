// Membership by likelihood: the loss (Yeom et al. 2018) and Min-K% (Shi et al. 2024).
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

}  // namespace lethe
