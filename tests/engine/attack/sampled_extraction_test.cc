// p_z and n(p) against values by hand and against drawing.
#include "engine/attack/sampled_extraction.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>

#include <cmath>

#include "engine/attack/min_k.h"
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
  const auto q = [&](int64_t target, double temperature, int64_t top_k) {
    return std::exp(Values(
        SchemeLogProbs(logits, at::tensor(std::vector<int64_t>{target}), temperature, top_k))[0]);
  };
  EXPECT_NEAR(q(2, 1, 0), 0.3, 1e-6);
  EXPECT_NEAR(q(2, 1, 2), 3.0 / 7, 1e-6);
  EXPECT_EQ(q(1, 1, 2), 0);
  EXPECT_NEAR(q(3, 1, 1), 1, 1e-6);  // greedy
  EXPECT_NEAR(q(1, 0.5, 0), 4.0 / 30, 1e-6);
  EXPECT_NEAR(q(2, 1, 100), 0.3, 1e-6);  // more than there are: all
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

// The exact chance of a suffix of two tokens against how often it is drawn. 20,000 draws of a rate
// near p scatter by sqrt(p (1-p) / 20000), at most .0035; four times that is .014.
TEST(SuffixLogProbs, EqualsTheRateOfDrawing) {
  const Decoder model = RandomModel({.vocab = 6, .context = 32}, 5);
  for (const auto& [temperature, top_k] :
       {std::pair{1.0, int64_t{0}}, std::pair{0.7, int64_t{3}}}) {
    const TokenIds prompt = {1, 4, 2};
    const auto drawn = GenerateContinuations(model, std::vector<TokenIds>{prompt},
                                             {.max_new_tokens = 2,
                                              .samples = 20000,
                                              .temperature = temperature,
                                              .top_k = top_k,
                                              .seed = 9});
    ASSERT_TRUE(drawn.ok()) << drawn.status();
    for (int32_t a = 0; a < 6; ++a) {
      for (int32_t b = 0; b < 6; ++b) {
        double hits = 0;
        for (const TokenIds& said : (*drawn)[0]) hits += said == TokenIds{a, b};
        const std::vector<Sequence> sequences = {{.ids = {1, 4, 2, a, b}}};
        const std::vector<ExtractionCase> cases = {
            {.sequence = 0, .variant = 0, .begin = 3, .end = 5}};
        const auto log_p = SuffixLogProbs(model, sequences, cases, temperature, top_k);
        ASSERT_TRUE(log_p.ok());
        EXPECT_NEAR(std::exp((*log_p)[0]), hits / 20000, 0.014) << a << " " << b;
        if (std::isinf((*log_p)[0])) EXPECT_EQ(hits, 0);
      }
    }
  }
}

}  // namespace
}  // namespace lethe
