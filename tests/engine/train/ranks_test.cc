// What ranks say to one another, and that none is left waiting; then the loop over ranks: the same
// weights as one process, and in step where memory runs out in one.
#include "engine/ranks.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <random>

#include "engine/loss/sequence_loss.h"
#include "engine/train/loop.h"
#include "engine/train/reduce.h"
#include "tests/engine/random_models.h"
#include "tests/engine/train/ranks_harness.h"

namespace lethe {
namespace {

constexpr int kRanks = 3;

std::vector<float> SomeFloats(int rank, size_t count) {
  std::mt19937_64 random(static_cast<uint64_t>(rank) + 17);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& v : values) v = normal(random);
  return values;
}

TEST(Ranks, EveryCallGivesAllTheSame) {
  constexpr size_t kValues = 10'007;
  std::array<std::vector<float>, kRanks> sums;
  WithRanks(kRanks, [&](Ranks& ranks) {
    const int me = ranks.index();
    const auto words = ranks.Gather(std::string(static_cast<size_t>(me) * 1000, 'x'));
    ASSERT_TRUE(words.ok()) << words.status();
    ASSERT_EQ(words->size(), 3U);
    EXPECT_EQ((*words)[0], "");
    EXPECT_EQ((*words)[2], std::string(2000, 'x'));

    std::vector<float> values = SomeFloats(me, kValues);
    ASSERT_TRUE(ranks.Sum(values).ok());
    sums[static_cast<size_t>(me)] = values;

    std::vector<float> copied = SomeFloats(me, 33);
    ASSERT_TRUE(ranks.CopyFromFirst(copied).ok());
    EXPECT_EQ(copied, SomeFloats(0, 33));

    std::vector<float> none;
    EXPECT_TRUE(ranks.Sum(none).ok());
    EXPECT_TRUE(ranks.CheckSame("work", "request").ok());
    const absl::Status differ = ranks.CheckSame(me == 1 ? "other work" : "work", "request");
    EXPECT_EQ(ErrorReason(differ), "RANKS_DIFFER") << differ;
    EXPECT_TRUE(ranks.Agree(absl::OkStatus()).ok()) << "a difference that was found ends nothing";
  });
  EXPECT_EQ(sums[0], sums[1]) << "bit by bit";
  EXPECT_EQ(sums[0], sums[2]);
  std::vector<double> expected(kValues);
  for (int r = 0; r < kRanks; ++r) {
    const std::vector<float> values = SomeFloats(r, kValues);
    for (size_t i = 0; i < kValues; ++i) expected[i] += values[i];
  }
  for (size_t i = 0; i < kValues; ++i) ASSERT_NEAR(sums[0][i], expected[i], 2e-6) << i;
}

TEST(Ranks, AgreeTellsAllWhatOneHas) {
  WithRanks(kRanks, [&](Ranks& ranks) {
    const absl::Status mine =
        ranks.index() == 1 ? Error(absl::StatusCode::kResourceExhausted, "OUT_OF_MEMORY", "full")
                           : absl::OkStatus();
    const absl::Status agreed = ranks.Agree(mine);
    EXPECT_EQ(agreed.code(), absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(ErrorReason(agreed), "OUT_OF_MEMORY");
    EXPECT_TRUE(ranks.Agree(absl::OkStatus()).ok()) << "the run may go on";
  });
}

// Whatever the others are at, they return, and at once from then on.
TEST(Ranks, OneThatFailsLeavesNoneWaiting) {
  WithRanks(kRanks, [&](Ranks& ranks) {
    if (ranks.index() == 2) {
      const absl::Status why =
          Error(absl::StatusCode::kInvalidArgument, "TOKEN_OUT_OF_RANGE", "an id is too large");
      EXPECT_EQ(ranks.Fail(why), why);
      return;
    }
    std::vector<float> values(10);
    const absl::Status status =
        ranks.index() == 0 ? ranks.Gather("mine").status() : ranks.Sum(values);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ErrorReason(status), "TOKEN_OUT_OF_RANGE");
    EXPECT_EQ(ErrorDetails(status)["rank"], "2");
    EXPECT_EQ(ErrorReason(ranks.Sum(values)), "TOKEN_OUT_OF_RANGE");
    EXPECT_EQ(ErrorReason(ranks.Fail(status)), "TOKEN_OUT_OF_RANGE");
  });
}

TEST(Ranks, OneThatGoesWithoutAWordIsNoticed) {
  WithRanks(2, [&](Ranks& ranks) {
    ASSERT_TRUE(ranks.Agree(absl::OkStatus()).ok());
    if (ranks.index() == 1) return;
    const absl::Status lost = ranks.Agree(absl::OkStatus());
    EXPECT_EQ(lost.code(), absl::StatusCode::kUnavailable) << lost;
    EXPECT_EQ(ErrorReason(lost), "RANK_LOST");
  });
}

TEST(Ranks, CallsOutOfStepAreRefusedByAll) {
  WithRanks(2, [&](Ranks& ranks) {
    std::vector<float> values(ranks.index() == 0 ? 4 : 5);
    EXPECT_EQ(ErrorReason(ranks.Sum(values)), "RANKS_OUT_OF_STEP");
  });
  WithRanks(2, [&](Ranks& ranks) {
    std::vector<float> values(4);
    const absl::Status status = ranks.index() == 0 ? ranks.Sum(values) : ranks.Gather("").status();
    EXPECT_EQ(ErrorReason(status), "RANKS_OUT_OF_STEP");
  });
}

class Variables {
 public:
  ~Variables() {
    for (const std::string& name : names_) unsetenv(name.c_str());
  }
  void Set(const std::string& name, const std::string& value) {
    setenv(name.c_str(), value.c_str(), 1);
    names_.push_back(name);
  }

