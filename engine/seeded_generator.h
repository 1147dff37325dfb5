// Random numbers from a seed, the same on every machine (std distributions are not). Not for keys.
//
//   SeededGenerator random(seed);
//   size_t i = random.Below(items.size());
//
// Threads    one at a time. Errors: none.
#ifndef LETHE_ENGINE_SEEDED_GENERATOR_H_
#define LETHE_ENGINE_SEEDED_GENERATOR_H_

#include <cstddef>
#include <cstdint>
#include <random>
#include <span>
#include <utility>
#include <vector>

namespace lethe {

class SeededGenerator {
 public:
  explicit SeededGenerator(uint64_t seed) : bits_(seed) {}

  // 0 to n-1; n at least 1. The bias of the remainder is below n / 2^64.
  size_t Below(size_t n) { return static_cast<size_t>(bits_() % n); }

  // [0, 1)
  double Uniform() { return static_cast<double>(bits_() >> 11) * 0x1p-53; }

  // Fisher and Yates.
  template <typename T>
  void Shuffle(std::vector<T>& items) {
    for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[Below(i)]);
  }

 private:
  std::mt19937_64 bits_;
};

// A number that stands for a text: draws that are seeded by it do not depend on the text's place in a
// list (FNV-1a).
inline uint64_t KeyOf(std::span<const int32_t> ids) {
  uint64_t key = 0xcbf29ce484222325;
  for (const int32_t id : ids) key = (key ^ static_cast<uint32_t>(id)) * 0x100000001b3;
  return key;
}

}  // namespace lethe

#endif  // LETHE_ENGINE_SEEDED_GENERATOR_H_
