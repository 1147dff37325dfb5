// SmolLM2-135M-Instruct, the one real model of size, against what transformers computed for it
// (golden/smollm2_golden.json). LETHE_SMOLLM2 names its folder, which CONTRIBUTING.md says how to
// make; some seconds and 2 GB of memory.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <cmath>

#include "engine/loss/sequence_loss.h"
#include "engine/metric/memorisation.h"
#include "engine/model/generate.h"
#include "tests/engine/choice_noise.h"
#include "tests/engine/golden_data.h"
#include "tests/engine/slow_memorisation.h"
#include "text/tokenizer.h"

namespace lethe {
namespace {

class SmolLm2 : public testing::Test {
 protected:
  void SetUp() override {
    const char* folder = std::getenv("LETHE_SMOLLM2");
    if (folder == nullptr) {
      GTEST_SKIP() << "LETHE_SMOLLM2 is not set; make the folder, which it names, with: "
                      "../shared/tools/make_models.py smollm2 FOLDER";
    }
    std::string missing;
    const auto golden = TestData("golden/smollm2_golden.json", &missing);
    if (!golden) GTEST_SKIP() << missing;
    folder_ = folder;
    golden_ = ReadJson(*golden);
  }
  // Loaded once for all tests.
  const Decoder& model() const {
    static const Decoder loaded =
        *Decoder::Load(*CheckpointFolder::Open(std::getenv("LETHE_SMOLLM2")), Device{});
    return loaded;
  }
  std::vector<Sequence> Passages() const {
    std::vector<Sequence> sequences;
    for (const auto& p : golden_["passages"]) sequences.push_back({.ids = p["ids"]});
    return sequences;
  }

  std::filesystem::path folder_;
  nlohmann::json golden_;
};

TEST_F(SmolLm2, HasTheGoldenWeights) {
  for (const auto& [name, norm] : golden_["weight_norms"].items()) {
    const double is = model().Named(name).to(at::kDouble).norm().item<double>();
    EXPECT_LE(std::abs(is - norm.get<double>()), 1e-6 * norm.get<double>()) << name;
  }
}

TEST_F(SmolLm2, LogProbs) {
  const auto scores = ScoreSequences(model(), Passages());
  ASSERT_TRUE(scores.ok()) << scores.status();
  for (size_t i = 0; i < scores->size(); ++i) {
    const auto& p = golden_["passages"][i];
    const double mean = p["mean_nll"];
    EXPECT_LE(std::abs((*scores)[i].MeanNll() - mean), 1e-5 * mean) << i;
    const auto want = p["first_log_probs"].get<std::vector<double>>();
    for (size_t t = 0; t < want.size(); ++t) {
      EXPECT_LE(std::abs((*scores)[i].nll[t] + want[t]), 1e-4) << i << " " << t;
    }
  }
}

TEST_F(SmolLm2, PaddingChangesNothing) {
  std::vector<Sequence> sequences = Passages();
  for (size_t i = 0; i < sequences.size(); ++i) sequences[i].ids.resize(128 - 23 * i);
  const auto together = ScoreSequences(model(), sequences);
  ASSERT_TRUE(together.ok()) << together.status();
  for (size_t i = 0; i < sequences.size(); ++i) {
    const auto alone = ScoreSequences(model(), {{sequences[i]}});
    EXPECT_EQ((*together)[i].choice, (*alone)[0].choice) << i;
    for (size_t t = 0; t < (*alone)[0].nll.size(); ++t) {
      EXPECT_LE(std::abs((*together)[i].nll[t] - (*alone)[0].nll[t]), 1e-4) << i << " " << t;
    }
  }
}

TEST_F(SmolLm2, GreedyText) {
  c10::InferenceMode inference;
  std::vector<TokenIds> prompts;
  for (const auto& c : golden_["greedy"]) prompts.push_back(c["prompt_ids"]);
  const auto said = GenerateContinuations(model(), prompts, {.max_new_tokens = 20});
  ASSERT_TRUE(said.ok()) << said.status();
  const auto tokenizer = Tokenizer::Load(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  for (size_t i = 0; i < prompts.size(); ++i) {
    const auto& c = golden_["greedy"][i];
    EXPECT_EQ((*said)[i][0], c["continuation"].get<TokenIds>());
    EXPECT_EQ(*tokenizer->Encode(c["prompt"].get<std::string>(), /*add_special=*/false),
              prompts[i]);
    EXPECT_EQ(*tokenizer->Decode((*said)[i][0]), c["text"].get<std::string>());
    const at::Tensor ids =
        at::tensor(std::vector<int64_t>(prompts[i].begin(), prompts[i].end()), at::kLong);
    const at::Tensor hidden = model().Hidden(ids.unsqueeze(0));
    const at::Tensor log_probs =
        model().Logits(hidden.narrow(0, hidden.size(0) - 1, 1)).log_softmax(1)[0];
    for (const auto& [id, value] : c["next_top5"].get<std::vector<std::pair<int64_t, double>>>()) {
      EXPECT_LE(std::abs(log_probs[id].item<double>() - value), 1e-4) << id;
    }
  }
}

TEST_F(SmolLm2, TokenizerCases) {
  const auto tokenizer = Tokenizer::Load(folder_);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  ASSERT_EQ(golden_["tokenizer_cases"].size(), 40u);
  for (const auto& c : golden_["tokenizer_cases"]) {
    SCOPED_TRACE(c["text"].dump());
    const auto ids = c["ids"].get<TokenIds>();
    EXPECT_EQ(*tokenizer->Encode(c["text"].get<std::string>(), /*add_special=*/false), ids);
    EXPECT_EQ(*tokenizer->Decode(ids), c["decoded"].get<std::string>());
  }
}

TEST_F(SmolLm2, MemorisationEqualsTheSlowTwin) {
  // What it says after a prompt, with a slip: some prefixes roll out, some do not.
  const std::vector<TokenIds> prompts = {golden_["greedy"][1]["prompt_ids"].get<TokenIds>()};
  const auto said = GenerateContinuations(model(), prompts, {.max_new_tokens = 8});
  ASSERT_TRUE(said.ok()) << said.status();
  TokenIds ids = prompts[0];
  ids.insert(ids.end(), (*said)[0][0].begin(), (*said)[0][0].end());
  ids[11] = 300;
  const Sequence sequence{.ids = ids};
  const auto fast = MeasureMemorisation(model(), {{sequence}}, {.el_n = {2, 3, 5}});
  ASSERT_TRUE(fast.ok()) << fast.status();
  const SlowMemorisation slow = MeasureSlowly(model(), sequence, {2, 3, 5});
  EXPECT_EQ((*fast)[0].greedy_next, slow.greedy_next);
  EXPECT_NEAR((*fast)[0].ma, slow.ma, 1e-12);
  for (const auto& [n, el] : slow.el) EXPECT_NEAR((*fast)[0].el.at(n), el, 1e-9) << n;
  EXPECT_GT(slow.el.at(3), 0);
}

TEST_F(SmolLm2, NoiseIsBelowTheTieBound) {
  std::vector<TokenIds> texts;
  for (const Sequence& s : Passages()) texts.push_back(s.ids);
  const double noise = ChoiceNoise(model(), texts);
  std::printf("largest noise: %.3f of the bound\n", noise);
  EXPECT_LE(noise, 1);
}

}  // namespace
}  // namespace lethe
