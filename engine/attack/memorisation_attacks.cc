// EL_n and MA (Jang et al., ACL 2023) as attacks: they need the true text, so they are an
// auditor's, not an outsider's.
#include <map>
#include <vector>

#include "engine/attack/attack_table.h"
#include "engine/metric/memorisation.h"
#include "engine/metric/span_score.h"

namespace lethe {

namespace {

// The n-gram length for `tokens` behind the first prefix: n, or the largest of 5, 3, 2, 1 below it
// that the sequence is long enough for.
int64_t FittingN(int64_t tokens, int64_t n) {
  if (tokens >= n) return n;
  for (const int64_t shorter : {5, 3, 2}) {
    if (shorter < n && tokens >= shorter) return shorter;
  }
  return 1;
}

}  // namespace

absl::StatusOr<AttackScores> ExtractionLikelihood(const AttackInput& input) {
  const auto n = static_cast<int64_t>(input.parameters.at("n"));
  std::map<int64_t, std::vector<size_t>> groups;
  for (size_t i = 0; i < input.sequences.size(); ++i) {
    const Sequence& sequence = input.sequences[i];
    const auto length = static_cast<int64_t>(sequence.ids.size());
    groups[FittingN(length - FirstScored(sequence), n)].push_back(i);
  }
  AttackScores out;
  out.scores.assign(input.sequences.size(), 0);
  for (const auto& [fitting, members] : groups) {
    std::vector<Sequence> chosen;
    for (const size_t m : members) chosen.push_back(input.sequences[m]);
    LETHE_ASSIGN_OR_RETURN(const auto measured,
                           MeasureMemorisation(input.model, chosen, {.el_n = {fitting}}));
    for (size_t i = 0; i < members.size(); ++i) {
      out.scores[members[i]] = measured[i].el.at(fitting);
      out.forward_tokens += measured[i].forward_tokens;
    }
  }
  return out;
}

absl::StatusOr<AttackScores> MemorisationAccuracy(const AttackInput& input) {
  LETHE_ASSIGN_OR_RETURN(const auto tokens, input.forced.Tokens());
  AttackScores out;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const SequenceScore& score = tokens[i].score;
    const auto on_span = SpanHitRate(input.sequences[i], score);
    out.scores.push_back(input.on_spans && on_span.has_value() ? *on_span : score.HitRate());
  }
  return out;
}

}  // namespace lethe
