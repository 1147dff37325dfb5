// How the hold follows what kept text has lost, against values worked out by hand.
#include "engine/unlearn/hold_control.h"

#include <gtest/gtest.h>

namespace lethe {
namespace {

TEST(HoldControl, FallsWhileKeptTextDoesNotSufferAndGrowsWhileItDoes) {
  HoldControl control(0.04);
  EXPECT_DOUBLE_EQ(control.firmness(), 1);
  for (int i = 0; i < 4; ++i) control.Note(0.009, 0.009);
  const double four = 1 / 1.05 / 1.05 / 1.05 / 1.05;
  EXPECT_DOUBLE_EQ(control.firmness(), four);
  control.Note(0.01, 0.01);  // neither below a quarter nor above a half of the limit
  control.Note(0.02, 0.02);
  EXPECT_DOUBLE_EQ(control.firmness(), four);
  EXPECT_TRUE(control.MayPush());
  control.Note(0.021, 0.021);
  EXPECT_DOUBLE_EQ(control.firmness(), four * 1.15);
  EXPECT_FALSE(control.MayPush());
}

TEST(HoldControl, StaysBetweenAnEighthAndOne) {
  HoldControl control(0.04);
  for (int i = 0; i < 100; ++i) control.Note(0, 0);
  EXPECT_DOUBLE_EQ(control.firmness(), 0.125);
  for (int i = 0; i < 100; ++i) control.Note(1, 1);
  EXPECT_DOUBLE_EQ(control.firmness(), 1);
}

// Unseen text that becomes likelier is damage, and no reason to hold retain text harder.
TEST(HoldControl, OnlyARiseMakesItFirmer) {
  HoldControl control(0.04);
  control.Note(0, 0.039);
  EXPECT_DOUBLE_EQ(control.firmness(), 1 / 1.05);
  EXPECT_TRUE(control.MayPush());
  control.Note(0, 0.041);
  EXPECT_FALSE(control.MayPush());
}

TEST(HoldControl, Limits) {
  const HoldControl control(0.04);
  EXPECT_TRUE(control.LeavesRoom(0.019));
  EXPECT_FALSE(control.LeavesRoom(0.021));
  EXPECT_FALSE(control.TooFar(0.079));
  EXPECT_TRUE(control.TooFar(0.081));
}

}  // namespace
}  // namespace lethe
