// Fingerprints of a sequence: few hashes, of which two sequences share one when they share text.
//
//   const std::vector<uint64_t> prints = Fingerprints(ids, {.gram_tokens = 6, .window = 6}, key);
//
// Winnowing (Schleimer, Wilkerson, Aiken, "Winnowing: local algorithms for document fingerprinting",
// SIGMOD 2003): hash every run of n = gram_tokens tokens; of every `window` neighbouring hashes keep
// the smallest. It keeps about 2 / (window + 1) of them.
//
// Finds      any run of n + window - 1 equal tokens leaves the same fingerprint in both sequences,
//            wherever it stands in them: the choice looks at the run alone. Two equal sequences share
//            the hash of the whole too, however short.
// Misses     shorter runs may be missed, and runs of fewer than n tokens are. Other words for the
//            same, or the same text tokenised differently, are not found.
// Key        the hashes are keyed: who has the index alone cannot ask it whether a text is there.
// Threads    any.
#ifndef LETHE_CORPUS_FINGERPRINTS_H_
#define LETHE_CORPUS_FINGERPRINTS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "corpus/siphash.h"

namespace lethe {

struct GramOptions {
  int32_t gram_tokens = 6;  // n
  int32_t window = 6;       // neighbouring grams of which one is kept
  friend bool operator==(const GramOptions&, const GramOptions&) = default;
};

// The hash of the whole sequence, unlike that of any gram.
uint64_t WholeHash(std::span<const int32_t> ids, const SipKey& key);

// The hashes of all its runs of n tokens, in order; none when it is shorter.
std::vector<uint64_t> GramHashes(std::span<const int32_t> ids, int32_t gram_tokens,
                                 const SipKey& key);

// The whole hash and the grams that winnowing keeps: ascending, each once.
std::vector<uint64_t> Fingerprints(std::span<const int32_t> ids, const GramOptions& options,
                                   const SipKey& key);

}  // namespace lethe

#endif  // LETHE_CORPUS_FINGERPRINTS_H_
