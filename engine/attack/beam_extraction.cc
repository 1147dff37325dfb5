// Beam extraction: the likeliest whole continuations, which greedy decoding misses when its first
// choice is not how they begin.
#include <algorithm>

#include "engine/attack/attack_table.h"
#include "engine/attack/extraction_case.h"
#include "engine/model/beam_search.h"

namespace lethe {

absl::StatusOr<AttackScores> BeamExtraction(const AttackInput& input) {
  const auto beams = static_cast<int64_t>(input.parameters.at("beams"));
  const double shares[] = {input.parameters.at("prefix_share")};
  const std::vector<ExtractionCase> cases =
      CasesOf(input.sequences, input.on_spans, shares,
              static_cast<int32_t>(input.parameters.at("max_suffix_tokens")));
  AttackScores out;
  RecoveryTally tally(input.sequences.size());
  for (const auto& [new_tokens, members] : GroupByLength(cases, input.model.context())) {
    std::vector<TokenIds> prompts;
    for (const size_t m : members) {
      prompts.push_back(Prefix(input.sequences[cases[m].sequence], cases[m]));
      out.forward_tokens += static_cast<int64_t>(prompts.back().size()) + beams * new_tokens;
    }
    LETHE_ASSIGN_OR_RETURN(
        const auto found,
        SearchBeams(input.model, prompts, {.beams = beams, .max_new_tokens = new_tokens}));
    for (size_t i = 0; i < members.size(); ++i) {
      const ExtractionCase& c = cases[members[i]];
      int32_t best = 0;
      for (const Hypothesis& beam : found[i]) {
        best = std::max(best, Recovered(input.sequences[c.sequence], c, beam.ids));
      }
      tally.Add(c, best);
    }
  }
  out.scores = tally.BestShare();
  out.details["exact_match"] = tally.ExactMatch();
  return out;
}

}  // namespace lethe
