// MA and EL_n on the real model: against the golden values of transformers' forward passes, against
// an independent float64 forward pass (golden/stories260K_golden.json), and against the slow twin
// on real text.
#include <gtest/gtest.h>

#include <random>

#include "engine/loss/sequence_loss.h"
#include "engine/metric/memorisation.h"
#include "engine/model/generate.h"
#include "tests/engine/choice_noise.h"
#include "tests/engine/golden_data.h"
#include "tests/engine/random_models.h"
#include "tests/engine/slow_memorisation.h"
#include "tests/support/seeded_random.h"

namespace lethe {
namespace {

class GoldenMemorisation : public testing::Test {
 protected:
  void SetUp() override {
    std::string missing;
    const auto path = TestData("models/stories260k", &missing);
    const auto other = TestData("golden/stories260K_golden.json", &missing);
    if (!path || !other) GTEST_SKIP() << missing;
    auto opened = OpenGolden(*path);
    ASSERT_TRUE(opened.ok()) << opened.status();
    data_.emplace(*std::move(opened));
    independent_ = ReadJson(*other);
  }
  std::optional<GoldenModel> data_;
  nlohmann::json independent_;
};

TEST_F(GoldenMemorisation, EqualsTransformers) {
  std::vector<Sequence> sequences;
  for (const auto& c : data_->golden["memorisation"]) {
    sequences.push_back({.ids = c["input_ids"].get<TokenIds>()});
  }
  ASSERT_EQ(sequences.size(), 4u);
  const auto m = MeasureMemorisation(data_->model, sequences, {.el_n = {3, 5, 10}});
  ASSERT_TRUE(m.ok()) << m.status();
  for (size_t i = 0; i < sequences.size(); ++i) {
    const auto& c = data_->golden["memorisation"][i];
    SCOPED_TRACE(c["what"].get<std::string>());
    EXPECT_EQ((*m)[i].greedy_next, c["greedy_next"].get<TokenIds>());
    EXPECT_NEAR((*m)[i].ma, c["MA"].get<double>(), 1e-6);
    for (const int64_t n : {3, 5, 10}) {
      EXPECT_NEAR((*m)[i].el.at(n), c["EL_" + std::to_string(n)].get<double>(), 1e-6) << n;
    }
    EXPECT_LT((*m)[i].rollouts, 59);
  }
}

TEST_F(GoldenMemorisation, EqualsTheIndependentForwardPass) {
  for (const auto& c : independent_["cases"]) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const Sequence sequence{.ids = c["token_ids"].get<TokenIds>()};
    const auto m = MeasureMemorisation(data_->model, {{sequence}}, {.el_n = {3, 5, 10}});
    ASSERT_TRUE(m.ok()) << m.status();
    EXPECT_NEAR((*m)[0].ma, c["memorization_accuracy"].get<double>(), 1e-6);
    for (const auto& [n, value] : c["extraction_likelihood"].items()) {
      EXPECT_NEAR((*m)[0].el.at(std::stoll(n)), value.get<double>(), 2e-6) << n;  // 6 decimals
    }
    const auto scores = ScoreSequences(data_->model, {{sequence}});
    const auto want = c["nll_per_token"].get<std::vector<double>>();
    ASSERT_EQ((*scores)[0].nll.size(), want.size());
    for (size_t t = 0; t < want.size(); ++t) EXPECT_NEAR((*scores)[0].nll[t], want[t], 1e-3);
    EXPECT_NEAR((*scores)[0].MeanNll(), c["mean_nll"].get<double>(), 1e-4);
  }
}

// The real model on sampled stories of its own, cut and spoilt at random.
TEST_F(GoldenMemorisation, EqualsTheSlowTwin) {
  const uint64_t seed = TestSeed(6);
  std::mt19937_64 random(seed);
  std::vector<TokenIds> prompts;
  for (int i = 0; i < 10; ++i) prompts.push_back({1});
  const auto stories = GenerateContinuations(
      data_->model, prompts, {.max_new_tokens = 28, .temperature = 0.8, .seed = seed});
  ASSERT_TRUE(stories.ok());
  std::vector<Sequence> sequences;
  for (const auto& samples : *stories) {
    Sequence s{.ids = samples[0]};
    s.ids.resize(4 + random() % 25);
    if (random() % 2) s.ids[random() % s.ids.size()] = static_cast<int32_t>(3 + random() % 500);
    if (random() % 3 == 0) s.prompt_tokens = static_cast<int32_t>(random() % (s.ids.size() - 1));
    sequences.push_back(std::move(s));
  }
  const std::vector<int64_t> el_n = {2, 3, 5, 10};
  const auto fast = MeasureMemorisation(data_->model, sequences, {.el_n = el_n});
  ASSERT_TRUE(fast.ok());
  for (size_t i = 0; i < sequences.size(); ++i) {
    const SlowMemorisation slow = MeasureSlowly(data_->model, sequences[i], el_n);
    EXPECT_EQ((*fast)[i].greedy_next, slow.greedy_next) << "seed " << seed;
    EXPECT_NEAR((*fast)[i].ma, slow.ma, 1e-12) << "seed " << seed;
    ASSERT_EQ((*fast)[i].el.size(), slow.el.size());
    for (const auto& [n, value] : slow.el)
      EXPECT_NEAR((*fast)[i].el.at(n), value, 1e-9) << "EL_" << n;
  }
}

// Every model folder, on its golden ids: what it says after some of them, and those themselves.
TEST(FolderMemorisation, EqualsTheSlowTwin) {
  std::string missing;
  const auto models = TestData("models", &missing);
  if (!models) GTEST_SKIP() << missing;
  for (const auto& entry : std::filesystem::directory_iterator(*models)) {
    SCOPED_TRACE(entry.path().filename());
    const auto data = OpenGolden(entry.path());
    ASSERT_TRUE(data.ok()) << data.status();
    std::vector<Sequence> sequences;
    std::vector<TokenIds> prompts;
    for (const auto& ids : data->golden["plain"]["input_ids"]) {
      sequences.push_back({.ids = ids.get<TokenIds>()});
      prompts.push_back({ids.begin(), ids.begin() + 5});
    }
    const auto said = GenerateContinuations(data->model, prompts, {.max_new_tokens = 20});
    ASSERT_TRUE(said.ok()) << said.status();
    for (size_t p = 0; p < prompts.size(); ++p) {
      TokenIds ids = prompts[p];
      ids.insert(ids.end(), (*said)[p][0].begin(), (*said)[p][0].end());
      sequences.push_back({.ids = ids});
      ids[14] = (ids[14] + 1) % 50;  // and a slip
      sequences.push_back({.ids = ids});
    }
    const std::vector<int64_t> el_n = {3, 5, 10};
    const auto fast = MeasureMemorisation(data->model, sequences, {.el_n = el_n});
    ASSERT_TRUE(fast.ok()) << fast.status();
    for (size_t i = 0; i < sequences.size(); ++i) {
      const SlowMemorisation slow = MeasureSlowly(data->model, sequences[i], el_n);
      EXPECT_EQ((*fast)[i].greedy_next, slow.greedy_next) << i;
      EXPECT_NEAR((*fast)[i].ma, slow.ma, 1e-12) << i;
      for (const int64_t n : el_n) EXPECT_NEAR((*fast)[i].el.at(n), slow.el.at(n), 1e-9) << i;
    }
  }
}

TEST(FolderMemorisation, NoiseIsBelowTheTieBound) {
  std::string missing;
  const auto models = TestData("models", &missing);
  if (!models) GTEST_SKIP() << missing;
  for (const auto& entry : std::filesystem::directory_iterator(*models)) {
    const auto data = OpenGolden(entry.path());
    ASSERT_TRUE(data.ok()) << data.status();
    const double noise =
        ChoiceNoise(data->model, data->golden["plain"]["input_ids"].get<std::vector<TokenIds>>());
    std::printf("%-20s largest noise: %.3f of the bound\n", entry.path().filename().c_str(), noise);
    EXPECT_LE(noise, 1);
  }
}

}  // namespace
}  // namespace lethe
