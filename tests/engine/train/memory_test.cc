// Memory that runs out in the middle of a step: each allocation of a run fails once, and what comes
// out is compared with the run that had memory enough.
#include <ATen/TensorOperators.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "engine/loss/sequence_loss.h"
#include "engine/metric/memorisation.h"
#include "engine/model/generate.h"
#include "engine/train/loop.h"
#include "tests/engine/failing_memory.h"
#include "tests/engine/random_models.h"

namespace lethe {
namespace {

constexpr int64_t kAmple = 4096, kLongest = 12;

std::vector<Sequence> SequencesOf(uint64_t seed, int count) {
  std::mt19937_64 random(seed);
  std::vector<Sequence> sequences;
  for (int i = 0; i < count; ++i) {
    const int64_t tokens = i == 0 ? kLongest : 2 + static_cast<int64_t>(random() % (kLongest - 1));
    sequences.push_back({.ids = RandomIds(random, tokens, 12)});
  }
  return sequences;
}

struct Shortage {
  int64_t fail_at = 0;      // the allocation that fails; 0: none
  int64_t limit_bytes = 0;  // of tensors; 0: none
};

struct Outcome {
  absl::StatusOr<LoopResult> result = absl::UnknownError("not run");
  std::vector<at::Tensor> weights;
  int halvings = 0;
  int64_t tokens = 0;
  double figure = 0;  // of the last progress; 0: memory was never short
  bool failed = false;
  int64_t allocations = 0, peak_bytes = 0;
};

// Three steps of descent on the token mean of nine sequences, with a judge that looks at them and
// takes the second step back where that is allowed.
class ShortOfMemory : public testing::TestWithParam<bool> {
 protected:
  Outcome Run(const Shortage& shortage = {}, int64_t micro_batch_tokens = kAmple) {
    model_.Restore(start_);
    MicroBatch micro_batch(micro_batch_tokens, kLongest);
    LoopHooks hooks;
    hooks.accumulate = [&](int64_t) -> absl::StatusOr<StepLoss> {
      LETHE_ASSIGN_OR_RETURN(const auto batches,
                             MakeBatches(model_, sequences_, {.max_tokens = micro_batch.tokens()}));
      const auto labelled = static_cast<double>(LabelledTokens(batches));
      double total = 0;
      for (const LossBatch& batch : batches) {
        const at::Tensor loss = ComputeTokenLosses(model_, batch).nll.sum() / labelled;
        loss.backward();
        total += loss.item<double>();
      }
      return StepLoss{total, total};
    };
    hooks.judge = [&](const StepReport& step) -> absl::StatusOr<Judgement> {
      LETHE_RETURN_IF_ERROR(ScoreSequences(model_, sequences_).status());
      return Judgement{.take_back = GetParam() && step.step == 2};
    };
    Outcome out;
    memory_.LimitTo(shortage.limit_bytes);
    memory_.FailAt(shortage.fail_at);
    // epsilon: with Adam's own of 1e-8 a gradient that is nothing but rounding moves its weight by
    // the whole learning rate.
    out.result = RunLoop(model_, hooks,
                         {.max_steps = 3,
                          .learning_rate = [](int64_t) { return 0.01; },
                          .adam = {.epsilon = 1e-3},
                          .max_grad_norm = 0.5,
                          .may_take_back = GetParam(),
                          .micro_batch = &micro_batch},
                         [&](const EngineProgress& p) {
                           const auto found = p.figures.find("micro_batch_tokens");
                           if (found != p.figures.end()) out.figure = found->second;
                           return true;
                         });
    out.failed = memory_.failed();
    out.allocations = memory_.allocations();
    out.peak_bytes = memory_.peak_bytes();
    memory_.LimitTo(0);
    memory_.FailAt(0);
    out.weights = model_.Snapshot();
    out.halvings = micro_batch.halvings();
    out.tokens = micro_batch.tokens();
    return out;
  }

  static double LargestGap(const Outcome& a, const Outcome& b) {
    double gap = 0;
    for (size_t i = 0; i < a.weights.size(); ++i) {
      gap = std::max(gap, (a.weights[i] - b.weights[i]).abs().max().item<double>());
    }
    return gap;
  }

