// What is held and watched, on tiny random decoders: the hold's loss and gradient, probes,
// refusals.
#include "engine/unlearn/kept_text.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <limits>

#include "engine/loss/sequence_loss.h"
#include "tests/engine/random_models.h"

namespace lethe {
namespace {

class KeptTextTest : public testing::Test {
 protected:
  // Nats a token over a set.
  static double Nll(const Decoder& model, const std::vector<Sequence>& sequences) {
    double nats = 0, tokens = 0;
    // Named: a temporary's value() would be gone before the first score is read.
    const auto scores = ScoreSequences(model, sequences);
    for (const SequenceScore& score : *scores) {
      nats += score.total_nll;
      tokens += static_cast<double>(score.nll.size());
    }
    return nats / tokens;
  }

  const Decoder base_ = RandomModel({}, 3), other_ = RandomModel({}, 4);
  // Of mixed lengths, one with a prompt: only its answer counts.
  const std::vector<Sequence> retain_ = {{.ids = {1, 5, 3, 9, 2}},
                                         {.ids = {4, 4}},
                                         {.ids = {7, 2, 8, 6, 1, 3, 3}, .prompt_tokens = 4}};
  const std::vector<Sequence> watch_ = {{.ids = {6, 5, 4, 3}}};
};

// Leaves the parts' gradients; returns what they report.
double Hold(const KeptText& kept, const Decoder& model, double weight,
            const BatchOptions& options = {}) {
  const std::vector<StepPart> parts = kept.HoldParts(model, weight, options).value();
  double total = 0;
  for (const StepPart& part : parts) {
    const PartLoss loss = part.loss(part.inputs);
    loss.slope_of.backward();
    total += loss.value.item<double>();
  }
  return total;
}

TEST_F(KeptTextTest, UnderTheBaseNothingIsHeldAndNothingIsLost) {
  auto kept = KeptText::Make(base_, retain_, watch_, 1);
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_EQ(kept->Damage(), 0);
  kept->Draw(16);
  EXPECT_NEAR(Hold(*kept, base_, 80), 0,
              1e-10);  // the batches are padded differently: fp32 rounding, squared
  ASSERT_TRUE(kept->Probe(base_).ok());
  EXPECT_EQ(kept->Damage(), 0);
}

// The loss again from the scores, as engine/unlearn/gradient_ascent.h defines it; fewer sequences
// than a batch asks for: all of them, each once.
TEST_F(KeptTextTest, TheHoldIsHalfTheMeanSquareOfWhatMoved) {
  auto kept = KeptText::Make(base_, retain_, {}, 1);
  ASSERT_TRUE(kept.ok());
  const auto before = ScoreSequences(base_, retain_).value();
  const auto after = ScoreSequences(other_, retain_).value();
  double squares = 0, tokens = 0;
  for (size_t s = 0; s < retain_.size(); ++s) {
    for (size_t t = 0; t < before[s].nll.size(); ++t, ++tokens) {
      squares += std::pow(after[s].nll[t] - before[s].nll[t], 2);
    }
  }
  EXPECT_EQ(tokens, 4 + 1 + 3);
  for (int step = 0; step < 3; ++step) {
    kept->Draw(16);
    EXPECT_NEAR(Hold(*kept, other_, 1), squares / tokens / 2, 1e-4);
  }
}

TEST_F(KeptTextTest, TheWeightScalesTheGradientAndNotTheLoss) {
  auto one = KeptText::Make(base_, retain_, {}, 1), ten = KeptText::Make(base_, retain_, {}, 1);
  one->Draw(2);
  ten->Draw(2);
  const double loss = Hold(*one, other_, 1);
  const at::Tensor gradient = other_.Leaves()[0].grad().clone();
  other_.ZeroGradients();
  EXPECT_EQ(Hold(*ten, other_, 8), loss);
  EXPECT_TRUE(at::equal(other_.Leaves()[0].grad(), gradient * 8));  // a power of two: exact
}

// Cut as finely as can be, and asked twice: what was drawn stays, and so do loss and gradient.
TEST_F(KeptTextTest, SmallerMicroBatchesHoldTheSameText) {
  auto kept = KeptText::Make(base_, retain_, {}, 1);
  kept->Draw(3);
  const double loss = Hold(*kept, other_, 1);
  const at::Tensor gradient = other_.Leaves()[0].grad().clone();
  other_.ZeroGradients();
  EXPECT_NEAR(Hold(*kept, other_, 1, {.max_tokens = 1}), loss, 1e-5);
  EXPECT_LE((other_.Leaves()[0].grad() - gradient).abs().max().item<double>(), 1e-5);
}

TEST_F(KeptTextTest, DamageIsTheWorseOfRetainAndWatchedAndSeesAWatchedFall) {
  auto kept = KeptText::Make(base_, retain_, watch_, 1);
  ASSERT_TRUE(kept.ok());
  ASSERT_TRUE(kept->Probe(other_).ok());
  const double retain = Nll(other_, retain_) / Nll(base_, retain_) - 1;
  const double watch = Nll(other_, watch_) / Nll(base_, watch_) - 1;
  EXPECT_NEAR(kept->Rise(), std::max(0.0, retain), 1e-5);
  EXPECT_NEAR(kept->Damage(), std::max({0.0, retain, std::abs(watch)}), 1e-5);
  // The other way round one set of signs is the opposite: a fall of the watched text shows.
  auto back = KeptText::Make(other_, {}, watch_, 1);
  ASSERT_TRUE(back->Probe(base_).ok());
  const double opposite = Nll(base_, watch_) / Nll(other_, watch_) - 1;
  EXPECT_EQ(back->Rise(), 0);  // of the retain text alone
  EXPECT_NEAR(back->Damage(), std::abs(opposite), 1e-5);
  EXPECT_GT(back->Damage(), 0);
}

TEST_F(KeptTextTest, RevertGivesTheProbeBefore) {
  auto kept = KeptText::Make(base_, retain_, watch_, 1);
  ASSERT_TRUE(kept->Probe(other_).ok());
  ASSERT_GT(kept->Damage(), 0);
  kept->Revert();
  EXPECT_EQ(kept->Damage(), 0);
}

TEST_F(KeptTextTest, AProbeThatIsNotFiniteIsRefused) {
  auto kept = KeptText::Make(base_, retain_, watch_, 1);
  const Decoder broken = base_.Clone();
  {
    at::NoGradGuard no_grad;
    broken.Leaves().back().fill_(std::numeric_limits<float>::quiet_NaN());
  }
  EXPECT_EQ(ErrorReason(kept->Probe(broken)), "METHOD_DIVERGED");
  EXPECT_EQ(ErrorReason(KeptText::Make(broken, retain_, {}, 1).status()), "METHOD_DIVERGED");
}

TEST_F(KeptTextTest, MakingItCanBeStopped) {
  const std::vector<Sequence> many(200, retain_[0]);
  int calls = 0;
  const auto kept =
      KeptText::Make(base_, many, {}, 1, [&](const EngineProgress&) { return ++calls < 3; });
  EXPECT_EQ(ErrorReason(kept.status()), "STOPPED");
  EXPECT_EQ(calls, 3);
}

}  // namespace
}  // namespace lethe
