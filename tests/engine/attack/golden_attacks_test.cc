// Attacks on the models of LETHE_TESTDATA against figures by torch, transformers, zlib and numpy:
// golden/make_attack_golden.py wrote them. Its log-probabilities are fp32 and within 2e-5 of ours, as
// those of golden_test.cc.
#include <gtest/gtest.h>

#include <cmath>

#include "engine/attack/extraction_case.h"
#include "tests/engine/attack/run_attack.h"
#include "tests/engine/golden_data.h"

namespace lethe {
namespace {

class GoldenAttacks : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    std::string missing;
    const auto path = TestData("models/" + GetParam(), &missing);
    if (!path) GTEST_SKIP() << missing;
    const auto folder = CheckpointFolder::Open(*path);
    ASSERT_TRUE(folder.ok()) << folder.status();
    model_.emplace(Decoder::Load(*folder, Device{}).value());
    tokenizer_.emplace(Tokenizer::Load(*path).value());
    golden_ = ReadJson(LETHE_ATTACK_GOLDEN_FILE)["models"][GetParam()];
    for (const auto& g : golden_) sequences_.push_back({.ids = g["ids"].get<TokenIds>()});
  }

  AttackScores Run(std::string_view name, AttackContext context = {},
                   const ParameterValues& overrides = {}) {
    context.tokenizer = &*tokenizer_;
    return RunAttack(name, *model_, sequences_, {.overrides = overrides, .context = context})
        .value();
  }

  std::optional<Decoder> model_;
  std::optional<Tokenizer> tokenizer_;
  nlohmann::json golden_;
  std::vector<Sequence> sequences_;
};

TEST_P(GoldenAttacks, Membership) {
  std::vector<double> reference;
  for (const auto& g : golden_) reference.push_back(g["nll"].get<double>() + 0.5);
  const AttackScores loss = Run("loss"), min_k = Run("min_k_plus_plus"), zlib = Run("zlib");
  const AttackScores norm = Run("gradient_norm");
  const AttackScores against = Run("reference", {.reference_nll = reference});
  for (size_t i = 0; i < sequences_.size(); ++i) {
    const auto& g = golden_[i];
    const double nll = g["nll"].get<double>();
    EXPECT_NEAR(loss.scores[i], -nll, 2e-5);
    EXPECT_NEAR(min_k.scores[i], g["min_k_pp"].get<double>(), 2e-4);  // errors over a deviation
    EXPECT_NEAR(zlib.scores[i], -nll / g["zlib_bytes"].get<double>(), 2e-5);
    EXPECT_NEAR(norm.scores[i], -g["grad_norm"].get<double>(), 1e-4 * g["grad_norm"].get<double>());
    EXPECT_NEAR(against.scores[i], 0.5, 2e-5);
  }
}

// p_z of the second half of each sequence under three schemes, sorted and cut in float64 there. Where
// a token stands at the edge of top-p within rounding, one side may keep it and the other not; none
// of these does.
TEST_P(GoldenAttacks, ExactChance) {
  const std::pair<const char*, SamplingScheme> kSchemes[] = {
      {"all", {}}, {"top_k", {.top_k = 40}}, {"top_p", {.top_p = 0.9}}};
  TeacherForced forced(*model_, sequences_);
  for (const auto& [name, scheme] : kSchemes) {
    const auto log_q = forced.SchemeLogProbs(scheme);
    ASSERT_TRUE(log_q.ok()) << log_q.status();
    for (size_t i = 0; i < sequences_.size(); ++i) {
      const auto length = static_cast<int32_t>(sequences_[i].ids.size());
      const double got = SuffixLogProb(
          sequences_[i], {.sequence = i, .begin = length / 2, .end = length}, (*log_q)[i]);
      const auto& want = golden_[i]["log_q"][name];
      if (want.is_string()) {
        EXPECT_EQ(got, -std::numeric_limits<double>::infinity()) << name << i;
      } else {
        EXPECT_NEAR(got, want.get<double>(), 2e-5 * length) << name << i;
      }
    }
  }
}

TEST_P(GoldenAttacks, LogitLens) {
  for (const int k : {1, 4, 20}) {
    const AttackScores got = Run("logit_lens", {}, {{"k", k}});
    for (size_t i = 0; i < sequences_.size(); ++i) {
      const auto ranks = golden_[i]["lens"].get<std::vector<std::vector<int>>>();
      const auto tokens = static_cast<double>(ranks[0].size());
      double found = 0, last = 0, earliest = 0;
      for (size_t t = 0; t < ranks[0].size(); ++t) {
        bool somewhere = false;
        for (const auto& layer : ranks) somewhere = somewhere || layer[t] < k;
        found += somewhere;
        last += ranks.back()[t] < k;
      }
      for (size_t layer = ranks.size(); layer-- > 0;) {
        const auto here = std::count_if(ranks[layer].begin(), ranks[layer].end(),
                                        [&](int rank) { return rank < k; });
        if (2 * static_cast<double>(here) >= tokens) earliest = static_cast<double>(layer + 1);
      }
      EXPECT_DOUBLE_EQ(got.scores[i], found / tokens) << k << i;
      EXPECT_DOUBLE_EQ(got.details.at("last_layer")[i], last / tokens) << k << i;
      EXPECT_EQ(got.details.at("earliest_layer")[i], earliest) << k << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GoldenAttacks,
                         testing::Values("stories260k", "tiny_gpt2", "tiny_gpt_neox", "tiny_opt"));

}  // namespace
}  // namespace lethe
