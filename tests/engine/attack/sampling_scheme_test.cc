// p_z and n(p) against values by hand and against drawing; what attacks share.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/attack/attack_table.h"
#include "engine/attack/min_k.h"
#include "engine/attack/sampling_scheme.h"
#include "engine/metric/bounds.h"
#include "engine/model/generate.h"
#include "tests/engine/random_models.h"

namespace lethe {
namespace {

std::vector<double> Values(const at::Tensor& t) {
  const at::Tensor d = t.to(at::kDouble).contiguous();
  return {d.data_ptr<double>(), d.data_ptr<double>() + d.numel()};
}

// Logits ln(1, 2, 3, 4): probabilities .1 .2 .3 .4. Top 2 keeps 3 and 4: 3/7 and 4/7. Temperature
// .5 squares them: 1 4 9 16 of 30.
TEST(SchemeLogProbs, ByHand) {
  const at::Tensor logits =
      at::tensor(std::vector<float>{0, std::log(2.F), std::log(3.F), std::log(4.F)}).unsqueeze(0);
  const auto q = [&](int64_t target, double temperature, int64_t top_k, double top_p = 1) {
    return std::exp(Values(SchemeLogProbs(logits, at::tensor(std::vector<int64_t>{target}),
                                          {temperature, top_k, top_p}))[0]);
  };
  EXPECT_NEAR(q(2, 1, 0), 0.3, 1e-6);
  EXPECT_NEAR(q(2, 1, 2), 3.0 / 7, 1e-6);
  EXPECT_EQ(q(1, 1, 2), 0);
  EXPECT_NEAR(q(3, 1, 1), 1, 1e-6);  // greedy
  EXPECT_NEAR(q(1, 0.5, 0), 4.0 / 30, 1e-6);
  EXPECT_NEAR(q(2, 1, 100), 0.3, 1e-6);         // more than there are: all
  EXPECT_NEAR(q(2, 1, 0, 0.6), 3.0 / 7, 1e-6);  // 4 alone has .4; with 3 it is .7
  EXPECT_EQ(q(1, 1, 0, 0.6), 0);
  EXPECT_NEAR(q(3, 1, 2, 0.5), 1, 1e-6);  // of the two that top-k leaves, 4 alone has 4/7
}

// Equal logits: of four, .6 keeps the three lowest ids; as in the sampler.
TEST(SchemeLogProbs, OfEqualsTheLowerIdsAreKept) {
  const at::Tensor logits = at::tensor(std::vector<float>{1, 1, 1, 1}).unsqueeze(0);
  for (int64_t id = 0; id < 4; ++id) {
    const double log_q =
        Values(SchemeLogProbs(logits, at::tensor(std::vector<int64_t>{id}), {.top_p = 0.6}))[0];
    EXPECT_NEAR(std::exp(log_q), id < 3 ? 1.0 / 3 : 0, 1e-6) << id;
  }
}

// A vocabulary beyond the head that top-p mostly makes do with: flat rows are sorted whole.
TEST(SchemeLogProbs, FlatRowsOfALargeVocabulary) {
  std::mt19937_64 random(3);
  std::vector<float> values;
  for (int i = 0; i < 2 * 4000; ++i) {
    const double u = static_cast<double>(random() >> 11) * 0x1p-53;
    values.push_back(static_cast<float>(i < 4000 ? u : 12 * u));  // a flat row and a steep one
  }
  const at::Tensor logits = at::tensor(values).view({2, 4000});
  for (int64_t row = 0; row < 2; ++row) {
    // By its definition: sort, add up, cut.
    std::vector<std::pair<double, int64_t>> falling;
    double all = 0;
    for (int64_t v = 0; v < 4000; ++v) {
      falling.push_back({std::exp(static_cast<double>(values[row * 4000 + v])), v});
      all += falling.back().first;
    }
    std::sort(falling.rbegin(), falling.rend());
    double mass = 0;
    size_t kept = 0;
    while (mass < 0.9 * all) mass += falling[kept++].first;
    EXPECT_EQ(kept > 1024, row == 0);
    for (const size_t place : {size_t{0}, kept / 2, kept - 2, kept + 1, size_t{3999}}) {
      const at::Tensor targets = at::tensor(std::vector<int64_t>{falling[place].second});
      const double q =
          std::exp(Values(SchemeLogProbs(logits.narrow(0, row, 1), targets, {.top_p = 0.9}))[0]);
      EXPECT_NEAR(q, place < kept ? falling[place].first / mass : 0, 1e-5 * q) << row << place;
    }
  }
}

// METHODS: p_z = .001 and p = .9 need 2,302 draws.
TEST(QueriesNeeded, ByHand) {
  EXPECT_EQ(QueriesNeeded(std::log(0.001), 0.9), 2302);
  EXPECT_EQ(QueriesNeeded(std::log(0.5), 0.5), 1);
  EXPECT_EQ(QueriesNeeded(std::log(0.5), 0.9), 4);  // 1 - .5^4 = .9375, 1 - .5^3 = .875
  EXPECT_EQ(QueriesNeeded(0, 0.9), 1);
  EXPECT_EQ(QueriesNeeded(-std::numeric_limits<double>::infinity(), 0.9), 0);
  EXPECT_EQ(QueriesNeeded(-800, 0.9), 0);  // p_z underflows: never, for all that anyone can draw
}

// log-probabilities -1, -5, -2, -4: the lower half are -5 and -4; a tenth of four is still one
// token.
TEST(MinK, ByHand) {
  EXPECT_DOUBLE_EQ(MinK({1, 5, 2, 4}, 0.5), -4.5);
  EXPECT_DOUBLE_EQ(MinK({1, 5, 2, 4}, 0.1), -5);
  EXPECT_DOUBLE_EQ(MinK({1, 5, 2, 4}, 1), -3);
  EXPECT_DOUBLE_EQ(MinK({7}, 0.2), -7);
}

TEST(ChanceInDraws, ByHand) {
  EXPECT_NEAR(ChanceInDraws(std::log(0.5), 2), 0.75, 1e-12);
  EXPECT_NEAR(ChanceInDraws(std::log(0.001), 2302), 0.9, 1e-4);
  EXPECT_NEAR(ChanceInDraws(std::log(1e-12), 1000), 1e-9, 1e-15);  // no 1 - (1 - 1e-12)
  EXPECT_EQ(ChanceInDraws(0, 5), 1);
  EXPECT_EQ(ChanceInDraws(-std::numeric_limits<double>::infinity(), 5), 0);
}

// The exact chance of each suffix of two tokens lies in the interval of the rate at which it is
// drawn, for three schemes. 36 suffixes and two sides: each limit may fail once in 1e5, all of them
// once in 500.
TEST(ExactChance, LiesInTheIntervalOfTheRateOfDrawing) {
  const Decoder model = RandomModel({.vocab = 6, .context = 32}, 5);
  constexpr int64_t kDraws = 20000;
  for (const SamplingScheme& scheme :
       {SamplingScheme{}, SamplingScheme{.temperature = 0.7, .top_k = 3},
        SamplingScheme{.top_p = 0.8}}) {
    const auto drawn = GenerateContinuations(model, std::vector<TokenIds>{{1, 4, 2}},
                                             {.max_new_tokens = 2,
                                              .samples = kDraws,
                                              .temperature = scheme.temperature,
                                              .top_k = scheme.top_k,
                                              .top_p = scheme.top_p,
                                              .seed = 9});
    ASSERT_TRUE(drawn.ok()) << drawn.status();
    std::vector<Sequence> sequences;
    for (int32_t a = 0; a < 6; ++a) {
      for (int32_t b = 0; b < 6; ++b) sequences.push_back({.ids = {1, 4, 2, a, b}});
    }
    TeacherForced forced(model, sequences);
    const auto log_q = forced.SchemeLogProbs(scheme);
    ASSERT_TRUE(log_q.ok());
    double all = 0;
    for (size_t i = 0; i < sequences.size(); ++i) {
      const TokenIds pair = {sequences[i].ids[3], sequences[i].ids[4]};
      const int64_t hits = std::count((*drawn)[0].begin(), (*drawn)[0].end(), pair);
      const double p = std::exp(static_cast<double>((*log_q)[i][2]) + (*log_q)[i][3]);
      all += p;
      EXPECT_LE(p, ClopperPearsonUpper(hits, kDraws, 1e-5));
      EXPECT_GE(p, 1 - ClopperPearsonUpper(kDraws - hits, kDraws, 1e-5));
      EXPECT_TRUE(p > 0 || hits == 0);
    }
    EXPECT_NEAR(all, 1, 1e-5);
  }
}

// One pass serves all, gives what ScoreSequences gives, and is counted once; where the hidden states
// are not kept, a late scheme costs another pass and gives the same.
TEST(TeacherForced, IsOnePass) {
  const Decoder model = RandomModel({.vocab = 20, .context = 48}, 8);
  std::mt19937_64 random(1);
  std::vector<Sequence> sequences;
  for (const int64_t length : {5, 48, 2, 17})
    sequences.push_back({.ids = RandomIds(random, length, 20)});
  sequences[3].prompt_tokens = 6;
  const SamplingScheme early{.top_k = 4}, late{.top_p = 0.7};
  TeacherForced kept(model, sequences, {early}), dropped(model, sequences, {}, /*kept_bytes=*/0);
  const auto tokens = kept.Tokens();
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  const auto scores = ScoreSequences(model, sequences);
  for (size_t s = 0; s < sequences.size(); ++s) {
    EXPECT_EQ((*tokens)[s].score.nll, (*scores)[s].nll);
    EXPECT_EQ((*tokens)[s].score.choice, (*scores)[s].choice);
    EXPECT_EQ((*tokens)[s].mean.size(), (*scores)[s].nll.size());
  }
  for (const SamplingScheme& scheme : {early, late}) {
    const auto one = kept.SchemeLogProbs(scheme), other = dropped.SchemeLogProbs(scheme);
    for (size_t s = 0; s < sequences.size(); ++s) EXPECT_EQ((*one)[s], (*other)[s]);
  }
  EXPECT_EQ(kept.forward_tokens(), 5 + 48 + 2 + 17);
  EXPECT_EQ(dropped.forward_tokens(), 3 * (5 + 48 + 2 + 17));
}

}  // namespace
}  // namespace lethe
