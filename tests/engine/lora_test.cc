// LoRA adapters: PEFT's own figures on adapters of several families, and what must hold for any:
// a fresh one changes nothing, a merged one computes what it did, the base is never touched.
#include "engine/lora.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/digest.h"
#include "engine/evaluate.h"
#include "engine/loss/sequence_loss.h"
#include "engine/model/generate.h"
#include "engine/model/lora_adapter.h"
#include "engine/unlearn.h"
#include "tests/engine/golden_data.h"
#include "tests/engine/made_weights.h"
#include "tests/engine/random_families.h"
#include "tests/engine/unlearn/tiny_people.h"
#include "tests/support/temp_folder.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

// --- against PEFT ---------------------------------------------------------------------------------

class LoraGolden : public testing::TestWithParam<const char*> {};

TEST_P(LoraGolden, LogitsAndGradients) {
  const auto golden =
      ReadJson(fs::path(LETHE_FAMILY_GOLDEN_FOLDER) / "lora" / (std::string(GetParam()) + ".json"));
  const auto config = ParseDecoderConfig(golden["config"].dump());
  ASSERT_TRUE(config.ok()) << config.status();
  auto model = Decoder::FromTensors(*config, MadeTensors(*config), Device{});
  ASSERT_TRUE(model.ok()) << model.status();
  const auto lora = ParseLoraConfig(golden["adapter_config"].dump());
  ASSERT_TRUE(lora.ok()) << lora.status();
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, shape] : golden["shapes"].items()) {
    tensors[name] = MadeWeights({.name = name, .shape = shape.get<std::vector<int64_t>>()});
  }
  const auto adapter = LoraAdapter::FromTensors(*lora, *model, tensors);
  ASSERT_TRUE(adapter.ok()) << adapter.status();
  model->Attach(*adapter);

  const at::Tensor ids = IdsOf(golden["input_ids"]);
  const auto last = [&] {
    at::NoGradGuard no_grad;
    return model->Logits(model->Hidden(ids)).view({ids.size(0), ids.size(1), -1}).select(1, -1);
  };
  for (int64_t b = 0; b < ids.size(0); ++b) {
    const auto want = golden["logits"][b].get<std::vector<float>>();
    EXPECT_LE(LargestGap(last()[b], at::tensor(want)), 1e-4) << b;
  }

  std::vector<Sequence> sequences;
  for (const auto& row : golden["input_ids"]) {
    sequences.push_back({.ids = row.get<std::vector<int32_t>>()});
  }
  const auto batches = MakeBatches(*model, sequences);
  ASSERT_TRUE(batches.ok());
  ComputeTokenLosses(*model, batches->front()).nll.mean().backward();
  double squares = 0, want = 0;
  for (const at::Tensor& leaf : model->Leaves()) {
    squares += leaf.grad().to(at::kDouble).square().sum().item<double>();
  }
  for (const auto& [name, norm] : golden["grad_norms"].items()) {
    want += norm.get<double>() * norm.get<double>();
  }
  EXPECT_LE(std::abs(std::sqrt(squares / want) - 1), 1e-5);
  EXPECT_TRUE(model->NamedGradients().empty()) << "the weights stay";

  const at::Tensor attached = last();
  model->Merge();
  EXPECT_EQ(model->adapter(), nullptr);
  EXPECT_LE(LargestGap(last(), attached), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Variants, LoraGolden,
                         testing::Values("llama", "llama_all", "qwen3", "gpt2", "gpt_neo",
                                         "gpt_neox", "opt"),
                         [](const auto& info) { return std::string(info.param); });

// --- what holds for any family --------------------------------------------------------------------

void FillAtRandom(const Decoder& model, uint64_t seed) {
  std::mt19937_64 random(seed);
  at::NoGradGuard no_grad;
  for (const at::Tensor& leaf : model.Leaves()) {
    float* data = leaf.detach().data_ptr<float>();
    for (int64_t i = 0; i < leaf.numel(); ++i) {
      data[i] = static_cast<float>(random() % 2001) * 3e-4f - 0.3f;
    }
  }
}

at::Tensor AllLogits(const Decoder& model, const at::Tensor& ids) {
  at::NoGradGuard no_grad;
  return model.Logits(model.Hidden(ids));
}

