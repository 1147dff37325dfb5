#include "tests/engine/checkpoint/fuzz_sources.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "engine/checkpoint/checkpoint_folder.h"
#include "engine/checkpoint/decoder_config.h"
#include "engine/checkpoint/decoder_tensors.h"
#include "tests/support/testdata.h"
#include "text/tokenizer.h"

namespace lethe {
namespace fs = std::filesystem;
namespace {

constexpr const char* kIndex = "model.safetensors.index.json";

constexpr const char* kStretched =
    R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 300,)"
    R"("hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1,)"
    R"("num_attention_heads": 2, "eos_token_id": [1, 2], "dtype": "float16", "head_dim": 2,)"
    R"("rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,)"
    R"("high_freq_factor": 4.0, "original_max_position_embeddings": 32}})";
constexpr const char* kTied =
    R"({"model_type": "llama", "vocab_size": 280, "hidden_size": 8, "intermediate_size": 12,)"
    R"("num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,)"
    R"("max_position_embeddings": 64, "tie_word_embeddings": true, "attention_bias": true,)"
    R"("mlp_bias": true, "torch_dtype": "bfloat16", "rope_theta": 500000.0, "pad_token_id": -1})";

std::string ShardName(size_t shard, size_t shards) {
  char name[64];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", shard + 1, shards);
  return name;
}

std::string IndexOf(const std::vector<SafetensorsFile>& files) {
  nlohmann::ordered_json map;
  uint64_t bytes = 0;
  for (const SafetensorsFile& file : files) {
    for (const TensorInfo& tensor : file.tensors()) {
      map[tensor.name] = file.path().filename().string();
    }
    bytes += file.data_bytes();
  }
  return nlohmann::ordered_json{{"metadata", {{"total_size", bytes}}}, {"weight_map", map}}.dump();
}

// Weights of `config` in one file or two, of one byte repeated.
void WriteWeights(const fs::path& folder, const std::string& config, DType dtype, size_t shards) {
  const std::vector<TensorRule> rules = DecoderTensors(*ParseDecoderConfig(config));
  for (size_t shard = 0; shard < shards; ++shard) {
    std::vector<TensorInfo> tensors;
    for (size_t i = shard; i < rules.size(); i += shards) {
      tensors.push_back({rules[i].name, dtype, rules[i].shape});
    }
    auto writer =
        SafetensorsWriter::Create(folder / ShardName(shard, shards), tensors, {{"format", "pt"}});
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (const TensorInfo& tensor : tensors) {
      ASSERT_TRUE(writer->Write(std::string(*TensorBytes(dtype, tensor.shape), '0')).ok());
    }
    ASSERT_TRUE(writer->Finish().ok());
  }
}

std::string SmallTokenizer() {
  std::vector<std::string> texts;
  for (int i = 0; i < 50; ++i) texts.push_back("person " + std::to_string(i) + " lives here.");
  return *TrainBpe(texts, {280, {"<b>"}, "<b>"});
}

// A larger one, written by hand: all pairs of letters, and then triples, by merges.
std::string WideTokenizer() {
  constexpr int kTriples = 1'500;
  nlohmann::ordered_json vocab, merges = nlohmann::ordered_json::array();
  const auto add = [&](const std::string& token) {
    const size_t id = vocab.size();
    vocab[token] = id;
  };
  const std::string letters = "abcdefghijklmnopqrstuvwxyz";
  for (const char a : letters) add(std::string(1, a));
  for (const char a : letters) {
    for (const char b : letters) {
      merges.push_back({std::string(1, a), std::string(1, b)});
      add({a, b});
    }
  }
  for (int i = 0; i < kTriples; ++i) {
    const std::string pair =
        merges[i / 26][0].get<std::string>() + merges[i / 26][1].get<std::string>();
    const std::string last(1, letters[i % 26]);
    merges.push_back({pair, last});
    add(pair + last);
  }
  return nlohmann::ordered_json{{"version", "1.0"},
                                {"added_tokens", nlohmann::ordered_json::array()},
                                {"normalizer", {{"type", "Lowercase"}}},
                                {"pre_tokenizer", {{"type", "Whitespace"}}},
                                {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}}}
      .dump();
}

void Make(const fs::path& folder, const std::string& config, const std::string& tokenizer,
          DType dtype, size_t shards) {
  fs::create_directories(folder);
  PutQuickly(folder / "config.json", config);
  PutQuickly(folder / "tokenizer.json", tokenizer);
  ASSERT_NO_FATAL_FAILURE(WriteWeights(folder, config, dtype, shards));
}

// A real folder's shards, or its one file as the only shard.
void Copy(const fs::path& from, const fs::path& to) {
  fs::create_directories(to);
  for (const char* name : {"config.json", "tokenizer.json"}) {
    PutQuickly(to / name, *ReadFile(from / name));
  }
  for (const auto& entry : fs::directory_iterator(from)) {
    const std::string name = entry.path().filename().string();
    if (entry.path().extension() != ".safetensors" || name.rfind("model", 0) != 0) continue;
    PutQuickly(to / (name == "model.safetensors" ? ShardName(0, 1) : name),
               *ReadFile(entry.path()));
  }
}

// Reads what Make or Copy left, and adds the index.
void Read(const fs::path& folder, FuzzSource* source) {
  source->name = folder.filename();
  source->folder = folder;
  source->config = *ReadFile(folder / "config.json");
  source->tokenizer = *ReadFile(folder / "tokenizer.json");
  std::vector<SafetensorsFile> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".safetensors") continue;
    auto file = SafetensorsFile::Open(entry.path());
    ASSERT_TRUE(file.ok()) << file.status();
    source->weights.push_back(*ReadFile(entry.path()));
    source->header_bytes += file->header().size();
    files.push_back(*std::move(file));
  }
  source->index = IndexOf(files);
  PutQuickly(folder / kIndex, source->index);
  const auto opened = CheckpointFolder::Open(folder);
  ASSERT_TRUE(opened.ok()) << opened.status();
}

}  // namespace

void PutQuickly(const fs::path& file, const std::string& content) {
  fs::remove(file);  // ext4 also syncs a file that is cut to nothing and written again
  std::ofstream(file, std::ios::binary | std::ios::trunc) << content;
}

void MakeFuzzSources(const fs::path& root, std::vector<FuzzSource>* sources) {
  std::vector<fs::path> folders = {root / "stretched", root / "tied"};
  ASSERT_NO_FATAL_FAILURE(Make(folders[0], kStretched, SmallTokenizer(), DType::kF16, 2));
  ASSERT_NO_FATAL_FAILURE(Make(folders[1], kTied, WideTokenizer(), DType::kBF16, 1));
  const fs::path models = TestDataPath("models");
  if (fs::is_directory(models)) {
    std::vector<fs::path> real(fs::directory_iterator(models), {});
    std::sort(real.begin(), real.end());  // the same order on every disk
    for (const fs::path& from : real) {
      folders.push_back(root / from.filename());
      Copy(from, folders.back());
    }
  }
  for (const fs::path& folder : folders) {
    sources->emplace_back();
    ASSERT_NO_FATAL_FAILURE(Read(folder, &sources->back())) << folder;
  }
}

}  // namespace lethe
