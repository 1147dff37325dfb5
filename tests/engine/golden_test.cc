// The decoder on real and random checkpoints against values that transformers computed (golden.json
// in each model's folder): logits, log-probabilities, gradient norms, greedy text and five steps of
// ascent.
//
// Tolerances: the golden values are fp32 themselves, within 2e-5 of float64; two fp32 computations
// in other orders differ by as much.
#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/file.h"
#include "engine/loss/sequence_loss.h"
#include "engine/model/decoder_io.h"
#include "engine/model/generate.h"
#include "tests/engine/golden_data.h"
#include "tests/support/test_folders.h"

namespace lethe {
namespace {

class Golden : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    std::string missing;
    const auto path = TestData("models/" + GetParam(), &missing);
    if (!path) GTEST_SKIP() << missing;
    auto opened = OpenGolden(*path);
    ASSERT_TRUE(opened.ok()) << opened.status();
    data_.emplace(*std::move(opened));
  }

  const Decoder& model() const { return data_->model; }
  const nlohmann::json& golden() const { return data_->golden; }

  // The rows of a case, cut to their real lengths.
  std::vector<Sequence> Sequences(const nlohmann::json& c) const {
    std::vector<Sequence> sequences;
    for (size_t b = 0; b < c["input_ids"].size(); ++b) {
      auto ids = c["input_ids"][b].get<std::vector<int32_t>>();
      if (c.contains("attention_mask")) {
        const auto mask = c["attention_mask"][b].get<std::vector<int>>();
        ids.resize(std::count(mask.begin(), mask.end(), 1));
      }
      sequences.push_back({.ids = std::move(ids)});
    }
    return sequences;
  }

  // Tensors whose gradient is rounding, which Adam makes steps of (a key bias without rotation).
  bool IsNoisy(const std::string& tensor) const {
    const auto& noisy = golden()["ascent"]["noisy"];
    return std::find(noisy.begin(), noisy.end(), tensor) != noisy.end();
  }

  std::optional<GoldenModel> data_;
};

TEST_P(Golden, Logits) {
  c10::InferenceMode inference;
  const at::Tensor ids = IdsOf(golden()["plain"]["input_ids"]);
  const at::Tensor logits =
      model().Logits(model().Hidden(ids)).view({ids.size(0), ids.size(1), -1});
  EXPECT_LE(LargestGap(logits, TensorOf(data_->tensors, "plain.logits")), 1e-4);
}

TEST_P(Golden, LogitsOfPaddedRows) {
  c10::InferenceMode inference;
  const at::Tensor ids = IdsOf(golden()["padded"]["input_ids"]);
  const at::Tensor logits =
      model().Logits(model().Hidden(ids)).view({ids.size(0), ids.size(1), -1});
  for (int64_t b = 0; b < ids.size(0); ++b) {
    const at::Tensor want = TensorOf(data_->tensors, "padded.logits." + std::to_string(b));
    EXPECT_LE(LargestGap(logits[b].narrow(0, 0, want.size(0)), want), 1e-4);
  }
}

TEST_P(Golden, LogProbs) {
  for (const char* name : {"plain", "padded"}) {
    const auto& c = golden()[name];
    const auto scores = ScoreSequences(model(), Sequences(c));
    ASSERT_TRUE(scores.ok()) << scores.status();
    double total = 0, count = 0;
    for (size_t b = 0; b < scores->size(); ++b) {
      const auto want = c["log_probs"][b].get<std::vector<double>>();
      ASSERT_EQ((*scores)[b].nll.size(), want.size());
      for (size_t t = 0; t < want.size(); ++t) {
        EXPECT_LE(std::abs((*scores)[b].nll[t] + want[t]), 1e-4) << name << " " << b << " " << t;
      }
      total += (*scores)[b].total_nll;
      count += static_cast<double>(want.size());
    }
    const double mean = c["mean_nll"];
    EXPECT_LE(std::abs(total / count - mean), 1e-5 * mean) << name;
  }
}

