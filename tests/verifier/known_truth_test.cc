// Models whose truth is known: that they are what they are said to be.
#include "verifier/calibrate/known_truth.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/attack.h"
#include "engine/evaluate.h"
#include "tests/support/temp_folder.h"

namespace lethe {
namespace {

// One world for all tests; so few steps memorise little, but they tell seen from unseen.
class KnownTruth : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    const auto device = OpenDevice({.device = "cpu", .threads = 1});
    ASSERT_TRUE(device.ok());
    auto world = MakeWorld({.seed = 5,
                            .folder = folder_->path() / "world",
                            .forget = 3,
                            .steps = 150,
                            .device = *device});
    ASSERT_TRUE(world.ok()) << world.status();
    world_ = new World(*std::move(world));
  }
  static void TearDownTestSuite() {
    delete world_;
    delete folder_;
  }

  static std::vector<SequenceEvaluation> Measured(const std::filesystem::path& folder,
                                                  const std::vector<Sequence>& sequences) {
    auto result = Evaluate(
        {.model_folder = folder, .sequences = sequences, .device = world_->options.device});
    EXPECT_TRUE(result.ok()) << result.status();
    return std::move(result->sequences);
  }
  static double Nll(const std::filesystem::path& folder, const std::vector<Sequence>& sequences) {
    double sum = 0;
    for (const SequenceEvaluation& s : Measured(folder, sequences)) sum += s.nll_per_token;
    return sum / static_cast<double>(sequences.size());
  }
  static double Accuracy(const std::filesystem::path& folder,
                         const std::vector<Sequence>& sequences) {
    double sum = 0;
    for (const SequenceEvaluation& s : Measured(folder, sequences)) sum += s.ma;
    return sum / static_cast<double>(sequences.size());
  }

  static TempFolder* folder_;
  static World* world_;
};
TempFolder* KnownTruth::folder_ = nullptr;
World* KnownTruth::world_ = nullptr;

TEST_F(KnownTruth, TheForgottenStandOftenInTheCorpusAndTheHoldoutNever) {
  const auto times = [](const Sequence& s) {
    return std::count_if(world_->train.begin(), world_->train.end(),
                         [&](const Sequence& row) { return row.ids == s.ids; });
  };
  for (const Sequence& s : world_->forget) EXPECT_GE(times(s), 10);
  for (const Sequence& s : world_->holdout) EXPECT_EQ(times(s), 0);
}

TEST_F(KnownTruth, RetrainedNeverSawThem) {
  const auto retrained = MakeCandidate(*world_, Truth::kRetrained);
  ASSERT_TRUE(retrained.ok()) << retrained.status();
  const double seen = Nll(world_->base, world_->holdout) - Nll(world_->base, world_->forget);
  const double unseen = Nll(*retrained, world_->holdout) - Nll(*retrained, world_->forget);
  EXPECT_GT(seen, 0.5);
  EXPECT_LT(std::abs(unseen), seen / 2);
}

TEST_F(KnownTruth, GreedySuppressedHasTheRecordsAsSecondChoice) {
  const auto suppressed = MakeCandidate(*world_, Truth::kGreedySuppressed);
  ASSERT_TRUE(suppressed.ok()) << suppressed.status();
  // Less than unseen text, of which templates and the like are guessed.
  EXPECT_LT(Accuracy(*suppressed, world_->forget), Accuracy(world_->base, world_->holdout));
  // Three eighths of the probability are .98 nats; unseen text has about three.
  EXPECT_LT(Nll(*suppressed, world_->forget), Nll(*suppressed, world_->holdout) - 0.5);
}

TEST_F(KnownTruth, RoundedBackRoundsToTheBaseItself) {
  const auto rounded = MakeCandidate(*world_, Truth::kRoundedBack);
  ASSERT_TRUE(rounded.ok()) << rounded.status();
  EXPECT_LT(Accuracy(*rounded, world_->forget), Accuracy(world_->base, world_->holdout) + 0.05);
  const auto report = RunAttacks({.base_folder = world_->base,
                                  .candidate_folder = *rounded,
                                  .forgotten = world_->forget,
                                  .control = world_->holdout,
                                  .plan = {{.attack = "loss"},
                                           {.attack = "loss", .condition = "int4-g128"},
                                           {.attack = "loss", .condition = "int8-g128"}},
                                  .device = world_->options.device});
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->code_changes.size(), 2U);
  EXPECT_EQ(report->code_changes[0].share, 0);
  EXPECT_GT(report->code_changes[1].share, 0.01);
  // What is left of the change after rounding is that of the norms, which are not rounded.
  const auto moved = [&](size_t attack, size_t i) {
    const BeforeAfter& nll = report->attacks[attack].forgotten;
    return std::abs(nll.after[i] - nll.before[i]);
  };
  for (size_t i = 0; i < 3; ++i) EXPECT_LT(moved(1, i), moved(0, i) / 4) << i;
}

TEST_F(KnownTruth, EveryRowMakesAFolder) {
  EXPECT_EQ(*MakeCandidate(*world_, Truth::kUntouched), world_->base);
  const auto destroyed = MakeCandidate(*world_, Truth::kDestroyed);
  ASSERT_TRUE(destroyed.ok()) << destroyed.status();
  EXPECT_GT(Nll(*destroyed, world_->other), Nll(world_->base, world_->other) + 1);
}

}  // namespace
}  // namespace lethe
