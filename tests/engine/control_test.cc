// Which held-out text is compared with.
#include "engine/control.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/seeded_generator.h"

namespace lethe {
namespace {

// A sequence of `length` times one token.
Sequence Of(int32_t token, size_t length) { return {.ids = std::vector<int32_t>(length, token)}; }

std::vector<size_t> Lengths(const std::vector<Sequence>& sequences) {
  std::vector<size_t> lengths;
  for (const Sequence& s : sequences) lengths.push_back(s.ids.size());
  return lengths;
}

TEST(MatchControl, ASmallHoldoutSetIsTakenWhole) {
  const std::vector<Sequence> holdout = {Of(1, 5), Of(1, 50), Of(2, 500)};
  EXPECT_EQ(MatchControl(std::vector<Sequence>{Of(1, 5)}, holdout, {}, {.most = 9, .least = 3}),
            holdout);
  EXPECT_EQ(MatchControl({}, holdout, {}, {.most = 1, .least = 1}), holdout);
}

TEST(MatchControl, LengthDecidesByItself) {
  const std::vector<Sequence> holdout = {Of(1, 10), Of(1, 100), Of(1, 12), Of(1, 90), Of(1, 11)};
  EXPECT_EQ(
      Lengths(MatchControl(std::vector<Sequence>{Of(1, 95)}, holdout, {}, {.most = 2, .least = 2})),
      (std::vector<size_t>{100, 90}));
  // Two kinds of forgotten text take turns.
  EXPECT_EQ(Lengths(MatchControl(std::vector<Sequence>{Of(1, 95), Of(1, 9)}, holdout, {},
                                 {.most = 2, .least = 2})),
            (std::vector<size_t>{10, 100}));
}

TEST(MatchControl, BeyondTheLeastOnlyWhatIsNear) {
  std::vector<Sequence> holdout;
  for (size_t i = 0; i < 20; ++i) holdout.push_back(Of(1, i < 10 ? 100 + i : 10 + i / 10));
  const std::vector<Sequence> forgotten = {Of(1, 104)};
  EXPECT_EQ(MatchControl(forgotten, holdout, {}, {.most = 20, .least = 4}).size(), 10U);
  EXPECT_EQ(MatchControl(forgotten, holdout, {}, {.most = 20, .least = 14}).size(), 14U);
  EXPECT_EQ(MatchControl(forgotten, holdout, {}, {.most = 20, .least = 4, .caliper = 9}).size(),
            20U);
}

TEST(MatchControl, AReferenceThatSawNeitherTellsKindsApart) {
  std::vector<Sequence> retain, holdout;
  for (int i = 0; i < 50; ++i) retain.push_back({.ids = {1, 2, 3, 4, 5, 6, 7, 8}});
  for (int i = 0; i < 6; ++i) {
    holdout.push_back({.ids = {1, 2, 3, 4, 5, 6, 7, 9 + i}});        // much like what is kept
    holdout.push_back({.ids = {30, 31 + i, 22, 23, 40, 8, 2, 21}});  // not at all
  }
  const std::vector<Sequence> forgotten = {{.ids = {1, 2, 3, 4, 5, 6, 7, 20}}};
  for (const Sequence& s : MatchControl(forgotten, holdout, retain, {.most = 6, .least = 6})) {
    EXPECT_EQ(s.ids[0], 1);
  }
  const std::vector<Sequence> strange = {{.ids = {33, 31, 20, 24, 41, 9, 1, 25}}};
  for (const Sequence& s : MatchControl(strange, holdout, retain, {.most = 6, .least = 6})) {
    EXPECT_EQ(s.ids[0], 30);
  }
}

TEST(MatchControl, TextWithoutSpansIsPassedOverWhereThereIsEnough) {
  std::vector<Sequence> holdout;
  for (size_t i = 0; i < 6; ++i) {
    holdout.push_back(Of(1, 20));
    if (i % 2 == 0) holdout.back().sensitive = {{5, 8}};
  }
  Sequence forgotten = Of(1, 20);
  forgotten.sensitive = {{4, 7}};
  const auto with = [&](size_t least) {
    return MatchControl(std::vector<Sequence>{forgotten}, holdout, {}, {.most = 9, .least = least});
  };
  EXPECT_EQ(with(3).size(), 3U);
  EXPECT_EQ(with(4).size(), 6U);
  forgotten.sensitive.clear();
  EXPECT_EQ(with(3).size(), 6U);
}

// One forgotten sequence gets what is nearest: nothing that is left lies nearer than what was
// taken. In the holdout set's order, none twice.
TEST(MatchControl, TakesTheNearestOfRandomSets) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    SeededGenerator random(seed);
    std::vector<Sequence> holdout;
    for (int i = 0; i < 30; ++i) holdout.push_back(Of(i, 1 + random.Below(200)));
    const std::vector<Sequence> forgotten = {Of(1, 1 + random.Below(200))};
    const size_t most = 1 + random.Below(29);
    const auto control = MatchControl(forgotten, holdout, {}, {.most = most, .least = most});
    ASSERT_EQ(control.size(), most);
    const auto away = [&](const Sequence& s) {
      return std::abs(std::log(static_cast<double>(s.ids.size())) -
                      std::log(static_cast<double>(forgotten[0].ids.size())));
    };
    double furthest = 0, nearest_left = 1e9;
    for (const Sequence& s : control) furthest = std::max(furthest, away(s));
    auto next = control.begin();
    for (const Sequence& s : holdout) {
      if (next != control.end() && s == *next) {
        ++next;
      } else {
        nearest_left = std::min(nearest_left, away(s));
      }
    }
    EXPECT_EQ(next, control.end());
    EXPECT_LE(furthest, nearest_left);
  }
}

}  // namespace
}  // namespace lethe