TEST(Lora, FreshChangesNothingAndMergedComputesTheSame) {
  const at::Tensor ids = at::arange(26, at::kLong).view({2, 13}).remainder(12);
  for (const FamilyCase& c : FamilyCases(/*vocab=*/12)) {
    SCOPED_TRACE(c.name);
    Decoder model = RandomDecoder(c.config, 3);
    const at::Tensor before = AllLogits(model, ids);
    const std::vector<at::Tensor> weights = model.Snapshot();
    const auto fresh = LoraAdapter::Fresh({.rank = 3, .alpha = 5}, model, 7);
    ASSERT_TRUE(fresh.ok()) << fresh.status();
    model.Attach(*fresh);
    EXPECT_TRUE(AllLogits(model, ids).equal(before)) << "B begins at zero";

    FillAtRandom(model, 9);
    const at::Tensor attached = AllLogits(model, ids);
    EXPECT_GT(LargestGap(attached, before), 1e-2);
    const std::vector<std::vector<int32_t>> prompts = {{1, 5, 2}, {7}};
    const auto said = GenerateContinuations(model, prompts, {.max_new_tokens = 9});
    ASSERT_TRUE(said.ok()) << said.status();

    // Through the names of a file and back: the same bits.
    Decoder again = RandomDecoder(c.config, 3);
    const auto read =
        LoraAdapter::FromTensors(model.adapter()->config(), again, model.adapter()->Named());
    ASSERT_TRUE(read.ok()) << read.status();
    again.Attach(*read);
    EXPECT_TRUE(AllLogits(again, ids).equal(attached));

    Decoder merged = model.Clone();
    merged.Merge();
    EXPECT_LE(LargestGap(AllLogits(merged, ids), attached), 2e-4);
    EXPECT_EQ(*GenerateContinuations(merged, prompts, {.max_new_tokens = 9}), *said);

    size_t i = 0;
    for (const NamedTensor& named : RandomDecoder(c.config, 3).Named()) {
      EXPECT_TRUE(model.Named()[i++].tensor.equal(named.tensor)) << "the base was touched";
    }
  }
}

// Nothing before the adapters asks for a gradient then: a layer that is run again must still give
// them theirs.
TEST(Lora, LearnsAlsoWhereLayersAreRunAgainAndInBf16) {
  std::vector<Sequence> sequences;
  std::mt19937_64 random(4);
  for (int i = 0; i < 3; ++i) {
    Sequence sequence;
    for (int t = 0; t < 14; ++t) sequence.ids.push_back(static_cast<int32_t>(random() % 12));
    sequences.push_back(sequence);
  }
  // Moderate weights: wide ones double a rounding each layer.
  for (const FamilyCase& c : FamilyCases(12, {{"initializer_range", 0.1}, {"init_std", 0.1}})) {
    SCOPED_TRACE(c.name);
    Decoder model = RandomDecoder(c.config, 3);
    model.Attach(*LoraAdapter::Fresh({.rank = 2, .alpha = 1}, model, 7));
    FillAtRandom(model, 9);
    const auto batches = MakeBatches(model, sequences);
    const auto gradients = [&](const Decoder& training) {
      training.ZeroGradients();
      ComputeTokenLosses(training, batches->front()).nll.mean().backward();
      std::vector<at::Tensor> all;
      for (const at::Tensor& leaf : training.Leaves()) all.push_back(leaf.grad().clone());
      return all;
    };
    const auto plain = gradients(model), again = gradients(model.Recomputing()),
               rounded = gradients(model.In(Precision::kBf16));
    double off = 0, whole = 0;
    for (size_t i = 0; i < plain.size(); ++i) {
      EXPECT_GT(plain[i].abs().max().item<double>(), 0) << i;
      EXPECT_TRUE(again[i].equal(plain[i])) << i;
      off += (rounded[i] - plain[i]).square().sum().item<double>();
      whole += plain[i].square().sum().item<double>();
    }
    EXPECT_LT(off, 0.05 * whole);
  }
}

TEST(Lora, TargetsAreTheEndsOfNames) {
  const LoraConfig lora{.targets = {"q_proj", "mlp.up"}};
  EXPECT_TRUE(lora.Targets("model.layers.0.self_attn.q_proj"));
  EXPECT_TRUE(lora.Targets("q_proj"));
  EXPECT_TRUE(lora.Targets("model.layers.3.mlp.up"));
  EXPECT_FALSE(lora.Targets("model.layers.3.mlp.up_proj"));
  EXPECT_FALSE(lora.Targets("model.layers.0.self_attn.xq_proj"));
  const Decoder model = RandomDecoder(FamilyCases(12)[0].config, 1);
  const auto some = LoraAdapter::Fresh({.rank = 2, .targets = {"v_proj"}}, model, 1);
  ASSERT_TRUE(some.ok());
  EXPECT_EQ(some->Named().size(), 4U) << "two layers, A and B";
  EXPECT_EQ(ErrorReason(LoraAdapter::Fresh({.targets = {"no_such"}}, model, 1).status()),
            "BAD_PARAMETER");
  EXPECT_EQ(ErrorReason(LoraAdapter::Fresh({.rank = 0}, model, 1).status()), "BAD_PARAMETER");
}

