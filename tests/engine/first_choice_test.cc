// Choices that fp32 cannot make: equal and nearly equal rows of the output weight, in any company;
// and how far fp32 is from float64, which the bound rests on.
#include "engine/model/first_choice.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "engine/loss/sequence_loss.h"
#include "engine/metric/memorisation.h"
#include "engine/model/generate.h"
#include "tests/engine/choice_noise.h"
#include "tests/engine/random_families.h"
#include "tests/engine/random_models.h"
#include "tests/support/seeded_random.h"

namespace lethe {
namespace {

// float64 by another road: the weights as doubles in a model of their own would be the same code, so
// this compares with fp32, in every family.
TEST(HiddenInDouble, IsTheSameModel) {
  std::mt19937_64 random(TestSeed(5));
  for (const FamilyCase& c : FamilyCases(17)) {
    SCOPED_TRACE(c.name);
    const Decoder model = RandomDecoder(c.config, random());
    const at::Tensor ids = at::randint(17, {2, 40}, at::kLong);
    const at::Tensor precise = model.HiddenInDouble(ids), usual = model.Hidden(ids);
    EXPECT_EQ(precise.scalar_type(), at::kDouble);
    EXPECT_FALSE(precise.requires_grad());
    EXPECT_LE((precise - usual).abs().max().item<double>(), 1e-4);
    EXPECT_GT((precise - usual).abs().max().item<double>(), 0);
  }
}

// What fp32 gets wrong, with and without the cache, is about as large as the bound at most, even with
// weights that saturate attention; real models stay below it (engine_golden_test).
TEST(TieBound, IsAsLargeAsTheNoiseOfEveryFamily) {
  std::mt19937_64 random(TestSeed(6));
  double largest = 0;
  for (int round = 0; round < 3; ++round) {
    for (const FamilyCase& c : FamilyCases(60)) {
      const Decoder model = RandomDecoder(c.config, random());
      std::vector<TokenIds> texts;
      for (int i = 0; i < 3; ++i) texts.push_back(RandomIds(random, 64, 60));
      const double noise = ChoiceNoise(model, texts);
      EXPECT_LE(noise, 2) << c.name;
      largest = std::max(largest, noise);
    }
  }
  std::printf("largest noise: %.3f of the bound\n", largest);
}

// A decoder that computes in bf16 chooses by fp32 logits.
TEST(FirstChoice, OfABf16DecoderIsThatOfItsScores) {
  const Decoder model = RandomModel({.vocab = 12}, 1), rounded = model.In(Precision::kBf16);
  std::mt19937_64 random(3);
  const std::vector<Sequence> text = {{.ids = RandomIds(random, 40, 12)}};
  c10::InferenceMode inference;
  const at::Tensor ids = at::tensor(std::vector<int64_t>(text[0].ids.begin(), text[0].ids.end()));
  const FirstChoices made =
      ChooseFirst(rounded, rounded.Hidden(ids.unsqueeze(0)), [](int64_t) { return TokenIds(); });
  const std::vector<SequenceScore> scores = ScoreSequences(rounded, text).value();
  for (size_t t = 0; t < scores[0].choice.size(); ++t) {
    EXPECT_EQ(made.tokens[t], scores[0].choice[t]) << t;
  }
}

// What runs on other devices gives what the loops give.
TEST(BestTwo, IsTheSameInTensorOps) {
  const at::Tensor logits = at::randn({50, 33});
  logits[7].fill_(-INFINITY)[4] = 1;
  const auto loops = BestTwo(logits), tensor_ops = BestTwo(logits.to(at::kDouble));
  for (int n = 0; n < 50; ++n) {
    EXPECT_EQ(loops[n].place, tensor_ops[n].place);
    EXPECT_EQ(loops[n].largest, tensor_ops[n].largest);
    EXPECT_EQ(loops[n].second, tensor_ops[n].second);
  }
  const auto one = BestTwo(at::ones({1, 1}, at::kDouble));
  EXPECT_EQ(one[0].place, 0);
  EXPECT_EQ(one[0].second, -INFINITY);
}

// A model whose best token has a twin of a lower id and one of a higher id.
struct TwinModel {
  Decoder model;
  TokenIds text;
  int32_t best, low, high;
};

TwinModel MakeTwins(uint64_t seed) {
  std::mt19937_64 random(seed);
  for (;;) {
    TwinModel t{RandomModel({.vocab = 40, .hidden = 32}, random()), RandomIds(random, 12, 40), 0, 0,
                0};
    t.best = ChooseInDouble(t.model, t.text).token;
    if (t.best < 1 || t.best > 38) continue;
    t.low = static_cast<int32_t>(random() % t.best);
    t.high = t.best + 1;
    return t;
  }
}

int32_t Greedy(const Decoder& model, const TokenIds& text) {
  const std::vector<TokenIds> prompts = {text};
  return (*GenerateContinuations(model, prompts, {.max_new_tokens = 1}))[0][0][0];
}

void CopyRow(const Decoder& model, int32_t from, int32_t to) {
  at::NoGradGuard no_grad;
  at::Tensor weight = model.OutputWeight().detach();
  weight[to].copy_(weight[from]);
}

TEST(FirstChoice, OfEqualRowsTheLowestIdWins) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    const TwinModel t = MakeTwins(seed);
    CopyRow(t.model, t.best, t.high);
    EXPECT_EQ(Greedy(t.model, t.text), t.best);
    CopyRow(t.model, t.best, t.low);
    EXPECT_EQ(Greedy(t.model, t.text), t.low);
    EXPECT_EQ(ChooseInDouble(t.model, t.text).token, t.low);
  }
}

