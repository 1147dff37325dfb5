// What an extraction attack asks of a model: a prefix, and the tokens that should not come out.
//
//   std::vector<ExtractionCase> cases;
//   AddShareCases(sequence, /*index=*/0, shares, /*max_suffix=*/50, cases);
//
// Without spans  a prefix is the prompt and a share of the answer (the whole sequence, where there
//                is no prompt); what follows is the suffix.
// With spans     one case a span and prefix length: all of the text before the span, or the last
//                few tokens of it; the suffix is the span.
// Cases of one `variant` belong together: the score of a sequence is the best over variants of the
// share of all suffix tokens of the variant that were recovered.
#ifndef LETHE_ENGINE_ATTACK_EXTRACTION_CASE_H_
#define LETHE_ENGINE_ATTACK_EXTRACTION_CASE_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <utility>
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

// Of all sequences: one case a span from all of the text before it, or the prompt's and those of
// `shares`.
std::vector<ExtractionCase> CasesOf(std::span<const Sequence> sequences, bool on_spans,
                                    std::span<const double> shares, int32_t max_suffix);

TokenIds Prefix(const Sequence& sequence, const ExtractionCase& c);

// Tokens of the suffix that `said` recovers: its length less the fewest tokens to insert, delete or
// replace (Levenshtein) between it and as much of `said`; never fewer than stand at their place.
int32_t Recovered(const Sequence& sequence, const ExtractionCase& c, const TokenIds& said);

// log p_z of a case whose prefix is all that stands before it; log_q: of the labelled tokens.
double SuffixLogProb(const Sequence& sequence, const ExtractionCase& c,
                     std::span<const float> log_q);

// What came out, variant by variant.
class RecoveryTally {
 public:
  explicit RecoveryTally(size_t sequences) : sequences_(sequences) {}
  void Add(const ExtractionCase& c, int32_t recovered);
  // One a sequence; 0 where there was nothing to ask for.
  std::vector<double> BestShare() const;   // over the variants, of all suffix tokens
  std::vector<double> ExactMatch() const;  // 1: some variant came out to the last token; else 0

 private:
  struct Count {
    int64_t recovered = 0, asked = 0;
  };
  size_t sequences_;
  std::map<std::pair<size_t, int>, Count> counts_;  // by sequence and variant
};

// Cases in groups for which one call of Generate can serve: new tokens and, for each, the cases. A
// group asks for at most twice what a case needs, and never for more than the context leaves.
std::map<int32_t, std::vector<size_t>> GroupByLength(std::span<const ExtractionCase> cases,
                                                     int64_t context);

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_EXTRACTION_CASE_H_
