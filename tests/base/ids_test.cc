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

TEST(Ids, OrderedIdsAreAsOldAsTheyAre) {
  const absl::Time early = absl::FromUnixMillis(1'700'000'000'000);
  const std::string a = NewOrderedId(SecureRandom(), 't', early);
  const std::string same_ms = NewOrderedId(SecureRandom(), 't', early);
  const std::string later = NewOrderedId(SecureRandom(), 't', early + absl::Milliseconds(1));
  EXPECT_TRUE(IsRandomId(a, 't')) << a;
  EXPECT_EQ(a.substr(0, 14), "t-018bcfe56800");  // 1.7e12 in hex
  EXPECT_NE(a, same_ms);
  EXPECT_LT(a, later);
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
