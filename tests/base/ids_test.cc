#include "base/ids.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace lethe {
namespace {

TEST(Ids, NewIdsAreWellFormedAndDiffer) {
  const std::string a = NewId(SecureRandom(), 't'), b = NewId(SecureRandom(), 't');
  EXPECT_TRUE(IsRandomId(a, 't')) << a;
  EXPECT_FALSE(IsRandomId(a, 'j'));
  EXPECT_NE(a, b);
  EXPECT_FALSE(IsRandomId("t-123", 't'));
  EXPECT_FALSE(IsRandomId("t-" + std::string(32, 'G'), 't'));
}

TEST(Ids, ModelNames) {
  EXPECT_TRUE(IsModelName("stories-260k"));
  for (const char* bad : {"", "9a", "A", "a_b", "../x", "a/b", "a b"})
    EXPECT_FALSE(IsModelName(bad)) << bad;
  EXPECT_FALSE(IsModelName(std::string(64, 'a')));
}

TEST(Ids, CountersOnlyCompareWithTheirOwnKind) {
  EXPECT_EQ(Fence{}.Next(), Fence{1});
  EXPECT_LT(Fence{1}, Fence{2});
  static_assert(!std::is_convertible_v<Fence, Generation>);
}

}  // namespace
}  // namespace lethe
