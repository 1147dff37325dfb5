// Figures on the sensitive spans of a scored sequence.
//
//   std::optional<double> nll = SpanNll(sequence, score);   // nats a token, where one was scored
//
// `score` comes from ScoreSequences with Labels::kAnswer: its entry i is token
// FirstScored(sequence) + i.
#ifndef LETHE_ENGINE_METRIC_SPAN_SCORE_H_
#define LETHE_ENGINE_METRIC_SPAN_SCORE_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <vector>

#include "engine/loss/sequence_loss.h"
#include "text/sequence.h"

namespace lethe {

// The first token that something predicts and that is not prompt.
inline int32_t FirstScored(const Sequence& sequence) { return std::max(1, sequence.prompt_tokens); }

// Entries of a score that lie in sensitive spans, ascending.
inline std::vector<size_t> SpanEntries(const Sequence& sequence) {
  std::vector<size_t> entries;
  const int32_t first = FirstScored(sequence);
  for (const Span& span : sequence.sensitive) {
    for (int32_t t = std::max(span.begin, first); t < span.end; ++t) entries.push_back(t - first);
  }
  return entries;
}

// The entries that count: those of the spans when they are the aim, else (or where no span was
// scored) all.
inline std::vector<size_t> CountedEntries(const Sequence& sequence, bool on_spans) {
  std::vector<size_t> entries;
  if (on_spans) entries = SpanEntries(sequence);
  if (!entries.empty()) return entries;
  entries.resize(sequence.ids.size() - static_cast<size_t>(FirstScored(sequence)));
  std::iota(entries.begin(), entries.end(), size_t{0});
  return entries;
}

inline std::optional<double> SpanNll(const Sequence& sequence, const SequenceScore& score) {
  const std::vector<size_t> entries = SpanEntries(sequence);
  if (entries.empty()) return std::nullopt;
  double sum = 0;
  for (const size_t i : entries) sum += score.nll[i];
  return sum / static_cast<double>(entries.size());
}

inline std::optional<double> SpanHitRate(const Sequence& sequence, const SequenceScore& score) {
  const int32_t first = FirstScored(sequence);
  const std::vector<size_t> entries = SpanEntries(sequence);
  if (entries.empty()) return std::nullopt;
  double hits = 0;
  for (const size_t i : entries)
    hits += score.choice[i] == sequence.ids[first + static_cast<int32_t>(i)];
  return hits / static_cast<double>(entries.size());
}

}  // namespace lethe

#endif  // LETHE_ENGINE_METRIC_SPAN_SCORE_H_
