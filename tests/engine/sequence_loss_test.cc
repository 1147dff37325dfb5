// The shift, the mask and the chunks of sequence_loss.h against a plain double-precision
// log-softmax of the whole logits.
#include "engine/loss/sequence_loss.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/engine/random_models.h"
#include "tests/support/seeded_random.h"

namespace lethe {
namespace {

using testing::ElementsAre;

Sequence Of(std::vector<int32_t> ids, int32_t prompt = 0, std::vector<Span> spans = {}) {
  return {.ids = std::move(ids), .prompt_tokens = prompt, .sensitive = std::move(spans)};
}

// -log p(token t | those before), for t = 1..T-1, from one unpadded row: the definition, written
// anew.
std::vector<double> PlainNll(const Decoder& model, const std::vector<int32_t>& ids) {
  c10::InferenceMode inference;
  const at::Tensor row =
      at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong).unsqueeze(0);
  const at::Tensor logits = model.Logits(model.Hidden(row)).to(at::kDouble);
  const at::Tensor log_probs = logits.log_softmax(-1);
  std::vector<double> nll;
  for (size_t t = 1; t < ids.size(); ++t) {
    nll.push_back(-log_probs[static_cast<int64_t>(t) - 1][ids[t]].item<double>());
  }
  return nll;
}

TEST(SequenceLoss, ScoresOfPaddedBatchesAreThoseOfLoneRows) {
  const Decoder model = RandomModel({}, 3);
  std::mt19937_64 random(TestSeed(5));
  std::vector<Sequence> sequences;
  for (int i = 0; i < 20; ++i) sequences.push_back(Of(RandomIds(random, 2 + random() % 30, 12)));
  const auto scores = ScoreSequences(model, sequences, {.max_tokens = 64});
  ASSERT_TRUE(scores.ok()) << scores.status();
  for (size_t i = 0; i < sequences.size(); ++i) {
    const std::vector<double> want = PlainNll(model, sequences[i].ids);
    ASSERT_EQ((*scores)[i].nll.size(), want.size());
    double total = 0;
    for (size_t t = 0; t < want.size(); ++t) {
      EXPECT_LE(std::abs((*scores)[i].nll[t] - want[t]), 2e-5)
          << "sequence " << i << " token " << t;
      total += want[t];
    }
    EXPECT_LE(std::abs((*scores)[i].total_nll - total), 1e-4);
  }
}

TEST(SequenceLoss, LabelsBeginBehindThePromptAndNeverAtTheFirstToken) {
  const Decoder model = RandomModel({}, 3);
  const std::vector<int32_t> ids = {3, 1, 4, 1, 5, 9, 2, 6};
  const std::vector<double> nll = PlainNll(model, ids);  // nll[t-1] is token t
  const auto labelled = [&](const Sequence& s, Labels labels) {
    const auto batches = MakeBatches(model, {{s}}, {.labels = labels});
    const at::Tensor t = batches->front().targets;
    return std::vector<int64_t>(t.data_ptr<int64_t>(), t.data_ptr<int64_t>() + t.numel());
  };
  EXPECT_THAT(labelled(Of(ids), Labels::kAnswer), ElementsAre(1, 4, 1, 5, 9, 2, 6));
  EXPECT_THAT(labelled(Of(ids, 1), Labels::kAnswer), ElementsAre(1, 4, 1, 5, 9, 2, 6));
  EXPECT_THAT(labelled(Of(ids, 5), Labels::kAnswer), ElementsAre(9, 2, 6));
  EXPECT_THAT(labelled(Of(ids, 2, {{3, 5}, {7, 8}}), Labels::kSensitive), ElementsAre(1, 5, 6));
  EXPECT_THAT(labelled(Of(ids, 2, {{3, 5}}), Labels::kAnswer), ElementsAre(4, 1, 5, 9, 2, 6));
  EXPECT_THAT(labelled(Of(ids, 6), Labels::kSensitive), ElementsAre(2, 6));

  const auto scores = ScoreSequences(model, {{Of(ids, 5)}});
  ASSERT_TRUE(scores.ok());
  for (int i = 0; i < 3; ++i) EXPECT_LE(std::abs((*scores)[0].nll[i] - nll[4 + i]), 2e-5);
}

// Rows whose best token has a twin are close, others are not: in our loops and in tensor operations
// (doubles), whole and in chunks.
TEST(SequenceLoss, FindsChoicesThatFp32CannotMake) {
  at::manual_seed(2);
  const at::Tensor hidden = at::randn({40, 24}), targets = at::randint(0, 37, {40}, at::kLong);
  at::Tensor weight = at::randn({37, 24});
  weight[30] = weight[3];
  const at::Tensor best = at::mm(hidden, weight.t()).argmax(1);
  const at::Tensor want = best.eq(3).logical_or(best.eq(30));
  EXPECT_GT(want.sum().item<int64_t>(), 0);
  for (const auto type : {at::kFloat, at::kDouble}) {
    for (const int64_t bytes : {int64_t{1}, int64_t{1} << 20}) {
      const TokenLosses losses = OutputLoss(hidden.to(type), weight.to(type), targets,
                                            {.logit_bytes = bytes, .find_close = true});
      EXPECT_TRUE(losses.close.equal(want)) << type << " " << bytes;
    }
  }
  EXPECT_FALSE(OutputLoss(hidden, weight, targets).close.defined());
}

// Chunks change neither values nor gradients; with three rows of logits at a time the backward pass
// computes them again. 2,100 outputs are more than the weights' gradient takes at a time, twice.
TEST(SequenceLoss, ChunksGiveTheGradientsOfTheWhole) {
  for (const int64_t outputs : {37, 2100}) {
    at::manual_seed(1);
    const at::Tensor targets = at::randint(0, outputs, {50}, at::kLong);
    const at::Tensor slope = at::randn({50}, at::kDouble);
    const at::Tensor h0 = at::randn({50, 24}), w0 = at::randn({outputs, 24});
    at::Tensor h = h0.to(at::kDouble).requires_grad_(true),
               w = w0.to(at::kDouble).requires_grad_(true);
    const at::Tensor log_probs = at::mm(h, w.t()).log_softmax(-1);
    const at::Tensor want = -log_probs.gather(1, targets.unsqueeze(1)).squeeze(1);
    (want * slope).sum().backward();
    for (const int64_t bytes : {int64_t{1}, int64_t{3 * outputs * 4}, int64_t{1} << 20}) {
      for (const bool keep : {true, false}) {
        SCOPED_TRACE(testing::Message() << outputs << " " << bytes << " " << keep);
        at::Tensor hidden = h0.clone().requires_grad_(true),
                   weight = w0.clone().requires_grad_(true);
        const LossOptions options{.logit_bytes = bytes, .kept_bytes = keep ? int64_t{1} << 20 : 0};
        const TokenLosses losses = OutputLoss(hidden, weight, targets, options);
        EXPECT_LE((losses.nll - want).abs().max().item<double>(), 1e-5);
        EXPECT_TRUE(losses.choice.equal(log_probs.argmax(-1)));
        (losses.nll * slope.to(at::kFloat)).sum().backward();
        EXPECT_LE((hidden.grad() - h.grad()).abs().max().item<double>(), 3e-5);
        EXPECT_LE((weight.grad() - w.grad()).abs().max().item<double>(), 1e-4);
      }
    }
  }
}

// Slopes in bf16, eight bits each: what comes out of the products is off by that much of the whole.
TEST(SequenceLoss, SlopesInBf16GiveTheGradientsToEightBits) {
  for (const int64_t outputs : {37, 2100}) {
    at::manual_seed(4);
    const at::Tensor targets = at::randint(0, outputs, {50}, at::kLong);
    const at::Tensor slope = at::randn({50});
    const at::Tensor h0 = at::randn({50, 24}), w0 = at::randn({outputs, 24});
    // Rounded before, so that both see the same numbers.
    const at::Tensor rounded = w0.to(at::kBFloat16), h_rounded = h0.to(at::kBFloat16);
    at::Tensor h = h_rounded.to(at::kDouble).requires_grad_(true),
               w = rounded.to(at::kDouble).requires_grad_(true);
    const at::Tensor log_probs = at::mm(h, w.t()).log_softmax(-1);
    (log_probs.gather(1, targets.unsqueeze(1)).squeeze(1) * -slope).sum().backward();
    for (const bool keep : {true, false}) {
      SCOPED_TRACE(testing::Message() << outputs << " " << keep);
      at::Tensor hidden = h_rounded.to(at::kFloat).requires_grad_(true),
                 weight = rounded.to(at::kFloat).requires_grad_(true);
      const LossOptions options{.kept_bytes = keep ? int64_t{1} << 20 : 0};
      const TokenLosses losses = OutputLoss(hidden, weight, targets, options, rounded);
      (losses.nll * slope).sum().backward();
      const auto off = [](const at::Tensor& got, const at::Tensor& want) {
        return ((got - want).norm() / want.norm()).item<double>();
      };
      EXPECT_LE(off(hidden.grad(), h.grad()), 4e-3);
      EXPECT_LE(off(weight.grad(), w.grad()), 4e-3);
    }
  }
}

// The probabilities that were kept become slopes in place; a second pass would read those.
TEST(SequenceLoss, ASecondBackwardPassIsRefusedNotWrong) {
  at::manual_seed(1);
  at::Tensor hidden = at::randn({5, 8}).requires_grad_(true);
  const at::Tensor weight = at::randn({11, 8}).requires_grad_(true);
  const at::Tensor loss = OutputLoss(hidden, weight, at::randint(0, 11, {5}, at::kLong)).nll.sum();
  loss.backward({}, /*retain_graph=*/true);
  EXPECT_THROW(loss.backward(), c10::Error);
}

TEST(SequenceLoss, AccumulatedGradientIsThatOfOneTokenMean) {
  const Decoder model = RandomModel({.tied = true}, 9);
  std::mt19937_64 random(TestSeed(7));
  std::vector<Sequence> sequences;
  for (int i = 0; i < 9; ++i) sequences.push_back(Of(RandomIds(random, 3 + i * 2, 12)));
  const auto gradients = [&](int64_t max_tokens) {
    model.ZeroGradients();
    const auto batches = MakeBatches(model, sequences, {.max_tokens = max_tokens});
    const auto labelled = static_cast<double>(LabelledTokens(*batches));
    for (const LossBatch& batch : *batches) {
      (ComputeTokenLosses(model, batch).nll.sum() / labelled).backward();
    }
    std::vector<at::Tensor> grads;
    for (const NamedTensor& g : model.NamedGradients()) grads.push_back(g.tensor.clone());
    return grads;
  };
  const auto whole = gradients(1 << 20), pieces = gradients(24);
  ASSERT_EQ(whole.size(), pieces.size());
  for (size_t i = 0; i < whole.size(); ++i) {
    EXPECT_LE((whole[i] - pieces[i]).abs().max().item<double>(), 1e-5);
    EXPECT_GT(whole[i].abs().max().item<double>(), 0);
  }
}

TEST(SequenceLoss, RowsSumAndMean) {
  const Decoder model = RandomModel({}, 3);
  const std::vector<Sequence> sequences = {Of({1, 2, 3}), Of({4, 5, 6, 7, 8}), Of({9, 10, 11}, 2)};
  const auto batches = MakeBatches(model, sequences);
  ASSERT_TRUE(batches.ok());
  ASSERT_EQ(batches->size(), 1u);
  const LossBatch& batch = batches->front();
  EXPECT_THAT(batch.sequences, ElementsAre(1, 0, 2));  // by falling length
  EXPECT_THAT(batch.labelled, ElementsAre(4, 2, 1));
  const at::Tensor values = at::arange(1, 8, at::kFloat).requires_grad_(true);
  const at::Tensor sums = SumByRow(batch, values), means = MeanByRow(batch, values);
  EXPECT_TRUE(sums.equal(at::tensor({10.0f, 11.0f, 7.0f})));
  EXPECT_TRUE(means.equal(at::tensor({2.5f, 5.5f, 7.0f})));
  means.sum().backward();
  EXPECT_TRUE(values.grad().equal(at::tensor({.25f, .25f, .25f, .25f, .5f, .5f, 1.0f})));
}

TEST(SequenceLoss, MicroBatchesStayUnderTheirTokens) {
  const Decoder model = RandomModel({}, 3);
  std::mt19937_64 random(TestSeed(11));
  std::vector<Sequence> sequences;
  for (int i = 0; i < 200; ++i) sequences.push_back(Of(RandomIds(random, 2 + random() % 60, 12)));
  const auto batches = MakeBatches(model, sequences, {.max_tokens = 256});
  std::vector<int> seen(sequences.size(), 0);
  int64_t real = 0, padded = 0;
  for (const LossBatch& batch : *batches) {
    EXPECT_LE(batch.ids.numel(), 256);
    padded += batch.ids.numel();
    for (const size_t s : batch.sequences) {
      ++seen[s];
      real += static_cast<int64_t>(sequences[s].ids.size());
    }
  }
  EXPECT_THAT(seen, testing::Each(1));
  EXPECT_LE(padded, real * 1.1);
}

TEST(SequenceLoss, RefusesWhatCannotBeScored) {
  const Decoder model = RandomModel({}, 3);
  const auto reason = [&](const Sequence& s) {
    return ErrorReason(ScoreSequences(model, {{s}}).status());
  };
  EXPECT_EQ(reason(Of({})), "SEQUENCE_TOO_SHORT");
  EXPECT_EQ(reason(Of({1})), "SEQUENCE_TOO_SHORT");
  EXPECT_EQ(reason(Of({1, 2, 3}, 3)), "NOTHING_LABELLED");
  EXPECT_EQ(reason(Of({1, 12})), "TOKEN_OUT_OF_RANGE");
  EXPECT_EQ(reason(Of({1, -1})), "TOKEN_OUT_OF_RANGE");
  EXPECT_EQ(reason(Of(std::vector<int32_t>(65, 1))), "SEQUENCE_TOO_LONG");
  EXPECT_EQ(reason(Of(std::vector<int32_t>(64, 1))), "");
  EXPECT_TRUE(ScoreSequences(model, {})->empty());
}

}  // namespace
}  // namespace lethe