// Weights held in bf16 have ties of their own; scoring decides them as in fp32.
TEST(FirstChoice, OfEqualRowsInBf16TheLowestIdWins) {
  TwinModel t = MakeTwins(4);
  t.model.HoldInBf16();
  CopyRow(t.model, t.best, t.high);
  CopyRow(t.model, t.best, t.low);
  Sequence text{.ids = t.text};
  text.ids.push_back(t.low);
  const auto scores = ScoreSequences(t.model, std::vector<Sequence>{text});
  ASSERT_TRUE(scores.ok()) << scores.status();
  EXPECT_EQ(scores->front().choice.back(), t.low);
  EXPECT_GE(scores->front().ties, 1);
}

// Twins whose logits differ by some 1e-7, which fp32 does not show: the larger one wins, whichever
// id it has, wherever it is asked.
TEST(FirstChoice, ANearTieIsDecidedInDouble) {
  int higher = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    const TwinModel t = MakeTwins(seed);
    const int32_t twin = seed % 2 ? t.low : t.high;
    CopyRow(t.model, t.best, twin);
    at::Tensor weight = t.model.OutputWeight().detach();
    const at::Tensor hidden = t.model.HiddenInDouble(
        at::tensor(std::vector<int64_t>(t.text.begin(), t.text.end()), at::kLong)
            .unsqueeze(0))[static_cast<int64_t>(t.text.size()) - 1];
    // One weight moves, so that the logit moves by 1e-7 or by one step of that weight.
    float& moved = weight.data_ptr<float>()[twin * weight.size(1)];
    const float before = moved;
    moved += static_cast<float>((seed % 4 < 2 ? 1e-7 : -1e-7) / hidden[0].item<double>());
    if (moved == before) moved = std::nextafter(before, 10.0f);
    const double gap =
        (hidden[0] * (static_cast<double>(moved) - static_cast<double>(before))).item<double>();
    ASSERT_LT(std::abs(gap), 1e-5);
    const int32_t want = gap > 0 ? twin : t.best;
    higher += want > std::min(twin, t.best);
    EXPECT_EQ(ChooseInDouble(t.model, t.text).token, want) << seed;
    EXPECT_NEAR(ChooseInDouble(t.model, t.text).margin, std::abs(gap), 1e-3 * std::abs(gap));
    EXPECT_EQ(Greedy(t.model, t.text), want) << seed;

    // In company, over the cache, and in a teacher-forced pass of another shape.
    std::vector<TokenIds> prompts = {{1, 2, 3}, t.text, TokenIds(30, 5)};
    EXPECT_EQ((*GenerateContinuations(t.model, prompts, {.max_new_tokens = 3}))[1][0][0], want);
    TokenIds longer = t.text;
    for (const int32_t id : {want, 3, 4, 5}) longer.push_back(id);
    const Sequence sequence{.ids = longer};
    const auto measured = MeasureMemorisation(t.model, {{{.ids = TokenIds(40, 7)}, sequence}}, {});
    EXPECT_EQ((*measured)[1].greedy_next[t.text.size() - 1], want);
    EXPECT_GE((*measured)[1].ties, 1);
    const auto scores = ScoreSequences(t.model, {{{.ids = {3, 4}}, sequence}});
    EXPECT_EQ((*scores)[1].choice[t.text.size() - 1], want);
    EXPECT_GE((*scores)[1].ties, 1);
    EXPECT_EQ((*scores)[1].choice, (*measured)[1].greedy_next);
  }
  EXPECT_GT(higher, 5);  // not decided by the ids
}

TEST(FirstChoice, WithoutATieNothingIsRead) {
  const Decoder model = RandomModel({.vocab = 40}, 3);
  const at::Tensor hidden = model.Hidden(at::tensor({1, 2, 3, 4}, at::kLong).unsqueeze(0)).detach();
  const FirstChoices made = ChooseFirst(model, hidden, [](int64_t) -> std::vector<int32_t> {
    ADD_FAILURE() << "asked for a text";
    return {};
  });
  EXPECT_EQ(made.ties, 0);
  const at::Tensor want = at::mm(hidden, model.OutputWeight().detach().t()).argmax(1);
  for (int64_t n = 0; n < 4; ++n) EXPECT_EQ(made.tokens[n], want[n].item<int64_t>());
}

// Many tokens that the model never said may be equal: deciding between them costs no pass.
TEST(FirstChoice, EqualRowsNeedNoPassInDouble) {
  const TwinModel t = MakeTwins(3);
  CopyRow(t.model, t.best, t.low);
  const at::Tensor ids = at::tensor(std::vector<int64_t>(t.text.begin(), t.text.end()), at::kLong);
  const at::Tensor hidden = t.model.Hidden(ids.unsqueeze(0)).detach().narrow(0, 11, 1);
  // A text that would be refused if it were read.
  const FirstChoices made = ChooseFirst(t.model, hidden, [](int64_t) { return TokenIds{1000}; });
  EXPECT_EQ(made.ties, 1);
  EXPECT_EQ(made.tokens, TokenIds{t.low});
}

}  // namespace
}  // namespace lethe
