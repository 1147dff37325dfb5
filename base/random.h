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

}  // namespace lethe

#endif  // LETHE_BASE_RANDOM_H_
