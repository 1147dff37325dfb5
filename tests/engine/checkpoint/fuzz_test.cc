// Damaged files get a status, or open and can be read to the last byte; never anything else. Run
// under ASan and UBSan too. LETHE_TEST_SEED gives another sequence of damages.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <map>

#include "base/file.h"
#include "base/status.h"
#include "engine/checkpoint/checkpoint_folder.h"
#include "engine/checkpoint/decoder_config.h"
#include "engine/checkpoint/decoder_tensors.h"
#include "engine/checkpoint/safetensors.h"
#include "tests/engine/checkpoint/mutator.h"
#include "tests/support/seeded_random.h"
#include "tests/support/testdata.h"
#include "text/tokenizer.h"

namespace lethe {
namespace {
namespace fs = std::filesystem;

// Not crash-safe, unlike base/file.h: thousands of syncs are not what is tested here. Removed
// first, because ext4 also syncs a file that is cut to nothing and written again.
void Put(const fs::path& file, const std::string& content) {
  fs::remove(file);
  std::ofstream(file, std::ios::binary | std::ios::trunc) << content;
}

uint64_t g_sum = 0;  // kept, so that no read is optimised away

void ReadAll(std::string_view bytes) {
  for (const char c : bytes) g_sum += static_cast<unsigned char>(c);
}

// What an opened file promises, looked at from outside.
void ExpectSound(const SafetensorsFile& file, uint64_t file_bytes) {
  uint64_t end = 0;
  for (const TensorInfo& tensor : file.tensors()) {
    ASSERT_EQ(tensor.begin, end);
    end += tensor.bytes;
    uint64_t elements = 1;
    for (const int64_t size : tensor.shape) elements *= static_cast<uint64_t>(size);
    ASSERT_EQ(tensor.bytes, elements * DTypeBytes(tensor.dtype));
    ASSERT_EQ(file.Bytes(tensor).size(), tensor.bytes);
    ASSERT_NE(file.Find(tensor.name), nullptr);
    ReadAll(file.Bytes(tensor));
  }
  ASSERT_EQ(file.header().size() + end, file_bytes);
}

void ExpectRefusal(const absl::Status& status) {
  const std::string reason = ErrorReason(status);
  ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  ASSERT_TRUE(reason == "BAD_CHECKPOINT" || reason == "MODEL_UNSUPPORTED") << status;
}

// A Llama of two shards, small enough that thousands of them are quick.
void MakeModel(const fs::path& folder) {
  const std::string config =
      R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 300,)"
      R"("hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1,)"
      R"("num_attention_heads": 2, "eos_token_id": [1, 2], "dtype": "float16", "head_dim": 2,)"
      R"("rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,)"
      R"("high_freq_factor": 4.0, "original_max_position_embeddings": 32}})";
  Put(folder / "config.json", config);
  std::vector<std::string> texts;
  for (int i = 0; i < 50; ++i) texts.push_back("person " + std::to_string(i) + " lives here.");
  Put(folder / "tokenizer.json", *TrainBpe(texts, {280, {"<b>"}, "<b>"}));
  nlohmann::ordered_json map;
  std::vector<TensorInfo> shards[2];
  for (const TensorRule& rule : DecoderTensors(*ParseDecoderConfig(config))) {
    const int shard = rule.name == "lm_head.weight" ? 1 : 0;
    shards[shard].push_back({rule.name, DType::kF16, rule.shape});
    map[rule.name] = "model-0000" + std::to_string(shard + 1) + "-of-00002.safetensors";
  }
  for (int i = 0; i < 2; ++i) {
    auto writer = SafetensorsWriter::Create(
        folder / ("model-0000" + std::to_string(i + 1) + "-of-00002.safetensors"), shards[i],
        {{"format", "pt"}});
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (const TensorInfo& tensor : shards[i]) {
      ASSERT_TRUE(writer->Write(std::string(*TensorBytes(tensor.dtype, tensor.shape), 'w')).ok());
    }
    ASSERT_TRUE(writer->Finish().ok());
  }
  Put(folder / "model.safetensors.index.json",
      nlohmann::ordered_json{{"metadata", {{"total_size", 1}}}, {"weight_map", map}}.dump());
}

