// Memorisation accuracy and extraction likelihood (Jang et al., ACL 2023), exactly and fast.
//
//   LETHE_ASSIGN_OR_RETURN(std::vector<Memorisation> m,
//                          MeasureMemorisation(model, sequences, {.el_n = {3, 5, 10}}));
//   m[0].ma;   m[0].el.at(10);
//
// With x the sequence, T its length, s = max(1, prompt_tokens) and g(i) the greedy continuation of
// x[:i] up to length T in all:
//   MA    mean over i = s..T-1 of [first token of g(i) == x[i]]
//   EL_n  mean over i = s..T-n of
//         (n-grams of g(i), with multiplicity, that occur in x[i:]) / (n-grams of x[i:])
// Without a prompt these are the paper's. An end token is a token like any other. EL_n is absent
// where T - n < s.
//
// Fast       greedy decoding is a function of the prefix, so all prefixes between two greedy
//            mistakes share one continuation: one teacher-forced pass finds the mistakes, and only
//            they roll out, in batches over the sequence's own KV cache. A roll-out ends early once
//            it can add no n-gram any more. The values are those of T-1 separate generations.
// Ties       two best logits that fp32 cannot tell apart are decided in float64, then for the lowest
//            id (first_choice.h), so that the values do not depend on what is measured together.
//            EL and MA belong to a precision: this is fp32.
// Memory     sequences are read together, and fewer at a time where memory does not suffice.
// Threads    const model: any.
// Errors     INVALID_ARGUMENT/SEQUENCE_TOO_SHORT (nothing behind the first token or the prompt),
//            SEQUENCE_TOO_LONG, TOKEN_OUT_OF_RANGE, BAD_EL_N; RESOURCE_EXHAUSTED/OUT_OF_MEMORY.
#ifndef LETHE_ENGINE_METRIC_MEMORISATION_H_
#define LETHE_ENGINE_METRIC_MEMORISATION_H_

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/model/language_model.h"
#include "text/sequence.h"

namespace lethe {

struct MemorisationOptions {
  std::vector<int64_t> el_n = {10};          // empty: MA only, which costs one forward pass
  int64_t cache_bytes = int64_t{256} << 20;  // of the roll-outs' own keys and values
};

struct Memorisation {
  double ma = 0;
  std::map<int64_t, double> el;      // n -> EL_n
  std::vector<int32_t> greedy_next;  // (T-1): the model's first choice after x[:1], x[:2], ...
  int64_t rollouts = 0;              // greedy mistakes that were rolled out
  // tokens fed to the model: T and one a step of each live roll-out. Besides, a tie reads its text
  // once more.
  int64_t forward_tokens = 0;
  int64_t ties = 0;  // choices that fp32 could not make
};

// In the order of `sequences`.
absl::StatusOr<std::vector<Memorisation>> MeasureMemorisation(
    const LanguageModel& model, std::span<const Sequence> sequences,
    const MemorisationOptions& options = {});

}  // namespace lethe

#endif  // LETHE_ENGINE_METRIC_MEMORISATION_H_