 private:
  std::vector<std::string> names_;
};

TEST(Ranks, TheEnvironmentIsRead) {
  EXPECT_EQ(*Ranks::FromEnvironment(), nullptr);
  Variables variables;
  variables.Set("WORLD_SIZE", "1");
  EXPECT_EQ(*Ranks::FromEnvironment(), nullptr);
  const auto refuses = [](const std::string& variable) {
    const absl::Status status = Ranks::FromEnvironment().status();
    EXPECT_EQ(ErrorReason(status), "BAD_ENVIRONMENT") << status;
    EXPECT_EQ(ErrorDetails(status)["variable"], variable);
  };
  for (const char* bad : {"two", "0", "-1", "2 ", "99999"}) {
    variables.Set("WORLD_SIZE", bad);
    refuses("WORLD_SIZE");
  }
  variables.Set("WORLD_SIZE", "2");
  refuses("RANK");
  variables.Set("RANK", "2");
  refuses("RANK");
  variables.Set("RANK", "1");
  refuses("MASTER_PORT");
  variables.Set("MASTER_PORT", "80000");
  refuses("MASTER_PORT");
  variables.Set("MASTER_PORT", "29500");
  refuses("MASTER_ADDR");
}

// --- the loop over ranks -------------------------------------------------------------------------

std::vector<Sequence> SomeSequences(int count) {
  std::mt19937_64 random(5);
  std::vector<Sequence> sequences;
  for (int i = 0; i < count; ++i) {
    sequences.push_back({.ids = RandomIds(random, 2 + static_cast<int64_t>(random() % 30), 12)});
  }
  return sequences;
}

struct Trained {
  std::vector<at::Tensor> weights;
  std::vector<double> losses, norms;
  int64_t micro_batch_tokens = 0;
};

// Six steps of descent. `lack` is asked before each try of a step whether memory runs out in it.
Trained Descend(
    const std::vector<Sequence>& sequences, Ranks* ranks,
    const std::function<bool()>& lack = [] { return false; }) {
  // Weights that ranks do not begin alike with are rank 0's.
  const Decoder model =
      RandomModel({}, ranks == nullptr ? 1 : static_cast<uint64_t>(1 + ranks->index()));
  EXPECT_TRUE(CopyWeightsFromFirst(ranks, model).ok());
  MicroBatch micro_batch(64, LongestOf(sequences));
  Trained trained;
  const LoopHooks hooks{
      .accumulate = [&](int64_t) -> absl::StatusOr<StepLoss> {
        LETHE_ASSIGN_OR_RETURN(
            const auto batches,
            MakeBatches(model, sequences, {.max_tokens = micro_batch.tokens(), .ranks = ranks}));
        double total = 0;
        for (const LossBatch& batch : batches) {
          if (lack()) {
            return Error(absl::StatusCode::kResourceExhausted, "OUT_OF_MEMORY", "memory is full");
          }
          const at::Tensor loss = ComputeTokenLosses(model, batch).nll.sum() /
                                  static_cast<double>(LabelledTokens(sequences));
          loss.backward();
          total += loss.item<double>();
        }
        return StepLoss{total, total};
      },
      .judge = [&](const StepReport& step) -> absl::StatusOr<Judgement> {
        trained.losses.push_back(step.loss);
        trained.norms.push_back(step.grad_norm);
        // Only rank 0's word counts.
        return Judgement{.stop = step.step == 6 || !IsFirst(ranks), .stop_reason = "done"};
      }};
  const auto result = RunLoop(model, hooks,
                              {.max_steps = 20,
                               .learning_rate = [](int64_t) { return 0.01; },
                               .max_grad_norm = 0.5,
                               .may_take_back = true,
                               .ranks = ranks,
                               .micro_batch = &micro_batch});
  EXPECT_TRUE(result.ok()) << result.status();
  trained.weights = model.Snapshot();
  trained.micro_batch_tokens = micro_batch.tokens();
  return trained;
}

void ExpectSameBits(const Trained& a, const Trained& b) {
  for (size_t i = 0; i < a.weights.size(); ++i)
    EXPECT_TRUE(at::equal(a.weights[i], b.weights[i])) << "leaf " << i;
  EXPECT_EQ(a.losses, b.losses);
  EXPECT_EQ(a.norms, b.norms);
}

void ExpectClose(const Trained& one, const Trained& ranks) {
  ASSERT_EQ(one.losses.size(), ranks.losses.size());
  for (size_t step = 0; step < one.losses.size(); ++step) {
    // The first loss knows no rounding but its own; later ones that of the steps before, too.
    const double most = step == 0 ? 1e-6 : 1e-5;
    EXPECT_NEAR(ranks.losses[step], one.losses[step], most * one.losses[step]) << "step " << step;
    // Steeper than the loss, so what earlier steps rounded shows more.
    EXPECT_NEAR(ranks.norms[step], one.norms[step], 1e-4 * one.norms[step]) << "step " << step;
  }
}

TEST(RanksLoop, EqualsOneProcessWhateverTheShares) {
  for (const int sequences : {1, 2, 9}) {  // 1 and 2: some rank has nothing to do
    SCOPED_TRACE(sequences);
    const std::vector<Sequence> data = SomeSequences(sequences);
    const Trained one = Descend(data, nullptr);
    std::array<Trained, kRanks> all;
    WithRanks(kRanks, [&](Ranks& ranks) {
      all[static_cast<size_t>(ranks.index())] = Descend(data, &ranks);
    });
    ExpectClose(one, all[0]);
    ExpectSameBits(all[0], all[1]);
    ExpectSameBits(all[0], all[2]);
  }
}

TEST(RanksLoop, MemoryThatRunsOutInOneMakesAllTakeLess) {
  const std::vector<Sequence> data = SomeSequences(9);
  const Trained one = Descend(data, nullptr);
  std::array<Trained, 2> all;
  WithRanks(2, [&](Ranks& ranks) {
    int tries = 0;
    const auto lack = [&] { return ranks.index() == 1 && ++tries == 2; };
    all[static_cast<size_t>(ranks.index())] = Descend(data, &ranks, lack);
  });
  EXPECT_EQ(all[0].micro_batch_tokens, 32);
  EXPECT_EQ(all[1].micro_batch_tokens, 32);
  ExpectClose(one, all[0]);
  ExpectSameBits(all[0], all[1]);
}

TEST(RanksLoop, ScoresAreSharedAndComeBackWhole) {
  const std::vector<Sequence> data = SomeSequences(10);
  const Decoder model = RandomModel({}, 1);
  const auto alone = ScoreSequences(model, data);
  ASSERT_TRUE(alone.ok());
  WithRanks(kRanks, [&](Ranks& ranks) {
    const auto shared = ScoreSequences(model, data, {.ranks = &ranks});
    ASSERT_TRUE(shared.ok()) << shared.status();
    for (size_t s = 0; s < data.size(); ++s) {
      const SequenceScore &a = (*alone)[s], &b = (*shared)[s];
      EXPECT_EQ(a.choice, b.choice);
      EXPECT_EQ(a.hits, b.hits);
      EXPECT_NEAR(a.total_nll, b.total_nll, 1e-5 * a.total_nll);
    }
  });
}

}  // namespace
}  // namespace lethe
