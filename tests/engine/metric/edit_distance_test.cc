// The edit distance against its recursive definition.
#include "engine/metric/edit_distance.h"

#include <gtest/gtest.h>

#include <random>

namespace lethe {
namespace {

int64_t Defined(std::span<const int32_t> a, std::span<const int32_t> b) {
  if (a.empty() || b.empty()) return static_cast<int64_t>(a.size() + b.size());
  const int64_t replaced = Defined(a.subspan(1), b.subspan(1)) + (a[0] != b[0]);
  return std::min({replaced, Defined(a.subspan(1), b) + 1, Defined(a, b.subspan(1)) + 1});
}

TEST(EditDistance, EqualsTheDefinition) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 300; ++i) {
    std::vector<int32_t> a(random() % 7), b(random() % 7);
    for (int32_t& x : a) x = static_cast<int32_t>(random() % 3);
    for (int32_t& x : b) x = static_cast<int32_t>(random() % 3);
    EXPECT_EQ(EditDistance(a, b), Defined(a, b));
  }
}

// "kitten" and "sitting".
TEST(EditDistance, ByHand) {
  EXPECT_EQ(EditDistance(std::vector<int32_t>{'k', 'i', 't', 't', 'e', 'n'},
                         std::vector<int32_t>{'s', 'i', 't', 't', 'i', 'n', 'g'}),
            3);
}

}  // namespace
}  // namespace lethe
