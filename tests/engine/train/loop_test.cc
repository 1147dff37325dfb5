// Adam and the training loop on a tiny random decoder: the optimizer against its formula, the
// loop's promises one by one.
#include "engine/train/loop.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/loss/sequence_loss.h"
#include "tests/engine/random_models.h"

namespace lethe {
namespace {

using testing::ElementsAre;

bool SameWeights(const Decoder& model, const std::vector<at::Tensor>& weights) {
  for (size_t i = 0; i < weights.size(); ++i) {
    if (!at::equal(model.Leaves()[i].detach(), weights[i])) return false;
  }
  return true;
}

class LoopTest : public testing::Test {
 protected:
  // Descent on one sequence.
  LoopHooks Descent() {
    return {.accumulate = [this](int64_t) -> absl::StatusOr<StepLoss> {
              auto batches = MakeBatches(model_, sequences_);
              if (!batches.ok()) return batches.status();
              const at::Tensor loss = ComputeTokenLosses(model_, batches->front()).nll.mean();
              loss.backward();
              return StepLoss{loss.item<double>(), loss.item<double>()};
            },
            .judge = nullptr};
  }

  LoopOptions Options(int64_t steps) {
    return {.max_steps = steps, .learning_rate = [](int64_t) { return 0.01; }};
  }

  Decoder model_ = RandomModel({}, 1);
  std::vector<Sequence> sequences_ = {{.ids = {1, 5, 3, 9, 2, 7, 7, 4}}};
};

// Kingma and Ba, by hand in double for one weight over three steps: m, v, their corrections, the
// step.
TEST_F(LoopTest, AdamByHand) {
  const double beta1 = 0.9, beta2 = 0.98, epsilon = 1e-8, rate = 0.01;
  Adam adam(model_.Leaves(), {beta1, beta2, epsilon});
  const at::Tensor& leaf = model_.Leaves().front();
  double weight = leaf.detach().view({-1})[3].item<double>(), m = 0, v = 0;
  for (int step = 1; step <= 3; ++step) {
    model_.ZeroGradients();
    ASSERT_TRUE(Descent().accumulate(step).ok());
    const double gradient = leaf.grad().view({-1})[3].item<double>();
    m = beta1 * m + (1 - beta1) * gradient;
    v = beta2 * v + (1 - beta2) * gradient * gradient;
    weight -= rate * (m / (1 - std::pow(beta1, step))) /
              (std::sqrt(v / (1 - std::pow(beta2, step))) + epsilon);
    adam.Step(rate);
    EXPECT_NEAR(leaf.detach().view({-1})[3].item<double>(), weight,
                1e-6);  // fp32 of a weight below 2
  }
}

TEST_F(LoopTest, GradientNormAndClipAgainstPlainSums) {
  ASSERT_TRUE(Descent().accumulate(1).ok());
  Adam adam(model_.Leaves(), {});
  double squares = 0;
  for (const at::Tensor& leaf : model_.Leaves()) {
    if (leaf.grad().defined()) squares += leaf.grad().to(at::kDouble).square().sum().item<double>();
  }
  const double norm = adam.GradientNorm();
  EXPECT_NEAR(norm, std::sqrt(squares), 1e-5 * norm);
  adam.Clip(norm, norm / 4);
  EXPECT_NEAR(adam.GradientNorm(), norm / 4, 1e-5 * norm);
  adam.Clip(norm / 4, 0);  // 0: never
  EXPECT_NEAR(adam.GradientNorm(), norm / 4, 1e-5 * norm);
}

TEST_F(LoopTest, LearnsAndEndsAtMaxSteps) {
  const auto before = ScoreSequences(model_, sequences_);
  const auto result = RunLoop(model_, Descent(), Options(60));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->stop_reason, "max_steps");
  EXPECT_EQ(result->steps, 60);
  const auto after = ScoreSequences(model_, sequences_);
  EXPECT_LT(after->front().MeanNll(), before->front().MeanNll() / 10);
}

TEST_F(LoopTest, JudgeStopsTheRunAndTheModelIsAsItSawIt) {
  LoopHooks hooks = Descent();
  std::vector<at::Tensor> seen;
  hooks.judge = [&](const StepReport& step) -> absl::StatusOr<Judgement> {
    seen = model_.Snapshot();
    return Judgement{.stop = step.step == 3, .stop_reason = "enough", .score = -1.0 * step.step};
  };
  const auto result = RunLoop(model_, hooks, Options(10));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->stop_reason, "enough");
  EXPECT_EQ(result->steps, 3);
  EXPECT_TRUE(SameWeights(model_, seen));
}

TEST_F(LoopTest, AtMaxStepsTheBestScoredStateComesBack) {
  LoopHooks hooks = Descent();
  std::vector<at::Tensor> fourth;
  hooks.judge = [&](const StepReport& step) -> absl::StatusOr<Judgement> {
    if (step.step == 4) fourth = model_.Snapshot();
    return Judgement{.score = std::abs(static_cast<double>(step.step) - 4)};
  };
  ASSERT_TRUE(RunLoop(model_, hooks, Options(9)).ok());
  EXPECT_TRUE(SameWeights(model_, fourth));
}

