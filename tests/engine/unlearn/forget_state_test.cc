#include "engine/unlearn/forget_state.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <limits>

#include "engine/metric/span_score.h"
#include "engine/model/generate.h"
#include "tests/engine/random_models.h"

namespace lethe {
namespace {

TEST(Aim, ByHand) {
  const Aim on_the_way{.target = 3, .allowance = 1, .start = 1, .nll = 2};
  EXPECT_FALSE(on_the_way.Arrived());
  EXPECT_DOUBLE_EQ(on_the_way.Gap(), 0.5);
  EXPECT_DOUBLE_EQ(on_the_way.Ceiling(), 3.25);
  const Aim there{.target = 3, .allowance = 1, .start = 1, .nll = 3.5};
  EXPECT_TRUE(there.Arrived());
  EXPECT_DOUBLE_EQ(there.Gap(), 0);
  EXPECT_FALSE(there.Overshot());
  EXPECT_TRUE((Aim{.target = 3, .allowance = 1, .start = 1, .nll = 4.01}).Overshot());
  // Beyond its target from the start: that is no overshoot of ours.
  EXPECT_FALSE((Aim{.target = 3, .allowance = 1, .start = 6, .nll = 6.5}).Overshot());
}

TEST(SpanScore, EntriesCountFromTheFirstScoredToken) {
  const Sequence plain{.ids = {1, 2, 3, 4, 5}, .sensitive = {{0, 2}, {4, 5}}};
  EXPECT_EQ(SpanEntries(plain), (std::vector<size_t>{0, 3}));  // token 0 is predicted by nothing
  const Sequence prompted{.ids = {1, 2, 3, 4, 5}, .prompt_tokens = 3, .sensitive = {{4, 5}}};
  EXPECT_EQ(SpanEntries(prompted), (std::vector<size_t>{1}));
  const SequenceScore score{.nll = {9, 3}, .choice = {4, 0}, .hits = 1, .total_nll = 12};
  EXPECT_DOUBLE_EQ(*SpanNll(prompted, score), 3);
  EXPECT_DOUBLE_EQ(*SpanHitRate(prompted, score), 0);
  EXPECT_FALSE(SpanNll({.ids = {1, 2}}, score).has_value());
}

class ForgetStateTest : public testing::Test {
 protected:
  const Decoder model_ = RandomModel({}, 3);
  // The second is what the model itself says, so that MA and EL are above zero.
  void SetUp() override {
    const auto said =
        GenerateContinuations(model_, std::vector<TokenIds>{{4, 4}}, {.max_new_tokens = 6});
    ASSERT_TRUE(said.ok());
    sequences_ = {{.ids = {1, 5, 3, 9, 2}}, {.ids = {4, 4}}};
    sequences_[1].ids.insert(sequences_[1].ids.end(), (*said)[0][0].begin(), (*said)[0][0].end());
  }

  std::vector<Sequence> sequences_;
};

TEST_F(ForgetStateTest, MeasuresWhatScoreSequencesSays) {
  const ModelThresholds thresholds{.ma = 0.5, .nll_mean = 1e9, .nll_sd = 1, .sequences = 8};
  ForgetState state(sequences_, thresholds, {});
  ASSERT_TRUE(state.Measure(model_).ok());
  const auto scores = ScoreSequences(model_, sequences_);
  ASSERT_TRUE(scores.ok());
  EXPECT_DOUBLE_EQ(state.MeanNll(), ((*scores)[0].MeanNll() + (*scores)[1].MeanNll()) / 2);
  EXPECT_DOUBLE_EQ(state.MeanMa(), ((*scores)[0].HitRate() + (*scores)[1].HitRate()) / 2);
  EXPECT_FALSE(state.AllArrived());
}

TEST_F(ForgetStateTest, TheRuleAsksForMaAndEl) {
  const auto under = [&](double ma, double el, double slack) {
    const ModelThresholds thresholds{
        .el = {{2, el}}, .ma = ma, .nll_mean = 1e-9, .nll_sd = 1, .sequences = 8};
    ForgetState state(sequences_, thresholds, {.el_n = 10, .slack = slack});
    EXPECT_TRUE(state.Measure(model_).ok());
    return state.UnderThresholds(model_).value();
  };
  EXPECT_TRUE(under(1.1, 1.1, 0));
  EXPECT_FALSE(under(1e-9, 1.1, 0));
  EXPECT_FALSE(under(1.1, 1e-9, 0));
  EXPECT_TRUE(under(1e-9, 1e-9, 1.1));  // the slack covers both
}

TEST_F(ForgetStateTest, ElIsNotAskedWhileMaIsHigh) {
  const ModelThresholds thresholds{
      .el = {{2, 1.0}}, .ma = 1e-9, .nll_mean = 1, .nll_sd = 1, .sequences = 8};
  ForgetState state(sequences_, thresholds, {});
  ASSERT_TRUE(state.Measure(model_).ok());
  ASSERT_GT(state.MeanMa(), 0.4);
  ASSERT_FALSE(state.UnderThresholds(model_).value());
  EXPECT_EQ(state.MeanEl(), -1);
}

// NaN is below no threshold and above none: without a verdict of its own it would pass for arrived.
TEST_F(ForgetStateTest, AModelThatGivesNanIsRefused) {
  const ModelThresholds thresholds{.ma = 0.5, .nll_mean = 5, .nll_sd = 1, .sequences = 16};
  ForgetState state(sequences_, thresholds, {});
  const Decoder broken = model_.Clone();
  {
    at::NoGradGuard no_grad;
    broken.Leaves().back().fill_(std::numeric_limits<float>::quiet_NaN());
  }
  EXPECT_EQ(ErrorReason(state.Measure(broken)), "METHOD_DIVERGED");
}

TEST_F(ForgetStateTest, RevertGivesTheMeasurementBefore) {
  const ModelThresholds thresholds{.ma = 0.5, .nll_mean = 5, .nll_sd = 1, .sequences = 8};
  ForgetState state(sequences_, thresholds, {});
  ASSERT_TRUE(state.Measure(model_).ok());
  const double before = state.MeanNll();
  ASSERT_TRUE(state.Measure(RandomModel({}, 4)).ok());
  ASSERT_NE(state.MeanNll(), before);
  state.Revert();
  EXPECT_EQ(state.MeanNll(), before);
}

}  // namespace
}  // namespace lethe
