// Random bytes that are passed in. Ids, keys and nonces come
// from here; tests pass a seeded generator.
//
//   std::string id = NewId(random, 't');   // "t-" and 32 hex digits
//
// Threads    any thread may call.
#ifndef LETHE_BASE_RANDOM_H_
#define LETHE_BASE_RANDOM_H_

#include <cstddef>
#include <string>

#include "absl/time/time.h"

namespace lethe {

class Random {
 public:
  virtual ~Random() = default;
  // `count` bytes. The system's generator never fails silently: it ends the
  // process when the kernel gives no entropy.
  virtual std::string Bytes(size_t count) = 0;
};

// OpenSSL's generator; lives for ever. Fit for keys.
Random* SecureRandom();

std::string NewId(Random* random, char prefix);
// The same with the time (in ms since 1970) in the first 12 digits and 80 random bits
// after it: what is made one after the other lies side by side in an ordered store,
// where putting it costs a third.
std::string NewOrderedId(Random* random, char prefix, absl::Time now);

}  // namespace lethe

#endif  // LETHE_BASE_RANDOM_H_