  FailingMemory memory_;
  const Decoder model_ = RandomModel({}, 1);
  const std::vector<at::Tensor> start_ = model_.Snapshot();
  const std::vector<Sequence> sequences_ = SequencesOf(4, 9);
};

TEST_P(ShortOfMemory, EachAllocationMayFailOnce) {
  Run();  // what is made once in a process, as oneDNN's kernels are, is not counted
  const Outcome whole = Run();
  ASSERT_TRUE(whole.result.ok()) << whole.result.status();
  const int64_t allocations = whole.allocations;
  ASSERT_GT(allocations, 100);
  int same = 0, halved = 0;
  for (int64_t n = 1; n <= allocations; ++n) {
    SCOPED_TRACE("allocation " + std::to_string(n) + " of " + std::to_string(allocations));
    const Outcome out = Run({.fail_at = n});
    ASSERT_TRUE(out.failed);
    // Before and behind the steps (Adam's moments, the last look at the weights) nothing is tried
    // again: the run ends, and its caller writes nothing.
    if (!out.result.ok()) {
      EXPECT_EQ(out.result.status().code(), absl::StatusCode::kResourceExhausted);
      EXPECT_EQ(ErrorReason(out.result.status()), "OUT_OF_MEMORY");
      EXPECT_EQ(out.halvings, 0);
      continue;
    }
    EXPECT_EQ(out.result->steps, 3);
    EXPECT_EQ(out.result->taken_back, whole.result->taken_back);
    if (out.halvings == 0) {
      EXPECT_EQ(LargestGap(out, whole), 0);  // not a bit
      ++same;
    } else {
      EXPECT_EQ(out.halvings, 1);
      EXPECT_EQ(out.figure, kAmple / 2);
      // Three steps of sums of fp32 in another order.
      EXPECT_LE(LargestGap(out, whole), 2e-5);
      ++halved;
    }
  }
  std::cout << allocations << " allocations: " << same << " runs to the same bits, " << halved
            << " with a halved micro-batch" << std::endl;
  EXPECT_GT(same, 10);  // Adam's step, and what the judge looks at
  EXPECT_GT(halved, 50);
  EXPECT_GT(same + halved, allocations * 17 / 20);
}

// A device that is too small for the whole batch, and not for a part of it.
TEST_P(ShortOfMemory, HalvesUntilItFits) {
  const Outcome whole = Run(), smallest = Run({}, kLongest);
  ASSERT_TRUE(whole.result.ok() && smallest.result.ok());
  const int64_t least = smallest.peak_bytes, most = whole.peak_bytes;
  ASSERT_LT(least, most);
  const Outcome out = Run({.limit_bytes = least + (most - least) / 4});
  ASSERT_TRUE(out.result.ok()) << out.result.status();
  EXPECT_TRUE(out.failed);
  EXPECT_GT(out.halvings, 3);  // 4096 to the 90 tokens or so that there are, and further
  EXPECT_GE(out.tokens, kLongest);
  EXPECT_LT(out.tokens, 128);
  EXPECT_EQ(out.figure, static_cast<double>(out.tokens));
  EXPECT_LE(LargestGap(out, whole), 2e-5);
}

TEST_P(ShortOfMemory, NothingFits) {
  const absl::Status status = Run({.limit_bytes = 1}).result.status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ErrorReason(status), "OUT_OF_MEMORY");
}

// All but the step itself fits.
TEST_P(ShortOfMemory, AStepOverOneSequenceThatDoesNotFitNamesItsLength) {
  MicroBatch micro_batch(kAmple, kLongest);
  int tries = 0;
  const LoopHooks hooks{.accumulate = [&](int64_t) -> absl::StatusOr<StepLoss> {
                          ++tries;
                          throw std::bad_alloc();
                        },
                        .judge = nullptr};
  const auto result = RunLoop(
      model_, hooks,
      {.max_steps = 3, .learning_rate = [](int64_t) { return 0.01; }, .micro_batch = &micro_batch});
  EXPECT_EQ(ErrorReason(result.status()), "OUT_OF_MEMORY");
  EXPECT_EQ(ErrorDetails(result.status()).at("tokens"), std::to_string(kLongest));
  EXPECT_NE(result.status().message().find("shorter sequences"), absl::string_view::npos);
  EXPECT_EQ(micro_batch.tokens(), kLongest);
  EXPECT_EQ(tries, 1 + 9);  // 4096, 2048, ..., 16, 12
  EXPECT_EQ(micro_batch.halvings(), 9);
}

INSTANTIATE_TEST_SUITE_P(Steps, ShortOfMemory, testing::Bool(),
                         [](const auto& info) { return info.param ? "MayBeTakenBack" : "Stand"; });

TEST(MicroBatch, HalvesDownToTheLongestSequence) {
  MicroBatch micro_batch(1000, 300);
  std::vector<int64_t> tokens;
  do {
    tokens.push_back(micro_batch.tokens());
  } while (micro_batch.Halve());
  EXPECT_EQ(tokens, (std::vector<int64_t>{1000, 500, 300}));
  EXPECT_EQ(micro_batch.halvings(), 2);
  EXPECT_FALSE(MicroBatch(100, 300).Halve());
}

// Measuring and generating: a group that does not fit is read in halves.
class ShortOfMemoryReading : public testing::Test {
 protected:
  // Calls `work` with each allocation failing in turn; `work` compares, and returns its status.
  template <typename Work>
  void FailEach(const Work& work) {
    memory_.FailAt(0);
    ASSERT_TRUE(work().ok());
    const int64_t allocations = memory_.allocations();
    ASSERT_GT(allocations, 10);
    int failed = 0;
    for (int64_t n = 1; n <= allocations; n += n < 300 ? 1 : 37) {
      SCOPED_TRACE("allocation " + std::to_string(n) + " of " + std::to_string(allocations));
      memory_.FailAt(n);
      const absl::Status status = work();
      ASSERT_TRUE(status.ok()) << status;
      failed += memory_.failed();
    }
    EXPECT_GT(failed, 10);
  }