// d(mean NLL)/d(tensor), by the checkpoint's names, whole and in two micro-batches.
TEST_P(Golden, GradientNorms) {
  for (const char* name : {"plain", "padded"}) {
    for (const int64_t max_tokens : {int64_t{4096}, int64_t{24}}) {
      const auto& c = golden()[name];
      const auto batches = MakeBatches(model(), Sequences(c), {.max_tokens = max_tokens});
      ASSERT_TRUE(batches.ok());
      model().ZeroGradients();
      const auto labelled = static_cast<double>(LabelledTokens(*batches));
      for (const LossBatch& batch : *batches) {
        (ComputeTokenLosses(model(), batch).nll.sum() / labelled).backward();
      }
      double squares = 0;
      size_t seen = 0;
      const double whole = c["grad_norm"];
      for (const NamedTensor& g : model().NamedGradients()) {
        const double norm = g.tensor.to(at::kDouble).norm().item<double>();
        const double want = c["grad_norms"].at(g.name);
        // What is zero but for rounding differs by as much as it is large.
        const double noise = (IsNoisy(g.name) ? 2e-6 : 1e-7) * whole;
        EXPECT_LE(std::abs(norm - want), 1e-4 * want + noise) << name << " " << g.name;
        squares += norm * norm;
        ++seen;
      }
      EXPECT_EQ(seen, c["grad_norms"].size());
      EXPECT_LE(std::abs(std::sqrt(squares) - whole), 1e-4 * whole);
    }
  }
}

TEST_P(Golden, GreedyContinuation) {
  const std::vector<TokenIds> prompts = {golden()["greedy"]["prompt"].get<TokenIds>()};
  const auto said = GenerateContinuations(model(), prompts, {.max_new_tokens = 20});
  ASSERT_TRUE(said.ok()) << said.status();
  EXPECT_EQ((*said)[0][0], golden()["greedy"]["continuation"].get<TokenIds>());
}

// Five steps of gradient ascent with AdamW: errors of the gradient would grow from step to step.
TEST_P(Golden, Ascent) {
  const auto& want = golden()["ascent"];
  const auto batches = MakeBatches(model(), Sequences(golden()["plain"]));
  ASSERT_TRUE(batches.ok());
  const LossBatch& batch = batches->front();
  std::vector<at::Tensor> parameters = model().Leaves(), means, squares, steps;
  for (const at::Tensor& leaf : parameters) {
    means.push_back(at::zeros_like(leaf).detach());
    squares.push_back(at::zeros_like(leaf).detach());
    steps.push_back(at::zeros({}, at::kFloat));
  }
  const std::vector<at::Tensor> before = model().Snapshot();
  for (size_t step = 0; step < 5; ++step) {
    model().ZeroGradients();
    const at::Tensor nll = ComputeTokenLosses(model(), batch).nll.mean();
    (-nll).backward();
    const double expected = want["nll"][step], norm = want["grad_norm"][step];
    EXPECT_LE(std::abs(nll.item<double>() - expected), 1e-4 * expected) << "step " << step;
    std::vector<at::Tensor> grads;
    double sum = 0;
    for (const at::Tensor& leaf : parameters) {
      grads.push_back(leaf.grad());
      sum += std::pow(grads.back().to(at::kDouble).norm().item<double>(), 2);
    }
    EXPECT_LE(std::abs(std::sqrt(sum) - norm), 2e-4 * norm) << "step " << step;
    at::NoGradGuard no_grad;
    for (at::Tensor& s : steps) s += 1;
    at::_fused_adamw_(parameters, grads, means, squares, {}, steps, 1e-3, 0.9, 0.999, 0.0, 1e-8,
                      false, false);
  }
  const double final_nll = ComputeTokenLosses(model(), batch).nll.mean().item<double>();
  EXPECT_LE(std::abs(final_nll - want["final_nll"].get<double>()), 1e-4 * final_nll);
  for (const NamedTensor& tensor : model().Named()) {
    if (IsNoisy(tensor.name)) continue;
    const double norm = want["final_norms"].at(tensor.name);
    // A part of a tensor may be such rounding, too: float64 tells how far it goes.
    const double spread =
        std::abs(norm - want["float64"]["final_norms"].at(tensor.name).get<double>());
    EXPECT_LE(std::abs(tensor.tensor.to(at::kDouble).norm().item<double>() - norm),
              1e-4 * norm + 2 * spread)
        << tensor.name;
  }
  model().Restore(before);
  const auto first = ComputeTokenLosses(model(), batch).nll.mean().item<double>();
  EXPECT_LE(std::abs(first - want["nll"][0].get<double>()), 1e-5 * first);
}

