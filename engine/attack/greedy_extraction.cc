// Greedy prefix extraction (Carlini et al. 2023): what the model says by itself after a true
// prefix.
#include "engine/attack/attack_table.h"
#include "engine/attack/extraction_case.h"

namespace lethe {

absl::StatusOr<AttackScores> GreedyExtraction(const AttackInput& input) {
  static constexpr double kQuarters[] = {0.25, 0.5, 0.75};
  const auto max_suffix = static_cast<int32_t>(input.parameters.at("max_suffix_tokens"));
  const auto prefix_tokens = static_cast<int32_t>(input.parameters.at("prefix_tokens"));
  std::vector<ExtractionCase> cases;
  for (size_t i = 0; i < input.sequences.size(); ++i) {
    const Sequence& sequence = input.sequences[i];
    if (input.on_spans) {
      AddSpanCases(sequence, i, /*short_too=*/true, max_suffix, cases);
      continue;
    }
    const bool quarters = input.parameters.at("prefix_quarters") != 0 || prefix_tokens == 0;
    if (quarters) AddShareCases(sequence, i, kQuarters, max_suffix, cases);
    AddPrefixCase(sequence, i, prefix_tokens, /*variant=*/100, max_suffix, cases);
  }

  AttackScores out;
  RecoveryTally tally(input.sequences.size());
  for (const auto& [new_tokens, members] : GroupByLength(cases, input.model.config().context)) {
    std::vector<TokenIds> prompts;
    for (const size_t m : members) {
      prompts.push_back(Prefix(input.sequences[cases[m].sequence], cases[m]));
      out.forward_tokens += static_cast<int64_t>(prompts.back().size()) + new_tokens;
    }
    LETHE_ASSIGN_OR_RETURN(const auto said, GenerateContinuations(input.model, prompts,
                                                                  {.max_new_tokens = new_tokens}));
    for (size_t i = 0; i < members.size(); ++i) {
      const ExtractionCase& c = cases[members[i]];
      tally.Add(c, Recovered(input.sequences[c.sequence], c, said[i][0]));
    }
  }
  out.scores = tally.BestShare();
  out.details["exact_match"] = tally.ExactMatch();
  return out;
}

}  // namespace lethe
