// What an extraction attack asks of a model: a prefix, and the tokens that should not come out.
//
//   for (const ExtractionCase& c : GreedyCases(sequence, on_spans, parameters)) ...
//
// Without spans  a prefix is the prompt and a share of the answer (the whole sequence, where there
//                is no prompt); what follows is the suffix.
// With spans     one case a span and prefix length: all of the text before the span, or the last
//                few tokens of it; the suffix is the span.
// Cases of one `variant` belong together: the score of a sequence is the best over variants of the
// share of all suffix tokens of the variant that came out at their place.
#ifndef LETHE_ENGINE_ATTACK_EXTRACTION_CASE_H_
#define LETHE_ENGINE_ATTACK_EXTRACTION_CASE_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "engine/model/generate.h"
#include "text/sequence.h"

namespace lethe {

struct ExtractionCase {
  size_t sequence = 0;
  int variant = 0;
  int32_t begin = 0;  // of the suffix, in the sequence
  int32_t end = 0;
  int32_t prefix_begin = 0;  // 0, or later for a shortened prefix
};

// Tokens of a short context before a span.
inline constexpr int32_t kShortPrefix = 8;

// Appends the cases of one sequence. `shares` of the answer go to the prefix; at least one token of
// prefix and of suffix remain.
void AddShareCases(const Sequence& sequence, size_t index, std::span<const double> shares,
                   int32_t max_suffix, std::vector<ExtractionCase>& cases);
void AddSpanCases(const Sequence& sequence, size_t index, bool short_too, int32_t max_suffix,
                  std::vector<ExtractionCase>& cases);
// A prefix of exactly `tokens`; nothing where the sequence is too short.
void AddPrefixCase(const Sequence& sequence, size_t index, int32_t tokens, int variant,
                   int32_t max_suffix, std::vector<ExtractionCase>& cases);

TokenIds Prefix(const Sequence& sequence, const ExtractionCase& c);

// Tokens of `said` that equal the suffix at their place.
int32_t Recovered(const Sequence& sequence, const ExtractionCase& c, const TokenIds& said);

// Cases in groups for which one call of Generate can serve: new tokens and, for each, the cases. A
// group asks for at most twice what a case needs, and never for more than the context leaves.
std::map<int32_t, std::vector<size_t>> GroupByLength(std::span<const ExtractionCase> cases,
                                                     int64_t context);

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_EXTRACTION_CASE_H_
