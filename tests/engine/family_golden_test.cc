// Variants of every family against what transformers computed for them (families/*.json, written by
// families/make_golden.py): windows shorter than the text, norms behind the parts, partial rotary,
// YaRN, norms of heads, weights in each family's stored layout, the pad token among the ids.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>

#include "engine/loss/sequence_loss.h"
#include "engine/model/generate.h"
#include "tests/engine/golden_data.h"
#include "tests/engine/made_weights.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

// The committed files, or those of another folder: make_golden.py can make any number.
fs::path GoldenFolder() {
  const char* other = std::getenv("LETHE_FAMILY_GOLDEN");
  return other != nullptr ? other : LETHE_FAMILY_GOLDEN_FOLDER;
}

std::vector<std::string> Variants() {
  std::vector<std::string> names;
  for (const auto& file : fs::directory_iterator(GoldenFolder())) {
    if (file.path().extension() == ".json") names.push_back(file.path().stem());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class FamilyGolden : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    golden_ = ReadJson(GoldenFolder() / (GetParam() + ".json"));
    const auto config = ParseDecoderConfig(golden_["config"].dump());
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_THAT(config->unknown_fields, testing::IsEmpty());
    const std::map<std::string, at::Tensor> tensors = MadeTensors(*config);
    for (const auto& [name, tensor] : tensors) {
      EXPECT_TRUE(golden_["grad_norms"].contains(name)) << name;
    }
    EXPECT_EQ(tensors.size(), golden_["grad_norms"].size());
    auto model = Decoder::FromTensors(*config, tensors, Device{});
    ASSERT_TRUE(model.ok()) << model.status();
    model_.emplace(*std::move(model));
  }

  std::vector<Sequence> Sequences() const {
    std::vector<Sequence> sequences;
    for (const auto& row : golden_["input_ids"]) {
      sequences.push_back({.ids = row.get<std::vector<int32_t>>()});
    }
    return sequences;
  }

  nlohmann::json golden_;
  std::optional<Decoder> model_;
};

TEST_P(FamilyGolden, LogitsAndLogProbs) {
  c10::InferenceMode inference;
  const at::Tensor ids = IdsOf(golden_["input_ids"]);
  const int64_t batch = ids.size(0), tokens = ids.size(1);
  const at::Tensor logits = model_->Logits(model_->Hidden(ids)).view({batch, tokens, -1});
  for (int64_t b = 0; b < batch; ++b) {
    for (int64_t i = 0; i < 2; ++i) {
      const auto want = golden_["logits"][b][i].get<std::vector<float>>();
      EXPECT_LE(LargestGap(logits[b][tokens - 2 + i], at::tensor(want)), 1e-4) << b << " " << i;
    }
  }
  const auto scores = ScoreSequences(*model_, Sequences());
  ASSERT_TRUE(scores.ok()) << scores.status();
  double total = 0;
  for (int64_t b = 0; b < batch; ++b) {
    const auto want = golden_["log_probs"][b].get<std::vector<double>>();
    ASSERT_EQ((*scores)[b].nll.size(), want.size());
    for (size_t t = 0; t < want.size(); ++t) {
      EXPECT_LE(std::abs((*scores)[b].nll[t] + want[t]), 1e-4) << b << " " << t;
    }
    total += (*scores)[b].total_nll;
  }
  const double mean = golden_["mean_nll"];
  EXPECT_LE(std::abs(total / static_cast<double>(batch * (tokens - 1)) - mean), 1e-5 * mean);
}

TEST_P(FamilyGolden, GradientNorms) {
  const auto batches = MakeBatches(*model_, Sequences());
  ASSERT_TRUE(batches.ok()) << batches.status();
  ComputeTokenLosses(*model_, batches->front()).nll.mean().backward();
  double squares = 0;
  const double whole = golden_["grad_norm"];
  for (const NamedTensor& g : model_->NamedGradients()) {
    const double norm = g.tensor.to(at::kDouble).norm().item<double>();
    const double want = golden_["grad_norms"].at(g.name);
    // A bias of keys that do not turn has no gradient but rounding.
    EXPECT_LE(std::abs(norm - want), 1e-4 * want + 1e-6 * whole) << g.name;
    squares += norm * norm;
  }
  EXPECT_LE(std::abs(std::sqrt(squares) - whole), 1e-5 * whole);
}

TEST_P(FamilyGolden, GreedyContinuation) {
  const std::vector<TokenIds> prompts = {golden_["greedy"]["prompt"].get<TokenIds>()};
  const auto want = golden_["greedy"]["continuation"].get<TokenIds>();
  const auto said = GenerateContinuations(*model_, prompts,
                                          {.max_new_tokens = static_cast<int64_t>(want.size())});
  ASSERT_TRUE(said.ok()) << said.status();
  EXPECT_EQ((*said)[0][0], want);
}

INSTANTIATE_TEST_SUITE_P(Variants, FamilyGolden, testing::ValuesIn(Variants()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace lethe