TEST(Lora, TensorsThatDoNotFitAreRefusedByName) {
  const Decoder model = RandomDecoder(FamilyCases(12)[0].config, 1);
  const auto fresh = LoraAdapter::Fresh({.rank = 2, .targets = {"q_proj"}}, model, 1);
  const LoraConfig lora = fresh->config();
  const std::map<std::string, at::Tensor> good = fresh->Named();
  const std::string a = good.begin()->first;
  const auto refusal = [&](const std::function<void(std::map<std::string, at::Tensor>&)>& change) {
    std::map<std::string, at::Tensor> tensors = good;
    change(tensors);
    const absl::Status status = LoraAdapter::FromTensors(lora, model, tensors).status();
    EXPECT_EQ(ErrorReason(status), "ADAPTER_MISFIT") << status;
    return ErrorDetails(status)["tensor"];
  };
  EXPECT_EQ(refusal([&](auto& t) { t.erase(a); }), a);
  EXPECT_EQ(refusal([&](auto& t) { t[a] = at::zeros({3, 24}); }), a);
  EXPECT_EQ(refusal([&](auto& t) { t[a] = at::zeros({24}); }), a);
  EXPECT_EQ(refusal([&](auto& t) { t["base_model.model.lm_head.lora_A.weight"] = t[a]; }),
            "base_model.model.lm_head.lora_A.weight");
  refusal([&](auto& t) { t.clear(); });
}

TEST(LoraConfigFile, SaysWhatPeftSays) {
  const LoraConfig lora{.rank = 4, .alpha = 6, .rank_stabilised = true, .targets = {"a", "b"}};
  const auto again = ParseLoraConfig(LoraConfigJson(lora, "base"));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->rank, 4);
  EXPECT_EQ(again->targets, lora.targets);
  EXPECT_DOUBLE_EQ(again->Scale(), 3) << "6 / sqrt(4)";
  EXPECT_DOUBLE_EQ((LoraConfig{.rank = 4, .alpha = 6}.Scale()), 1.5);
}

TEST(LoraConfigFile, WhatIsNotUnderstoodIsRefusedByName) {
  const auto good = nlohmann::json::parse(LoraConfigJson({.targets = {"q_proj"}}, "base"));
  const auto refusal = [&](const char* field, const nlohmann::json& value) {
    nlohmann::json config = good;
    config[field] = value;
    const absl::Status status = ParseLoraConfig(config.dump()).status();
    EXPECT_EQ(ErrorDetails(status)["field"], field) << status;
    return ErrorReason(status);
  };
  EXPECT_EQ(refusal("peft_type", "IA3"), "ADAPTER_UNSUPPORTED");
  EXPECT_EQ(refusal("bias", "all"), "ADAPTER_UNSUPPORTED");
  EXPECT_EQ(refusal("use_dora", true), "ADAPTER_UNSUPPORTED");
  EXPECT_EQ(refusal("rank_pattern", {{"q_proj", 4}}), "ADAPTER_UNSUPPORTED");
  EXPECT_EQ(refusal("modules_to_save", {"lm_head"}), "ADAPTER_UNSUPPORTED");
  EXPECT_EQ(refusal("layers_to_transform", 3), "ADAPTER_UNSUPPORTED");
  EXPECT_EQ(refusal("a_field_of_next_year", "on"), "ADAPTER_UNSUPPORTED");
  EXPECT_EQ(refusal("target_modules", ".*q_proj"), "BAD_ADAPTER");
  EXPECT_EQ(refusal("target_modules", nlohmann::json::array()), "BAD_ADAPTER");
  EXPECT_EQ(refusal("r", 0), "BAD_ADAPTER");
  EXPECT_EQ(refusal("r", 2.5), "BAD_ADAPTER");
  EXPECT_EQ(refusal("r", -1), "BAD_ADAPTER");
  EXPECT_EQ(refusal("lora_alpha", "8"), "BAD_ADAPTER");
  for (const char* field : {"peft_type", "r", "lora_alpha", "target_modules"}) {
    nlohmann::json config = good;
    config.erase(field);
    EXPECT_EQ(ErrorDetails(ParseLoraConfig(config.dump()).status())["field"], field);
  }
  EXPECT_FALSE(ParseLoraConfig("[]").ok());
  EXPECT_FALSE(ParseLoraConfig("{").ok());
}

// --- folders --------------------------------------------------------------------------------------

