// The exact chance of the suffix under what a user may sample with (Hayes et al. 2024): one
// teacher-forced pass, no draws.
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/attack/attack_table.h"
#include "engine/attack/extraction_case.h"
#include "engine/attack/sampling_scheme.h"

namespace lethe {
namespace {

constexpr double kLeastLog10 = -1e6;  // stands for zero: reports hold finite numbers only

std::vector<SamplingScheme> Schemes(const ParameterValues& parameters) {
  const double temperature = parameters.at("temperature"), top_p = parameters.at("top_p");
  const auto top_k = static_cast<int64_t>(parameters.at("top_k"));
  std::vector<SamplingScheme> schemes = {{.temperature = temperature}};
  if (top_k > 0) schemes.push_back({.temperature = temperature, .top_k = top_k});
  if (top_p < 1) schemes.push_back({.temperature = temperature, .top_p = top_p});
  return schemes;
}

}  // namespace

absl::StatusOr<AttackScores> ExactExtraction(const AttackInput& input) {
  static constexpr double kQuarters[] = {0.25, 0.5, 0.75};
  const std::vector<ExtractionCase> cases =
      CasesOf(input.sequences, input.on_spans, kQuarters,
              static_cast<int32_t>(input.parameters.at("max_suffix_tokens")));
  // Of the easiest case and scheme: n(p) and the chance rise with p_z alone.
  std::vector<double> best(input.sequences.size(), -std::numeric_limits<double>::infinity());
  for (const SamplingScheme& scheme : Schemes(input.parameters)) {
    LETHE_ASSIGN_OR_RETURN(const auto log_q, input.forced.SchemeLogProbs(scheme));
    for (const ExtractionCase& c : cases) {
      best[c.sequence] = std::max(best[c.sequence],
                                  SuffixLogProb(input.sequences[c.sequence], c, log_q[c.sequence]));
    }
  }
  const double queries = input.parameters.at("queries"), p = input.parameters.at("p");
  AttackScores out;
  for (const double log_p_z : best) {
    out.scores.push_back(ChanceInDraws(log_p_z, queries));
    out.details["queries_needed"].push_back(QueriesNeeded(log_p_z, p));
    out.details["log10_p"].push_back(std::max(kLeastLog10, log_p_z / std::log(10)));
  }
  return out;
}

}  // namespace lethe