// What is loaded and saved unchanged is the same bytes; what is changed comes back as it was saved.
TEST_P(Golden, SavesWhatItLoaded) {
  const std::filesystem::path out = FreshFolder();
  const auto same = SaveDecoder(model(), data_->folder, {.out = out / "same"});
  ASSERT_TRUE(same.ok()) << same.status();
  for (const SafetensorsFile& file : data_->folder.files()) {  // one, or the shards
    const auto name = file.path().filename();
    EXPECT_EQ(*ReadFile(out / "same" / name), *ReadFile(data_->path / name)) << name;
  }
  const Decoder changed = model().Clone();
  {
    at::NoGradGuard no_grad;
    for (const at::Tensor& leaf : changed.Leaves()) leaf.detach().mul_(2);  // exact in 16 bits, too
  }
  ASSERT_TRUE(SaveDecoder(changed, data_->folder, {.out = out / "changed"}).ok());
  const auto folder = CheckpointFolder::Open(out / "changed");
  ASSERT_TRUE(folder.ok()) << folder.status();
  const auto again = Decoder::Load(*folder, Device{});
  ASSERT_TRUE(again.ok()) << again.status();
  for (size_t i = 0; i < changed.Leaves().size(); ++i) {
    EXPECT_TRUE(again->Leaves()[i].equal(changed.Leaves()[i]));
    EXPECT_FALSE(again->Leaves()[i].equal(model().Leaves()[i]));
  }
}

// A weight that is trained is written, the others stay byte for byte: in every shard, in the stored
// layout and type, with the copies that the file has.
TEST_P(Golden, SavesOneTrainedWeightAndNoOther) {
  const Decoder changed = model().Clone();
  {
    at::NoGradGuard no_grad;
    changed.Leaves()[changed.Leaves().size() / 2].detach().add_(1);
  }
  std::set<std::string> trained;
  const std::vector<NamedTensor> before = model().Named(), after = changed.Named();
  for (size_t i = 0; i < before.size(); ++i) {
    if (!before[i].tensor.equal(after[i].tensor)) trained.insert(before[i].name);
  }
  ASSERT_FALSE(trained.empty());
  const std::filesystem::path out = FreshFolder() / "saved";
  const auto saved = SaveDecoder(changed, data_->folder, {.out = out});
  ASSERT_TRUE(saved.ok()) << saved.status();
  const auto folder = CheckpointFolder::Open(out);
  ASSERT_TRUE(folder.ok()) << folder.status();
  ASSERT_EQ(folder->tensors().size(), data_->folder.tensors().size());
  for (const TensorInfo& info : data_->folder.tensors()) {
    const TensorInfo* again = folder->Find(info.name);
    ASSERT_NE(again, nullptr) << info.name;
    EXPECT_EQ(again->dtype, info.dtype);
    EXPECT_EQ(again->shape, info.shape);
    const bool same = folder->Bytes(*again) == data_->folder.Bytes(info);
    EXPECT_EQ(same, trained.count(info.name) == 0) << info.name;
  }
}

// Every folder that is there; one that skips, saying what is missing, where none is.
std::vector<std::string> Folders() {
  std::string missing;
  const auto root = TestData("models", &missing);
  std::vector<std::string> names;
  if (root) {
    for (const auto& folder : std::filesystem::directory_iterator(*root)) {
      names.push_back(folder.path().filename());
    }
  }
  std::sort(names.begin(), names.end());
  if (names.empty()) names.push_back("stories260k");
  return names;
}

INSTANTIATE_TEST_SUITE_P(Models, Golden, testing::ValuesIn(Folders()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace lethe
