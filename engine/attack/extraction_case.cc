#include "engine/attack/extraction_case.h"

#include <cmath>

#include "engine/metric/edit_distance.h"
#include "engine/metric/span_score.h"

namespace lethe {

void AddPrefixCase(const Sequence& sequence, size_t index, int32_t tokens, int variant,
                   int32_t max_suffix, std::vector<ExtractionCase>& cases) {
  const auto length = static_cast<int32_t>(sequence.ids.size());
  if (tokens < 1 || tokens >= length) return;
  cases.push_back({index, variant, tokens, std::min(length, tokens + max_suffix), 0});
}

void AddShareCases(const Sequence& sequence, size_t index, std::span<const double> shares,
                   int32_t max_suffix, std::vector<ExtractionCase>& cases) {
  const auto length = static_cast<int32_t>(sequence.ids.size());
  const int32_t answer = length - sequence.prompt_tokens;
  int variant = 0;
  if (sequence.prompt_tokens > 0) {
    AddPrefixCase(sequence, index, sequence.prompt_tokens, variant++, max_suffix, cases);
  }
  for (const double share : shares) {
    const auto taken = static_cast<int32_t>(std::lround(share * answer));
    const int32_t prefix = std::clamp(sequence.prompt_tokens + taken, 1, length - 1);
    AddPrefixCase(sequence, index, prefix, variant++, max_suffix, cases);
  }
}

void AddSpanCases(const Sequence& sequence, size_t index, bool short_too, int32_t max_suffix,
                  std::vector<ExtractionCase>& cases) {
  for (const Span& span : sequence.sensitive) {
    const int32_t begin = std::max(1, span.begin);  // nothing predicts the first token
    const int32_t end = std::min(span.end, begin + max_suffix);
    if (begin >= end) continue;
    cases.push_back({index, 0, begin, end, 0});
    if (short_too) cases.push_back({index, 1, begin, end, std::max(0, begin - kShortPrefix)});
  }
}

std::vector<ExtractionCase> CasesOf(std::span<const Sequence> sequences, bool on_spans,
                                    std::span<const double> shares, int32_t max_suffix) {
  std::vector<ExtractionCase> cases;
  for (size_t i = 0; i < sequences.size(); ++i) {
    if (on_spans) {
      AddSpanCases(sequences[i], i, /*short_too=*/false, max_suffix, cases);
    } else {
      AddShareCases(sequences[i], i, shares, max_suffix, cases);
    }
  }
  return cases;
}

TokenIds Prefix(const Sequence& sequence, const ExtractionCase& c) {
  return TokenIds(sequence.ids.begin() + c.prefix_begin, sequence.ids.begin() + c.begin);
}

int32_t Recovered(const Sequence& sequence, const ExtractionCase& c, const TokenIds& said) {
  const auto length = static_cast<size_t>(c.end - c.begin);
  const std::span<const int32_t> suffix = std::span(sequence.ids).subspan(c.begin, length);
  const int64_t edits = EditDistance(suffix, std::span(said).first(std::min(said.size(), length)));
  return static_cast<int32_t>(static_cast<int64_t>(length) - edits);
}

double SuffixLogProb(const Sequence& sequence, const ExtractionCase& c,
                     std::span<const float> log_q) {
  double sum = 0;
  for (int32_t t = c.begin; t < c.end; ++t) sum += log_q[t - FirstScored(sequence)];
  return sum;
}

void RecoveryTally::Add(const ExtractionCase& c, int32_t recovered) {
  Count& count = counts_[{c.sequence, c.variant}];
  count.recovered += recovered;
  count.asked += c.end - c.begin;
}

std::vector<double> RecoveryTally::BestShare() const {
  std::vector<double> best(sequences_, 0);
  for (const auto& [key, count] : counts_) {
    const double share = static_cast<double>(count.recovered) / static_cast<double>(count.asked);
    best[key.first] = std::max(best[key.first], share);
  }
  return best;
}

std::vector<double> RecoveryTally::ExactMatch() const {
  std::vector<double> exact(sequences_, 0);
  for (const auto& [key, count] : counts_) {
    if (count.recovered == count.asked) exact[key.first] = 1;
  }
  return exact;
}

std::map<int32_t, std::vector<size_t>> GroupByLength(std::span<const ExtractionCase> cases,
                                                     int64_t context) {
  std::map<int32_t, std::vector<size_t>> groups;
  for (size_t i = 0; i < cases.size(); ++i) {
    const int32_t need = cases[i].end - cases[i].begin;
    int32_t rounded = 1;
    while (rounded < need) rounded *= 2;
    const bool fits = cases[i].begin - cases[i].prefix_begin + rounded <= context;
    groups[fits ? rounded : need].push_back(i);
  }
  return groups;
}

}  // namespace lethe
