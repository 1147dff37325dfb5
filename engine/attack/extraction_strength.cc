// Extraction strength (Carlini et al. 2021; METHODS B3): the share of the text that follows
// greedily from the shortest prefix that suffices.
#include "engine/attack/attack_table.h"
#include "engine/metric/span_score.h"

namespace lethe {

absl::StatusOr<AttackScores> ExtractionStrength(const AttackInput& input) {
  LETHE_ASSIGN_OR_RETURN(const auto tokens, input.forced.Tokens());
  AttackScores out;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const Sequence& sequence = input.sequences[i];
    const std::vector<size_t> entries = CountedEntries(sequence, input.on_spans);
    size_t k = entries.size();  // from entry k on, every first choice is right
    while (k > 0 && tokens[i].score.choice[entries[k - 1]] ==
                        sequence.ids[FirstScored(sequence) + entries[k - 1]]) {
      --k;
    }
    out.scores.push_back(static_cast<double>(entries.size() - k) /
                         static_cast<double>(entries.size()));
  }
  return out;
}

}  // namespace lethe