  FailingMemory memory_;
  const Decoder model_ = RandomModel({.context = 40}, 2);
  const std::vector<Sequence> sequences_ = SequencesOf(9, 7);
};

TEST_F(ShortOfMemoryReading, Scores) {
  const auto whole = ScoreSequences(model_, sequences_).value();
  FailEach([&] {
    const auto scores = ScoreSequences(model_, sequences_);
    if (!scores.ok()) return scores.status();
    for (size_t i = 0; i < whole.size(); ++i) {
      EXPECT_EQ((*scores)[i].choice, whole[i].choice);
      EXPECT_EQ((*scores)[i].hits, whole[i].hits);
      EXPECT_NEAR((*scores)[i].total_nll, whole[i].total_nll, 1e-4);
    }
    return absl::OkStatus();
  });
}

TEST_F(ShortOfMemoryReading, Memorisation) {
  const auto whole = MeasureMemorisation(model_, sequences_, {.el_n = {1, 2, 3}}).value();
  FailEach([&] {
    const auto measured = MeasureMemorisation(model_, sequences_, {.el_n = {1, 2, 3}});
    if (!measured.ok()) return measured.status();
    for (size_t i = 0; i < whole.size(); ++i) {
      EXPECT_EQ((*measured)[i].ma, whole[i].ma);
      EXPECT_EQ((*measured)[i].el, whole[i].el);
      EXPECT_EQ((*measured)[i].rollouts, whole[i].rollouts);
      EXPECT_EQ((*measured)[i].forward_tokens, whole[i].forward_tokens);
    }
    return absl::OkStatus();
  });
}

TEST_F(ShortOfMemoryReading, Continuations) {
  std::vector<TokenIds> prompts;
  for (const Sequence& sequence : sequences_) prompts.push_back(sequence.ids);
  for (const double temperature : {0.0, 1.0}) {
    const GenerateOptions options{
        .max_new_tokens = 9, .samples = 2, .temperature = temperature, .seed = 5};
    const auto whole = GenerateContinuations(model_, prompts, options).value();
    FailEach([&] {
      const auto said = GenerateContinuations(model_, prompts, options);
      EXPECT_TRUE(!said.ok() || *said == whole);
      return said.status();
    });
  }
}

TEST_F(ShortOfMemoryReading, OneSequenceThatDoesNotFit) {
  const std::vector<Sequence> one = {sequences_.front()};
  memory_.FailAt(3);
  EXPECT_EQ(ErrorReason(ScoreSequences(model_, one).status()), "OUT_OF_MEMORY");
  memory_.FailAt(2);
  EXPECT_EQ(ErrorReason(MeasureMemorisation(model_, one).status()), "OUT_OF_MEMORY");
  memory_.FailAt(3);
  EXPECT_EQ(
      ErrorReason(GenerateContinuations(model_, {{one[0].ids}}, {.max_new_tokens = 2}).status()),
      "OUT_OF_MEMORY");
}

}  // namespace
}  // namespace lethe