TEST(Fuzz, TwelveThousandDamagedSafetensors) {
  const uint64_t seed = TestSeed(20261123);
  std::cout << "LETHE_TEST_SEED=" << seed << std::endl;
  const fs::path folder = FreshFolder();
  ASSERT_NO_FATAL_FAILURE(MakeModel(folder));
  std::vector<std::string> sources = {*ReadFile(folder / "model-00001-of-00002.safetensors"),
                                      *ReadFile(folder / "model-00002-of-00002.safetensors")};
  for (const char* real : {"models/tiny_qwen2/model-00003-of-00003.safetensors",
                           "models/tiny_gpt_neox_hub/model.safetensors"}) {
    if (fs::exists(TestDataPath(real))) sources.push_back(*ReadFile(TestDataPath(real)));
  }
  Mutator mutator(seed);
  std::map<std::string, int> outcomes;
  const fs::path damaged = folder / "damaged.safetensors";
  for (int round = 0; round < 12'000; ++round) {
    const std::string bytes = mutator.Safetensors(sources[mutator.Pick(sources.size())]);
    Put(damaged, bytes);
    const auto file = SafetensorsFile::Open(damaged);
    SCOPED_TRACE("round " + std::to_string(round));
    if (file.ok()) {
      ASSERT_NO_FATAL_FAILURE(ExpectSound(*file, bytes.size()));
    } else {
      ASSERT_NO_FATAL_FAILURE(ExpectRefusal(file.status()));
    }
    ++outcomes[file.ok() ? "opened" : ErrorReason(file.status())];
  }
  for (const auto& [what, count] : outcomes) std::cout << what << " " << count << std::endl;
  // Damage that is all caught by the first check, or that never hurts, would test little.
  EXPECT_GT(outcomes["opened"], 200);
  EXPECT_GT(outcomes["BAD_CHECKPOINT"], 6'000);
  EXPECT_GT(outcomes["MODEL_UNSUPPORTED"], 20);
}

// config.json or the index is damaged; what opens can be checked and read whole.
TEST(Fuzz, FourThousandDamagedFolders) {
  const uint64_t seed = TestSeed(20261124);
  std::cout << "LETHE_TEST_SEED=" << seed << std::endl;
  const fs::path folder = FreshFolder();
  ASSERT_NO_FATAL_FAILURE(MakeModel(folder));
  const std::string names[] = {"config.json", "model.safetensors.index.json"};
  std::map<std::string, std::string> sound;
  for (const std::string& name : names) sound[name] = *ReadFile(folder / name);
  Mutator mutator(seed);
  std::map<std::string, int> outcomes;
  for (int round = 0; round < 4'000; ++round) {
    const std::string& name = names[mutator.Pick(2)];
    Put(folder / name, mutator.Json(sound[name]));
    SCOPED_TRACE("round " + std::to_string(round) + " " + name);
    const auto model = CheckpointFolder::Open(folder);
    absl::Status status = model.status();
    if (model.ok()) {
      for (const TensorInfo& tensor : model->tensors()) ReadAll(model->Bytes(tensor));
      const auto config = ParseDecoderConfig(model->config_json());
      status = config.status();
      if (config.ok()) status = CheckTensors(*config, *model).status();
    }
    if (!status.ok()) {
      ASSERT_NO_FATAL_FAILURE(ExpectRefusal(status));
    }
    ++outcomes[status.ok() ? "opened" : ErrorReason(status)];
    Put(folder / name, sound[name]);
  }
  for (const auto& [what, count] : outcomes) std::cout << what << " " << count << std::endl;
  EXPECT_GT(outcomes["opened"], 100);
  EXPECT_GT(outcomes["BAD_CHECKPOINT"], 1'000);
  EXPECT_GT(outcomes["MODEL_UNSUPPORTED"], 100);
}

// config.json of every family, in its variants: understood whole or refused, and what is understood
// names its tensors.
TEST(Fuzz, TenThousandDamagedConfigs) {
  const uint64_t seed = TestSeed(20261126);
  std::cout << "LETHE_TEST_SEED=" << seed << std::endl;
  std::vector<std::string> sources;
  for (const auto& file : fs::directory_iterator(LETHE_FAMILY_GOLDEN_FOLDER)) {
    if (file.path().extension() != ".json") continue;
    sources.push_back(nlohmann::json::parse(*ReadFile(file.path()))["config"].dump());
  }
  std::sort(sources.begin(), sources.end());
  ASSERT_GE(sources.size(), 20u);
  Mutator mutator(seed);
  std::map<std::string, int> outcomes;
  for (int round = 0; round < 10'000; ++round) {
    const std::string text = mutator.Json(sources[mutator.Pick(sources.size())]);
    SCOPED_TRACE(text);
    const auto config = ParseDecoderConfig(text);
    if (!config.ok()) {
      ASSERT_NO_FATAL_FAILURE(ExpectRefusal(config.status()));
      if (!ErrorDetails(config.status())["field"].empty()) ++outcomes["refused by name"];
    } else {
      ASSERT_EQ(config->num_heads % config->num_kv_heads, 0);
      ASSERT_EQ(config->RotaryDim() % 2, 0);
      ASSERT_TRUE(config->windows.empty() ||
                  static_cast<int64_t>(config->windows.size()) == config->num_layers);
      for (const TensorRule& rule : DecoderTensors(*config)) {
        for (const int64_t size : rule.shape) ASSERT_GT(size, 0) << rule.name;
      }
    }
    ++outcomes[config.ok() ? "understood" : ErrorReason(config.status())];
  }
  for (const auto& [what, count] : outcomes) std::cout << what << " " << count << std::endl;
  EXPECT_GT(outcomes["understood"], 500);
  EXPECT_GT(outcomes["MODEL_UNSUPPORTED"], 100);
  EXPECT_GT(outcomes["refused by name"], 1'000);
}

TEST(Fuzz, TwoThousandDamagedTokenizers) {
  const uint64_t seed = TestSeed(20261125);
  std::cout << "LETHE_TEST_SEED=" << seed << std::endl;
  const fs::path folder = FreshFolder();
  ASSERT_NO_FATAL_FAILURE(MakeModel(folder));
  std::vector<std::string> sources = {*ReadFile(folder / "tokenizer.json")};
  for (const char* real :
       {"models/tiny_llama/tokenizer.json", "models/tiny_qwen2/tokenizer.json"}) {
    if (fs::exists(TestDataPath(real))) sources.push_back(*ReadFile(TestDataPath(real)));
  }
  Mutator mutator(seed);
  std::map<std::string, int> outcomes;
  for (int round = 0; round < 2'000; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    const auto tokenizer = Tokenizer::FromJson(mutator.Json(sources[mutator.Pick(sources.size())]));
    if (!tokenizer.ok()) {
      ASSERT_EQ(ErrorReason(tokenizer.status()), "TOKENIZER_INVALID") << tokenizer.status();
      ASSERT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
      ++outcomes["refused"];
      continue;
    }
    ++outcomes["loaded"];
    const auto ids = tokenizer->Encode("Hello  person 7,\n na\u00efve <s> <b> \U0001F642", true);
    if (!ids.ok()) {
      ASSERT_EQ(ErrorReason(ids.status()), "TOKENIZER_FAILED") << ids.status();
      continue;
    }
    for (const int32_t id : *ids) ASSERT_GE(id, 0);
    const auto text = tokenizer->Decode(*ids, false);
    if (!text.ok()) {
      ASSERT_EQ(ErrorReason(text.status()), "TOKENIZER_FAILED") << text.status();
    }
  }
  for (const auto& [what, count] : outcomes) std::cout << what << " " << count << std::endl;
  EXPECT_GT(outcomes["loaded"], 100);
  EXPECT_GT(outcomes["refused"], 500);
}

}  // namespace
}  // namespace lethe
