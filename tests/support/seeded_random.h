// Reproducible random bytes. A randomised test prints its
// seed and takes it back from LETHE_TEST_SEED.
//
// Threads    any thread may call.
#ifndef LETHE_TESTS_SUPPORT_SEEDED_RANDOM_H_
#define LETHE_TESTS_SUPPORT_SEEDED_RANDOM_H_

#include <cstdint>
#include <cstdlib>
#include <random>
#include <string>

#include "absl/synchronization/mutex.h"
#include "base/random.h"

namespace lethe {

// The seed of this run: LETHE_TEST_SEED, or `otherwise`.
inline uint64_t TestSeed(uint64_t otherwise) {
  const char* text = std::getenv("LETHE_TEST_SEED");
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

class SeededRandom : public Random {
 public:
  explicit SeededRandom(uint64_t seed) : engine_(seed) {}
  std::string Bytes(size_t count) override {
    absl::MutexLock lock(&mu_);
    std::string bytes(count, '\0');
    for (char& c : bytes) c = static_cast<char>(engine_() & 0xff);
    return bytes;
  }

 private:
  absl::Mutex mu_;
  std::mt19937_64 engine_ ABSL_GUARDED_BY(mu_);
};

}  // namespace lethe

#endif  // LETHE_TESTS_SUPPORT_SEEDED_RANDOM_H_
