// S-MA and S-EL (Wang et al. 2025, SeUL): MA and EL_n of the sensitive spans alone. The paper gives
// no code; the reading is ours:
//
//   S     the positions inside spans, from the first that something predicts
//   S-MA  mean over t in S of [first choice after x[:t] == x[t]]
//   S-EL  mean over the prefixes x[:t], t in S, of the share of the n-grams of x[t:] that touch S
//         and occur in the greedy continuation
#include <algorithm>
#include <map>

#include "engine/attack/attack_table.h"
#include "engine/attack/extraction_case.h"
#include "engine/metric/ngram_overlap.h"
#include "engine/metric/span_score.h"

namespace lethe {
namespace {

constexpr char kNoSpans[] = "not every sequence names a sensitive span";

// One sequence and what the model says after its prefixes. Those between two greedy mistakes share
// a continuation: up to the next mistake the model says the text itself.
struct SpanText {
  const Sequence* sequence;
  std::vector<int32_t> prefixes;  // t in S
  int32_t end = 0;                // of the last n-gram that touches S
  int32_t n = 1;
  std::vector<bool> sensitive;       // by position
  std::map<int32_t, TokenIds> said;  // mistake -> the text up to it and the continuation, to `end`
  std::map<int32_t, int32_t> mistake;  // prefix -> the first mistake behind it; `end`: none
};

SpanText Prepare(const Sequence& sequence, const SequenceScore& score, int32_t n) {
  SpanText text{.sequence = &sequence};
  const auto length = static_cast<int32_t>(sequence.ids.size());
  text.sensitive.assign(sequence.ids.size(), false);
  for (const size_t e : SpanEntries(sequence)) {
    text.prefixes.push_back(FirstScored(sequence) + static_cast<int32_t>(e));
    text.sensitive[text.prefixes.back()] = true;
  }
  if (text.prefixes.empty()) return text;
  text.n = std::min(n, length - text.prefixes.front());
  text.end = std::min(length, text.prefixes.back() + text.n);
  for (const int32_t t : text.prefixes) {
    int32_t m = t;
    while (m < text.end && score.choice[m - FirstScored(sequence)] == sequence.ids[m]) ++m;
    text.mistake[t] = m;
    if (m < text.end) text.said[m] = {};
  }
  return text;
}

// S-EL of one sequence, all roll-outs being there.
double Score(const SpanText& text) {
  const std::vector<int32_t>& x = text.sequence->ids;
  double sum = 0;
  int64_t prefixes = 0;
  for (const int32_t t : text.prefixes) {
    const int32_t mistake = text.mistake.at(t);
    const TokenIds& said = mistake < text.end ? text.said.at(mistake) : x;
    const auto continuation = std::span(said).subspan(t, text.end - t);
    // last[s - t]: where in the continuation the n-gram x[s:s+n] stands.
    const std::vector<int64_t> last =
        LastOccurrences(std::span(x).first(text.end), continuation, text.n, t);
    int64_t touching = 0, found = 0;
    for (int32_t s = t; s + text.n <= text.end; ++s) {
      const auto begin = text.sensitive.begin() + s;
      if (std::find(begin, begin + text.n, true) == begin + text.n) continue;
      ++touching;
      found += last[s - t] >= 0;
    }
    if (touching == 0) continue;
    sum += static_cast<double>(found) / static_cast<double>(touching);
    ++prefixes;
  }
  return prefixes > 0 ? sum / static_cast<double>(prefixes) : 0;
}

// Greedy continuations of the prefixes that end at a mistake, to the end that counts.
absl::Status RollOut(const AttackInput& input, std::vector<SpanText>& texts, int64_t* tokens) {
  std::vector<PrefixPlace> places;
  for (size_t i = 0; i < texts.size(); ++i) {
    for (const auto& [mistake, said] : texts[i].said) {
      places.push_back({.sequence = i, .after = mistake, .end = texts[i].end});
    }
  }
  LETHE_ASSIGN_OR_RETURN(const Continuations rolled, input.forced.Continue(places));
  *tokens += rolled.forward_tokens;
  for (size_t p = 0; p < places.size(); ++p) {
    const std::vector<int32_t>& ids = texts[places[p].sequence].sequence->ids;
    TokenIds& whole = texts[places[p].sequence].said[places[p].after];
    whole.assign(ids.begin(), ids.begin() + places[p].after);
    whole.insert(whole.end(), rolled.texts[p].begin(), rolled.texts[p].end());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<AttackScores> SpanAccuracy(const AttackInput& input) {
  AttackScores out;
  if (!input.on_spans) {
    out.not_applicable = kNoSpans;
    return out;
  }
  LETHE_ASSIGN_OR_RETURN(const auto tokens, input.forced.Tokens());
  for (size_t i = 0; i < tokens.size(); ++i) {
    out.scores.push_back(SpanHitRate(input.sequences[i], tokens[i].score).value_or(0));
  }
  return out;
}

absl::StatusOr<AttackScores> SpanExtractionLikelihood(const AttackInput& input) {
  AttackScores out;
  if (!input.on_spans) {
    out.not_applicable = kNoSpans;
    return out;
  }
  LETHE_ASSIGN_OR_RETURN(const auto tokens, input.forced.Tokens());
  const auto n = static_cast<int32_t>(input.parameters.at("n"));
  std::vector<SpanText> texts;
  for (size_t i = 0; i < tokens.size(); ++i) {
    texts.push_back(Prepare(input.sequences[i], tokens[i].score, n));
  }
  LETHE_RETURN_IF_ERROR(RollOut(input, texts, &out.forward_tokens));
  for (const SpanText& text : texts) out.scores.push_back(Score(text));
  return out;
}

}  // namespace lethe