TEST_F(LoopTest, AStepTakenBackLeavesNoTraceAndHalvesTheNext) {
  LoopHooks hooks = Descent();
  LoopOptions options = Options(4);
  options.may_take_back = true;
  options.regrow = 1;
  std::vector<double> rates;
  std::vector<at::Tensor> first;
  hooks.judge = [&](const StepReport& step) -> absl::StatusOr<Judgement> {
    rates.push_back(step.learning_rate);
    if (step.step == 1) first = model_.Snapshot();
    return Judgement{.take_back = step.step > 1};
  };
  const auto result = RunLoop(model_, hooks, options);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->taken_back, 3);
  EXPECT_TRUE(SameWeights(model_, first));
  EXPECT_THAT(rates, ElementsAre(0.01, 0.01, 0.005, 0.0025));
}

// The same by hand: one step, then one of half the size that follows its own gradient, with the
// second moments and the step count of the first.
TEST_F(LoopTest, AStepTakenBackRestoresTheMomentsToo) {
  const Decoder twin = model_.Clone();
  LoopHooks hooks = Descent();
  LoopOptions options = Options(3);
  options.may_take_back = true;
  hooks.judge = [&](const StepReport& step) -> absl::StatusOr<Judgement> {
    return Judgement{.take_back = step.step == 2};
  };
  ASSERT_TRUE(RunLoop(model_, hooks, options).ok());

  const std::vector<at::Tensor> reached = model_.Snapshot();
  model_.Restore(twin.Snapshot());
  Adam adam(model_.Leaves(), options.adam);
  ASSERT_TRUE(Descent().accumulate(1).ok());
  adam.Step(0.01);
  model_.ZeroGradients();
  adam.DropMomentum();
  ASSERT_TRUE(Descent().accumulate(3).ok());
  adam.Step(0.005);
  EXPECT_TRUE(SameWeights(model_, reached));
}

TEST_F(LoopTest, TheStepGrowsBeyondTheWholeOnlyWhileItIsAskedTo) {
  LoopHooks hooks = Descent();
  LoopOptions options = Options(6);
  options.speed_up = 2;
  options.max_scale = 3;
  std::vector<double> rates;
  hooks.judge = [&](const StepReport& step) -> absl::StatusOr<Judgement> {
    rates.push_back(step.learning_rate);
    return Judgement{.speed_up = step.step <= 3};
  };
  ASSERT_TRUE(RunLoop(model_, hooks, options).ok());
  using testing::DoubleEq;
  EXPECT_THAT(rates, ElementsAre(DoubleEq(0.01), DoubleEq(0.02), DoubleEq(0.03), DoubleEq(0.03),
                                 DoubleEq(0.01), DoubleEq(0.01)));
}

// No loss is taken after the last step: what it did to the weights has to be looked at by itself.
TEST_F(LoopTest, WeightsThatTheLastStepRuinedAreRefused) {
  LoopOptions options = Options(2);
  options.learning_rate = [](int64_t step) { return step == 2 ? 1e39 : 0.01; };
  EXPECT_EQ(ErrorReason(RunLoop(model_, Descent(), options).status()), "METHOD_DIVERGED");
}

TEST_F(LoopTest, StepsTooSmallToMatterStall) {
  LoopHooks hooks = Descent();
  LoopOptions options = Options(1000);
  options.may_take_back = true;
  hooks.judge = [&](const StepReport&) -> absl::StatusOr<Judgement> {
    return Judgement{.take_back = true};
  };
  const auto before = model_.Snapshot();
  const auto result = RunLoop(model_, hooks, options);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->stop_reason, "stalled");
  EXPECT_EQ(result->steps, 10);  // 2^-10 is the first power below 1e-3
  EXPECT_TRUE(SameWeights(model_, before));
}

TEST_F(LoopTest, StopsWithinOneStepOfTheCallersRefusal) {
  int64_t calls = 0;
  const auto result = RunLoop(model_, Descent(), Options(100), [&](const EngineProgress& p) {
    ++calls;
    return p.step < 7;
  });
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(ErrorReason(result.status()), "STOPPED");
  EXPECT_EQ(calls, 7);
}

TEST_F(LoopTest, ALossOrGradientThatIsNotFiniteIsRefusedBeforeItReachesTheWeights) {
  for (const bool in_loss : {true, false}) {
    LoopHooks hooks = Descent();
    const auto plain = hooks.accumulate;
    hooks.accumulate = [&, in_loss](int64_t step) -> absl::StatusOr<StepLoss> {
      auto loss = plain(step);
      if (step == 3) {
        at::NoGradGuard no_grad;
        const double nan = std::numeric_limits<double>::quiet_NaN();
        if (in_loss) loss->guarded = nan;
        if (!in_loss) model_.Leaves()[0].mutable_grad().fill_(nan);
      }
      return loss;
    };
    const auto result = RunLoop(model_, hooks, Options(10));
    EXPECT_EQ(ErrorReason(result.status()), "METHOD_DIVERGED");
    EXPECT_EQ(ErrorDetails(result.status()).at("step"), "3");
    const auto scores = ScoreSequences(model_, sequences_);
    ASSERT_TRUE(scores.ok());
    EXPECT_TRUE(std::isfinite(scores->front().MeanNll()));
  }
}

TEST_F(LoopTest, AnErrorOfAHookEndsTheRun) {
  LoopHooks hooks = Descent();
  hooks.judge = [](const StepReport&) -> absl::StatusOr<Judgement> {
    return Error(absl::StatusCode::kInternal, "FROM_THE_HOOK", "no");
  };
  EXPECT_EQ(ErrorReason(RunLoop(model_, hooks, Options(5)).status()), "FROM_THE_HOOK");
}

}  // namespace
}  // namespace lethe
