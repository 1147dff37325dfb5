// A reference that has seen no model: a trigram model of the registered text, with which forgotten
// text and control are compared for being of one kind.
//
//   NgramReference reference(retain, vocab_size);
//   std::vector<double> nll = reference.TokenNll(sequence);   // nats, from FirstScored on
//
//   P(w | h) = (c(h w) + n(h) P(w | h')) / (c(h) + n(h))      Witten and Bell 1991, interpolated
//
// h is the last two tokens (as many as there are), h' is h without its first, c counts, n(h) is how
// many different tokens follow h. A history that was never seen leaves all to the shorter one; below
// the empty one all tokens of the vocabulary are equal. So no token has probability 0, and those of
// a history sum to 1.
// Memory     a few dozen bytes a different trigram of the text.
// Threads    const calls from any. Errors: none; ids outside the vocabulary count as unseen.
#ifndef LETHE_ENGINE_METRIC_NGRAM_REFERENCE_H_
#define LETHE_ENGINE_METRIC_NGRAM_REFERENCE_H_

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "text/sequence.h"

namespace lethe {

class NgramReference {
 public:
  NgramReference(std::span<const Sequence> text, int64_t vocab_size);

  // P(token | the end of `before`).
  double Probability(std::span<const int32_t> before, int32_t token) const;

  // Of every token behind the prompt (behind the first, where there is none).
  std::vector<double> TokenNll(const Sequence& sequence) const;
  // Their mean, or that of those in sensitive spans, where there are such.
  double MeanNll(const Sequence& sequence, bool on_spans) const;

 private:
  struct Followers {
    int64_t count = 0;
    std::unordered_map<int32_t, int64_t> next;
  };
  const double vocab_size_;
  // By the length of the history: none, one token, two.
  std::array<std::unordered_map<uint64_t, Followers>, 3> histories_;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_METRIC_NGRAM_REFERENCE_H_
