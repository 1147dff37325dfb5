// An ensemble against the mean of its members' probabilities, written down as it is defined, in
// float64 and by whole passes; and against its member, where it has one.
#include "engine/model/ensemble_model.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "engine/loss/sequence_loss.h"
#include "engine/metric/memorisation.h"
#include "engine/model/beam_search.h"
#include "engine/model/first_choice.h"
#include "engine/model/generate.h"
#include "tests/engine/choice_noise.h"
#include "tests/engine/random_families.h"
#include "tests/engine/random_models.h"
#include "tests/engine/slow_logits.h"
#include "tests/engine/slow_memorisation.h"
#include "tests/support/seeded_random.h"

namespace lethe {
namespace {

at::Tensor Row(const TokenIds& ids) {
  return at::tensor(std::vector<int64_t>(ids.begin(), ids.end()), at::kLong).unsqueeze(0);
}

EnsembleModel Of(std::vector<Decoder> members) {
  auto model = EnsembleModel::Of(std::move(members));
  if (!model.ok()) throw std::runtime_error(std::string(model.status().message()));
  return *std::move(model);
}

// Members of several families, widths and depths; the context is the shortest one's.
EnsembleModel Mixed(int64_t vocab, uint64_t seed, size_t count = 3) {
  const std::vector<FamilyCase> cases = FamilyCases(vocab);
  std::vector<Decoder> members;
  for (size_t m = 0; m < count; ++m) {
    members.push_back(RandomDecoder(cases[(seed + 3 * m) % cases.size()].config, seed + m));
  }
  return Of(std::move(members));
}

std::vector<Sequence> RandomSequences(std::mt19937_64& random, int count, int64_t vocab) {
  std::vector<Sequence> sequences;
  for (int i = 0; i < count; ++i) {
    Sequence& s = sequences.emplace_back();
    s.ids = RandomIds(random, 2 + static_cast<int64_t>(random() % 40), vocab);
    s.prompt_tokens = static_cast<int32_t>(random() % s.ids.size());
  }
  return sequences;
}

TEST(EnsembleModel, SaysTheMeanOfItsMembersProbabilities) {
  std::mt19937_64 random(TestSeed(31));
  for (uint64_t round = 0; round < 11; ++round) {
    const EnsembleModel model = Mixed(29, 100 + round, 1 + round % 4);
    const std::vector<Sequence> sequences = RandomSequences(random, 7, 29);
    const auto scores = ScoreSequences(model, sequences);
    ASSERT_TRUE(scores.ok()) << scores.status();
    for (size_t i = 0; i < sequences.size(); ++i) {
      const Sequence& s = sequences[i];
      const at::Tensor want = SlowLogits(model, Row(s.ids)).log_softmax(1);
      const size_t first = std::max(1, s.prompt_tokens);
      for (size_t t = first; t < s.ids.size(); ++t) {
        const double nll = -want[static_cast<int64_t>(t) - 1][s.ids[t]].item<double>();
        EXPECT_NEAR((*scores)[i].nll[t - first], nll, 2e-5 * std::max(1.0, nll));
        EXPECT_EQ((*scores)[i].choice[t - first],
                  want[static_cast<int64_t>(t) - 1].argmax().item<int64_t>());
      }
    }
  }
}

// By hand: two tokens, the members' probabilities (1/2, 1/2) and (9/10, 1/10), so (0.7, 0.3): not the
// (0.75, 0.25) that a mean of logits would give.
TEST(EnsembleModel, AveragesProbabilitiesAndNotLogits) {
  const at::Tensor one = at::tensor({0.0, 0.0}, at::kDouble).unsqueeze(0),
                   two = at::tensor({std::log(9.0) + 40, 40.0}, at::kDouble).unsqueeze(0);
  const at::Tensor members[] = {one, two};
  const at::Tensor logits = LogitsOfMean(members), p = logits.softmax(1);
  EXPECT_NEAR(p[0][0].item<double>(), 0.7, 1e-12);
  EXPECT_NEAR(p[0][1].item<double>(), 0.3, 1e-12);
  // At the larger member's scale: log 0.7 + log(e^40 (9 + 1)).
  EXPECT_NEAR(logits[0][0].item<double>(), std::log(0.7) + 40 + std::log(10.0), 1e-12);
  // What no member ever says stays impossible; what one says has half of its chance.
  const double never = -std::numeric_limits<double>::infinity();
  const at::Tensor sure = at::tensor({0.0, never, never}, at::kDouble).unsqueeze(0),
                   other = at::tensor({never, 0.0, never}, at::kDouble).unsqueeze(0);
  const at::Tensor both[] = {sure, other};
  const at::Tensor q = LogitsOfMean(both).softmax(1);
  EXPECT_NEAR(q[0][0].item<double>(), 0.5, 1e-12);
  EXPECT_EQ(q[0][2].item<double>(), 0);
}

TEST(EnsembleModel, OfOneMemberIsThatMemberBitForBit) {
  std::mt19937_64 random(TestSeed(32));
  for (const FamilyCase& c : FamilyCases(23)) {
    SCOPED_TRACE(c.name);
    const Decoder member = RandomDecoder(c.config, random());
    const EnsembleModel model = Of({member});
    const std::vector<Sequence> sequences = RandomSequences(random, 6, 23);
    const auto want = ScoreSequences(member, sequences), got = ScoreSequences(model, sequences);
    ASSERT_TRUE(want.ok() && got.ok()) << want.status() << got.status();
    for (size_t i = 0; i < sequences.size(); ++i) {
      EXPECT_EQ((*got)[i].nll, (*want)[i].nll);
      EXPECT_EQ((*got)[i].choice, (*want)[i].choice);
    }
    const std::vector<TokenIds> prompts = {sequences[0].ids, sequences[1].ids};
    for (const double temperature : {0.0, 1.3}) {
      const GenerateOptions options{
          .max_new_tokens = 15, .samples = 3, .temperature = temperature, .top_k = 9, .seed = 5};
      EXPECT_EQ(*GenerateContinuations(model, prompts, options),
                *GenerateContinuations(member, prompts, options));
    }
  }
}

TEST(EnsembleModel, OfEqualMembersIsOneOfThem) {
  std::mt19937_64 random(TestSeed(33));
  const Decoder member = RandomModel({.vocab = 31, .tied = true}, 8);
  const EnsembleModel model = Of({member.Clone(), member.Clone(), member});
  const std::vector<Sequence> sequences = RandomSequences(random, 12, 31);
  const auto want = ScoreSequences(member, sequences), got = ScoreSequences(model, sequences);
  ASSERT_TRUE(want.ok() && got.ok());
  for (size_t i = 0; i < sequences.size(); ++i) {
    EXPECT_THAT((*got)[i].nll, testing::Pointwise(testing::FloatNear(1e-5F), (*want)[i].nll));
    EXPECT_EQ((*got)[i].choice, (*want)[i].choice);
  }
  const std::vector<TokenIds> prompts = {{1, 2, 3}, {7}};
  EXPECT_EQ(*GenerateContinuations(model, prompts, {.max_new_tokens = 30}),
            *GenerateContinuations(member, prompts, {.max_new_tokens = 30}));
}

TEST(EnsembleModel, GreedyTextIsTheBestTokenOfTheMeanAgainAndAgain) {
  c10::InferenceMode inference;
  std::mt19937_64 random(TestSeed(34));
  for (uint64_t round = 0; round < 8; ++round) {
    SCOPED_TRACE(round);
    const EnsembleModel model = Mixed(19, 300 + round, 2 + round % 2);
    std::vector<TokenIds> prompts, want;
    for (int i = 0; i < 5; ++i) {
      prompts.push_back(RandomIds(random, 1 + static_cast<int64_t>(random() % 20), 19));
      TokenIds text = prompts.back();
      double margin = 1e9;
      for (int step = 0; step < 25; ++step) text.push_back(SlowChoices(model, {text}, &margin)[0]);
      want.emplace_back(text.begin() + static_cast<int64_t>(prompts.back().size()), text.end());
    }
    const auto said = GenerateContinuations(model, prompts, {.max_new_tokens = 25});
    ASSERT_TRUE(said.ok()) << said.status();
    for (size_t i = 0; i < prompts.size(); ++i) EXPECT_EQ((*said)[i][0], want[i]) << i;
    // A cache that holds one row at a time changes nothing.
    EXPECT_EQ(*GenerateContinuations(model, prompts, {.max_new_tokens = 25, .cache_bytes = 1}),
              *said);
  }
}

TEST(EnsembleModel, ElAndMaAreThoseOfTheDefinition) {
  std::mt19937_64 random(TestSeed(35));
  for (uint64_t round = 0; round < 12; ++round) {
    const EnsembleModel model = Mixed(7, 500 + round, 2 + round % 2);
    // Half of it is what the ensemble says itself, so that there is something to find.
    Sequence sequence{.ids = RandomIds(random, 6, 7)};
    const std::vector<TokenIds> begun = {sequence.ids};
    const auto said = GenerateContinuations(model, begun, {.max_new_tokens = 12});
    sequence.ids.insert(sequence.ids.end(), (*said)[0][0].begin(), (*said)[0][0].end());
    const TokenIds noise = RandomIds(random, 5, 7);
    sequence.ids.insert(sequence.ids.begin() + 10, noise.begin(), noise.end());
    const std::vector<int64_t> el_n = {1, 3};
    const SlowMemorisation want = MeasureSlowly(model, sequence, el_n);
    const auto got = MeasureMemorisation(model, std::span(&sequence, 1), {.el_n = el_n});
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_NEAR((*got)[0].ma, want.ma, 1e-12);
    EXPECT_EQ((*got)[0].greedy_next, want.greedy_next);
    for (const int64_t n : el_n) EXPECT_NEAR((*got)[0].el.at(n), want.el.at(n), 1e-12) << n;
  }
}

// Every text of three tokens, each scored by whole passes.
TEST(EnsembleModel, BeamSearchFindsTheLikeliestTextOfTheMean) {
  c10::InferenceMode inference;
  constexpr int32_t kVocab = 4;
  for (uint64_t round = 0; round < 6; ++round) {
    const EnsembleModel model = Mixed(kVocab, 700 + round, 2 + round % 2);
    const std::vector<TokenIds> prompts = {{1, 3, static_cast<int32_t>(round % kVocab)}};
    TokenIds best;
    double best_score = -1e9;
    for (int32_t code = 0; code < kVocab * kVocab * kVocab; ++code) {
      const TokenIds said = {code / 16, code / 4 % 4, code % 4};
      TokenIds text = prompts[0];
      text.insert(text.end(), said.begin(), said.end());
      const at::Tensor log_p = SlowLogits(model, Row(text)).log_softmax(1);
      double score = 0;
      for (size_t i = 0; i < said.size(); ++i) {
        score += log_p[static_cast<int64_t>(prompts[0].size() + i) - 1][said[i]].item<double>();
      }
      if (score > best_score) best = said;
      best_score = std::max(best_score, score);
    }
    const auto found =
        SearchBeams(model, prompts, {.beams = 16, .max_new_tokens = 3, .length_penalty = 0});
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ((*found)[0][0].ids, best);
    EXPECT_NEAR((*found)[0][0].score, best_score, 1e-4);
  }
}

// Two members that only differ in having two tokens' places changed: their mean likes both alike, to
// the last bit, though each member prefers one.
TEST(EnsembleModel, WhatTheMeanLikesAlikeGoesToTheLowestId) {
  const Decoder member = RandomModel({.vocab = 12}, 21);
  const std::vector<TokenIds> prompts = {{2, 3, 4, 2}};
  const TokenIds first = (*GenerateContinuations(member, prompts, {.max_new_tokens = 1}))[0][0];
  const int32_t best = first[0], other = best == 9 ? 10 : 9;
  const Decoder mirrored = member.Clone();
  {
    at::NoGradGuard no_grad;
    at::Tensor weight = mirrored.OutputWeight().detach();
    const at::Tensor kept = weight[best].clone();
    weight[best].copy_(weight[other]);
    weight[other].copy_(kept);
  }
  for (const bool turned : {false, true}) {
    const EnsembleModel model = turned ? Of({mirrored, member}) : Of({member, mirrored});
    const at::Tensor hidden = model.Hidden(Row(prompts[0])).narrow(0, 3, 1);
    const FirstChoices made = ChooseFirst(model, hidden, [&](int64_t) { return prompts[0]; });
    EXPECT_EQ(made.tokens[0], std::min(best, other));
    EXPECT_EQ(made.ties, 1);
  }
}

TEST(EnsembleModel, TheNoiseOfItsChoicesIsWithinTheTieBoundsReach) {
  std::mt19937_64 random(TestSeed(36));
  double largest = 0;
  for (uint64_t round = 0; round < 22; ++round) {
    const EnsembleModel model = Mixed(60, 900 + round, 2 + round % 3);
    std::vector<TokenIds> texts;
    for (int i = 0; i < 3; ++i) texts.push_back(RandomIds(random, 64, 60));
    const double noise = ChoiceNoise(model, texts);
    EXPECT_LE(noise, 2) << round;  // as a decoder's: first_choice_test.cc
    largest = std::max(largest, noise);
  }
  std::printf("largest noise: %.3f of the bound\n", largest);
}

// d(-log 1/M sum_m p_m)/dw of a weight of member m is what its own loss gives, times its share of the
// sum: responsibilities, as in a mixture.
TEST(EnsembleModel, ALossTeachesEachMemberByItsShareOfTheMean) {
  std::mt19937_64 random(TestSeed(37));
  const Decoder one = RandomModel({.vocab = 14}, 1), two = RandomModel({.vocab = 14, .mlp = 28}, 2);
  const EnsembleModel model = Of({one, two});
  const std::vector<Sequence> sequences = {{.ids = RandomIds(random, 9, 14)}};
  const auto batches = MakeBatches(model, sequences);
  ASSERT_TRUE(batches.ok()) << batches.status();
  const LossBatch& batch = batches->front();
  ComputeTokenLosses(model, batch).nll.sum().backward();
  std::vector<at::Tensor> got;
  for (const at::Tensor& leaf : model.Leaves()) got.push_back(leaf.grad().clone());
  model.ZeroGradients();

  at::Tensor share;  // (2,N): of each member in the mean, at each token
  {
    at::NoGradGuard no_grad;
    share = at::stack({-ComputeTokenLosses(one, batch).nll, -ComputeTokenLosses(two, batch).nll})
                .softmax(0);
  }
  (ComputeTokenLosses(one, batch).nll * share[0]).sum().backward();
  (ComputeTokenLosses(two, batch).nll * share[1]).sum().backward();
  ASSERT_EQ(got.size(), model.Leaves().size());
  for (size_t i = 0; i < got.size(); ++i) {
    EXPECT_TRUE(at::allclose(got[i], model.Leaves()[i].grad(), 1e-4, 1e-5)) << i;
  }
}

TEST(EnsembleModel, ACopyHasWeightsOfItsOwn) {
  const EnsembleModel model = Mixed(11, 5);
  const std::unique_ptr<LanguageModel> copy = model.Copy();
  const std::vector<Sequence> text = {{.ids = {1, 2, 3, 4, 5}}};
  const double before = (*ScoreSequences(model, text))[0].total_nll;
  EXPECT_EQ((*ScoreSequences(*copy, text))[0].total_nll, before);
  {
    at::NoGradGuard no_grad;
    for (const at::Tensor& leaf : copy->Leaves()) leaf.detach().mul_(0.5);
  }
  EXPECT_NE((*ScoreSequences(*copy, text))[0].total_nll, before);
  EXPECT_EQ((*ScoreSequences(model, text))[0].total_nll, before);
  EXPECT_EQ(copy->Leaves().size(), model.Leaves().size());
  EXPECT_TRUE(copy->Leaves()[0].requires_grad());
}

TEST(EnsembleModel, RefusesWhatIsNoEnsemble) {
  EXPECT_EQ(ErrorReason(EnsembleModel::Of({}).status()), "BAD_ENSEMBLE");
  EXPECT_EQ(
      ErrorReason(EnsembleModel::Of({RandomModel({.vocab = 12}, 1), RandomModel({.vocab = 13}, 1)})
                      .status()),
      "BAD_ENSEMBLE");
  const EnsembleModel model =
      Of({RandomModel({.context = 32}, 1), RandomModel({.context = 20}, 2)});
  EXPECT_EQ(model.context(), 20);
  EXPECT_EQ(ErrorReason(model.CheckIds(TokenIds(21, 1))), "SEQUENCE_TOO_LONG");
  EXPECT_EQ(ErrorReason(model.CheckIds(TokenIds{12})), "TOKEN_OUT_OF_RANGE");
}

}  // namespace
}  // namespace lethe
