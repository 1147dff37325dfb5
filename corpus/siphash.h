// SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012): 64 bits that say
// nothing about the input to who does not hold the key, at the price of a plain hash.
//
//   const uint64_t hash = SipHash({.low = k0, .high = k1}, bytes);
//
// Threads    any.
#ifndef LETHE_CORPUS_SIPHASH_H_
#define LETHE_CORPUS_SIPHASH_H_

#include <cstdint>
#include <string_view>

namespace lethe {

struct SipKey {  // the key's first and last eight bytes, little-endian
  uint64_t low = 0, high = 0;
};

uint64_t SipHash(const SipKey& key, std::string_view bytes);

}  // namespace lethe

#endif  // LETHE_CORPUS_SIPHASH_H_