class LoraFolder : public testing::Test {
 protected:
  UnlearnRequest Request(const std::string& out) const {
    return {.base_folder = Tiny().model,
            .out_folder = folder_ / out,
            .forget = Tiny().forget,
            .retain = Tiny().retain,
            .preset = "paper",
            .overrides = {{"max_steps", 12}, {"learning_rate", 5e-3}},
            .thresholds = Tiny().thresholds,
            .lora = LoraConfig{.rank = 4, .alpha = 8},
            .seed = 3,
            .device = {.threads = 1}};
  }
  absl::StatusOr<EvaluateResult> Measure(const fs::path& model, const fs::path& adapter = {}) {
    return Evaluate({.model_folder = model,
                     .adapter_folder = adapter,
                     .sequences = Tiny().forget,
                     .device = {.threads = 1}});
  }

  const TempFolder folder_;
};

TEST_F(LoraFolder, UnlearnsIntoAnAdapterThatLoadsAndMerges) {
  const std::string base = *FolderDigest(Tiny().model);
  const auto result = Unlearn(Request("adapter"));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(*FolderDigest(Tiny().model), base);
  std::vector<std::string> names;
  for (const auto& file : fs::directory_iterator(folder_ / "adapter")) {
    names.push_back(file.path().filename());
  }
  EXPECT_THAT(names, testing::UnorderedElementsAre("adapter_config.json",
                                                   "adapter_model.safetensors", "lethe.json"));
  EXPECT_EQ(Unlearn(Request("again"))->out_digest, result->out_digest);

  const auto merged = MergeAdapter({.base_folder = Tiny().model,
                                    .adapter_folder = folder_ / "adapter",
                                    .out_folder = folder_ / "merged",
                                    .device = {.threads = 1}});
  ASSERT_TRUE(merged.ok()) << merged.status();
  const auto before = Measure(Tiny().model), on_top = Measure(Tiny().model, folder_ / "adapter"),
             whole = Measure(folder_ / "merged");
  ASSERT_TRUE(on_top.ok()) << on_top.status();
  ASSERT_TRUE(whole.ok()) << whole.status();
  for (size_t i = 0; i < Tiny().forget.size(); ++i) {
    EXPECT_GT(on_top->sequences[i].nll_per_token, before->sequences[i].nll_per_token + 0.1);
    EXPECT_NEAR(on_top->sequences[i].nll_per_token, result->after[i].nll_per_token, 1e-5);
    EXPECT_NEAR(whole->sequences[i].nll_per_token, on_top->sequences[i].nll_per_token, 1e-4);
  }
}

TEST_F(LoraFolder, AnotherBaseIsRefused) {
  ASSERT_TRUE(Unlearn(Request("adapter")).ok());
  fs::copy(Tiny().model, folder_ / "other");
  std::ofstream(folder_ / "other/README.md") << "changed";
  const auto refused = Measure(folder_ / "other", folder_ / "adapter");
  EXPECT_EQ(ErrorReason(refused.status()), "BASE_CHANGED") << refused.status();
  fs::remove(folder_ / "adapter/lethe.json");  // as PEFT writes one: nothing to compare
  EXPECT_TRUE(Measure(folder_ / "other", folder_ / "adapter").ok());
}

TEST_F(LoraFolder, DamagedFilesAreRefusedAndNothingIsWritten) {
  UnlearnRequest request = Request("adapter");
  request.overrides["max_steps"] = 1;
  ASSERT_TRUE(Unlearn(request).ok());
  const auto merge = [&] {
    return MergeAdapter({.base_folder = Tiny().model,
                         .adapter_folder = folder_ / "adapter",
                         .out_folder = folder_ / "merged",
                         .device = {.threads = 1}})
        .status();
  };
  fs::resize_file(folder_ / "adapter/adapter_model.safetensors", 100);
  EXPECT_EQ(ErrorReason(merge()), "BAD_CHECKPOINT");
  fs::remove(folder_ / "adapter/adapter_model.safetensors");
  EXPECT_EQ(merge().code(), absl::StatusCode::kNotFound);
  std::ofstream(folder_ / "adapter/adapter_config.json") << "{}";
  EXPECT_EQ(ErrorReason(merge()), "BAD_ADAPTER");
  EXPECT_FALSE(fs::exists(folder_ / "merged"));
  request.lora = LoraConfig{.rank = 4, .targets = {"no_such"}};
  request.out_folder = folder_ / "nothing";
  EXPECT_EQ(ErrorReason(Unlearn(request).status()), "BAD_PARAMETER");
  EXPECT_FALSE(fs::exists(folder_ / "nothing"));
}

}  // namespace
}  // namespace lethe
