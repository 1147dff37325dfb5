// Membership on spans, and what membership attacks need and leave alone. Values: golden_attacks_test.cc.
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "engine/metric/span_score.h"
#include "tests/engine/attack/made_tokenizer.h"
#include "tests/engine/attack/run_attack.h"
#include "tests/engine/random_models.h"

namespace lethe {
namespace {

class Membership : public testing::Test {
 protected:
  const Decoder model_ = RandomModel({.vocab = kMadeVocabulary, .context = 96}, 2);
  const Sequence record_ = WithSpan("Jane Doe lives in Turin, her code is 4821.", "4821");
};

TEST_F(Membership, OnSpansOnlySpanTokensCount) {
  const auto score = ScoreSequences(model_, std::vector<Sequence>{record_})->front();
  const double nll = *SpanNll(record_, score);
  const AttackContext context{.tokenizer = &MadeTokenizer()};
  const AttackSetting spans{.on_spans = true, .context = context};
  // "4821" is too short to be made smaller: its stored block, two bytes of header, five of the block
  // or of fixed codes, and four of checksum are some 12 bytes.
  const double bytes = -nll / RunAttack("zlib", model_, {record_}, spans)->scores[0];
  EXPECT_NEAR(bytes, 12, 1);
  EXPECT_LT(
      -score.MeanNll() / RunAttack("zlib", model_, {record_}, {.context = context})->scores[0],
      static_cast<double>(sizeof "Jane Doe lives in Turin, her code is 4821.") + 12);
  const double reference[] = {7.0};
  const AttackSetting against{.on_spans = true, .context = {.reference_nll = reference}};
  EXPECT_NEAR(RunAttack("reference", model_, {record_}, against)->scores[0], 7 - nll, 1e-5);
}

TEST_F(Membership, SaysWhatIsMissing) {
  EXPECT_NE(RunAttack("zlib", model_, {record_})->not_applicable, "");
  EXPECT_NE(RunAttack("reference", model_, {record_})->not_applicable, "");
  const Decoder frozen = model_.Clone();
  for (const at::Tensor& leaf : frozen.Leaves()) at::Tensor(leaf).requires_grad_(false);
  EXPECT_NE(RunAttack("gradient_norm", frozen, {record_})->not_applicable, "");
}

// The model is as it was, and what was learned before does not add up.
TEST_F(Membership, GradientsLeaveNothingBehind) {
  const auto first = RunAttack("gradient_norm", model_, {record_, record_});
  at::NoGradGuard a_caller_without_gradients;
  const auto second = RunAttack("gradient_norm", model_, {record_});
  EXPECT_EQ(first->scores[0], first->scores[1]);
  EXPECT_EQ(first->scores[0], second->scores[0]);
  EXPECT_LT(first->scores[0], 0);
  EXPECT_TRUE(model_.NamedGradients().empty());
  EXPECT_EQ(first->forward_tokens, 6 * static_cast<int64_t>(record_.ids.size()));
}

// On a model that has learned one record, that record scores above another in all of them.
TEST_F(Membership, WhatWasLearnedScoresHigher) {
  const Decoder model = model_.Clone();
  const Sequence other = WithSpan("John Roe lives in Milan, his code is 9057.", "9057");
  for (int step = 0; step < 60; ++step) {
    const auto batches = MakeBatches(model, std::vector<Sequence>{record_});
    model.ZeroGradients();
    ComputeTokenLosses(model, batches->front()).nll.mean().backward();
    at::NoGradGuard no_grad;
    for (const at::Tensor& leaf : model.Leaves()) {
      if (leaf.grad().defined()) at::Tensor(leaf.detach()).sub_(leaf.grad(), 0.05);
    }
  }
  const double reference[] = {5, 5};
  const AttackContext context{.tokenizer = &MadeTokenizer(), .reference_nll = reference};
  for (const char* name :
       {"loss", "min_k", "min_k_plus_plus", "zlib", "gradient_norm", "reference", "logit_lens"}) {
    const auto got = RunAttack(name, model, {record_, other}, {.context = context});
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_GT(got->scores[0], got->scores[1]) << name;
  }
}

}  // namespace
}  // namespace lethe
