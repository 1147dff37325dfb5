// 60,000 damaged files: each gets a status, or opens and can be read to the last byte; never
// anything else, and never more memory than a multiple of its size. Run under ASan and UBSan too.
// LETHE_TEST_SEED gives another sequence of damages.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/status.h"
#include "engine/checkpoint/checkpoint_folder.h"
#include "engine/checkpoint/decoder_config.h"
#include "engine/checkpoint/decoder_tensors.h"
#include "engine/checkpoint/finite.h"
#include "engine/checkpoint/safetensors.h"
#include "tests/engine/checkpoint/fuzz_sources.h"
#include "tests/engine/checkpoint/mutator.h"
#include "tests/support/heap_watch.h"
#include "tests/support/seeded_random.h"
#include "tests/support/testdata.h"
#include "text/tokenizer.h"

namespace lethe {
namespace {
namespace fs = std::filesystem;

constexpr int kSafetensors = 24'000, kConfigs = 10'000, kFamilyConfigs = 10'000, kIndexes = 6'000,
              kTokenizers = 10'000;
static_assert(kSafetensors + kConfigs + kFamilyConfigs + kIndexes + kTokenizers == 60'000);

// What reading a file may hold at a time: a tree of JSON takes some ten times its text, a
// vocabulary with its merges twice that. Beside it, what does not grow with the file: streams and
// tables; the tokenizer's cache of words, laid out for 10,000 of them when it is made.
constexpr int64_t kTimes = 64, kSlack = 256 << 10, kTokenizerSlack = 1'280 << 10;

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
    const auto not_finite = FirstNotFinite(tensor.dtype, file.Bytes(tensor));
    ASSERT_TRUE(!not_finite.has_value() || *not_finite < elements);
  }
  ASSERT_EQ(file.header().size() + end, file_bytes);
}

void ExpectRefusal(const absl::Status& status) {
  const std::string reason = ErrorReason(status);
  ASSERT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  ASSERT_TRUE(reason == "BAD_CHECKPOINT" || reason == "MODEL_UNSUPPORTED") << status;
}

class Fuzz : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = FreshFolder();
    ASSERT_NO_FATAL_FAILURE(MakeFuzzSources(folder_, &sources_));
    begin_ = std::chrono::steady_clock::now();
  }
  void TearDown() override {
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin_;
    std::cout << "LETHE_TEST_SEED=" << seed_ << ", " << sources_.size() << " folders:";
    for (const auto& [what, count] : outcomes_) std::cout << " " << what << " " << count;
    std::cout << "; at most " << heap_ << " bytes of heap; " << seconds.count() << " s"
              << std::endl;
    fs::remove_all(folder_);
  }

  FuzzSource& AnySource(Mutator& mutator) { return sources_[mutator.Pick(sources_.size())]; }

  // `watch` was made before the file was read.
  void CheckHeap(const HeapWatch& watch, uint64_t bytes_read, int64_t slack = kSlack) {
    const int64_t held = watch.PeakBytes() - slack;
    ASSERT_LE(held, kTimes * static_cast<int64_t>(bytes_read));
    heap_ = std::max(heap_, watch.PeakBytes());
  }

  // Opens the folder and reads all that the checks let through.
  absl::Status ReadFolder(const fs::path& folder) {
    LETHE_ASSIGN_OR_RETURN(const CheckpointFolder opened, CheckpointFolder::Open(folder));
    for (const TensorInfo& tensor : opened.tensors()) ReadAll(opened.Bytes(tensor));
    LETHE_ASSIGN_OR_RETURN(const DecoderConfig config, ReadDecoderConfig(opened));
    LETHE_RETURN_IF_ERROR(CheckTensors(config, opened).status());
    return CheckFinite(config, opened);
  }

  // One file of a folder is damaged, looked at through the whole folder, and put back.
  void DamageFolders(const char* name, std::string FuzzSource::*content, int rounds) {
    Mutator mutator(seed_);
    for (int round = 0; round < rounds; ++round) {
      FuzzSource& source = AnySource(mutator);
      const std::string damaged = mutator.Json(source.*content);
      SCOPED_TRACE("round " + std::to_string(round) + " " + source.name);
      PutQuickly(source.folder / name, damaged);
      const HeapWatch watch;
      const absl::Status status = ReadFolder(source.folder);
      const uint64_t others = source.config.size() + source.index.size() -
                              (source.*content).size() + source.header_bytes;
      ASSERT_NO_FATAL_FAILURE(CheckHeap(watch, damaged.size() + others));
      if (!status.ok()) {
        ASSERT_NO_FATAL_FAILURE(ExpectRefusal(status));
      }
      ++outcomes_[status.ok() ? "opened" : ErrorReason(status)];
      PutQuickly(source.folder / name, source.*content);
    }
  }

  uint64_t seed_ = TestSeed(20261126);
  fs::path folder_;
  std::vector<FuzzSource> sources_;
  std::map<std::string, int> outcomes_;
  int64_t heap_ = 0;
  std::chrono::steady_clock::time_point begin_;
};

// Damage that is all caught by the first check, or that never hurts, would test little: hence the
// least counts below.

TEST_F(Fuzz, Safetensors) {
  Mutator mutator(seed_);
  const fs::path damaged = folder_ / "damaged.safetensors";
  for (int round = 0; round < kSafetensors; ++round) {
    const FuzzSource& source = AnySource(mutator);
    const std::string bytes =
        mutator.Safetensors(source.weights[mutator.Pick(source.weights.size())]);
    PutQuickly(damaged, bytes);
    SCOPED_TRACE("round " + std::to_string(round) + " " + source.name);
    const HeapWatch watch;
    const auto file = SafetensorsFile::Open(damaged);
    ASSERT_NO_FATAL_FAILURE(CheckHeap(watch, bytes.size()));
    if (file.ok()) {
      ASSERT_NO_FATAL_FAILURE(ExpectSound(*file, bytes.size()));
    } else {
      ASSERT_NO_FATAL_FAILURE(ExpectRefusal(file.status()));
    }
    ++outcomes_[file.ok() ? "opened" : ErrorReason(file.status())];
  }
  EXPECT_GT(outcomes_["opened"], kSafetensors / 50);
  EXPECT_GT(outcomes_["BAD_CHECKPOINT"], kSafetensors / 2);
  EXPECT_GT(outcomes_["MODEL_UNSUPPORTED"], kSafetensors / 500);
}

TEST_F(Fuzz, Configs) {
  DamageFolders("config.json", &FuzzSource::config, kConfigs);
  EXPECT_GT(outcomes_["opened"], kConfigs / 50);
  EXPECT_GT(outcomes_["BAD_CHECKPOINT"], kConfigs / 20);
  EXPECT_GT(outcomes_["MODEL_UNSUPPORTED"], kConfigs / 50);
}

// config.json of every family, in its variants: understood whole or refused, and what is understood
// names its tensors.
TEST_F(Fuzz, ConfigsOfEveryFamily) {
  std::vector<std::string> sources;
  for (const auto& file : fs::directory_iterator(LETHE_FAMILY_GOLDEN_FOLDER)) {
    if (file.path().extension() != ".json") continue;
    sources.push_back(nlohmann::json::parse(*ReadFile(file.path()))["config"].dump());
  }
  std::sort(sources.begin(), sources.end());
  ASSERT_GE(sources.size(), 20u);
  Mutator mutator(seed_);
  for (int round = 0; round < kFamilyConfigs; ++round) {
    const std::string text = mutator.Json(sources[mutator.Pick(sources.size())]);
    SCOPED_TRACE(text);
    const auto config = ParseDecoderConfig(text);
    if (!config.ok()) {
      ASSERT_NO_FATAL_FAILURE(ExpectRefusal(config.status()));
      if (!ErrorDetails(config.status())["field"].empty()) ++outcomes_["refused by name"];
    } else {
      ASSERT_EQ(config->num_heads % config->num_kv_heads, 0);
      ASSERT_EQ(config->RotaryDim() % 2, 0);
      ASSERT_TRUE(config->windows.empty() ||
                  static_cast<int64_t>(config->windows.size()) == config->num_layers);
      for (const TensorRule& rule : DecoderTensors(*config)) {
        for (const int64_t size : rule.shape) ASSERT_GT(size, 0) << rule.name;
      }
    }
    ++outcomes_[config.ok() ? "understood" : ErrorReason(config.status())];
  }
  EXPECT_GT(outcomes_["understood"], 500);
  EXPECT_GT(outcomes_["MODEL_UNSUPPORTED"], 100);
  EXPECT_GT(outcomes_["refused by name"], 1'000);
}

TEST_F(Fuzz, Indexes) {
  DamageFolders("model.safetensors.index.json", &FuzzSource::index, kIndexes);
  EXPECT_GT(outcomes_["opened"], kIndexes / 50);
  EXPECT_GT(outcomes_["BAD_CHECKPOINT"], kIndexes / 2);
}

// The crate behind the C border is not ours: it may refuse, and whatever it panics on has to come
// out as a status.
TEST_F(Fuzz, Tokenizers) {
  Mutator mutator(seed_);
  const std::array<std::string, 3> texts = {"Hello  person 7,\n na\u00efve <s> <b> \U0001F642", "",
                                            std::string(300, 'a') + "\t\u0301</s>"};
  for (int round = 0; round < kTokenizers; ++round) {
    const FuzzSource& source = AnySource(mutator);
    const std::string json = mutator.Json(source.tokenizer);
    SCOPED_TRACE("round " + std::to_string(round) + " " + source.name);
    const HeapWatch watch;
    const auto tokenizer = Tokenizer::FromJson(json);
    ASSERT_NO_FATAL_FAILURE(CheckHeap(watch, json.size(), kTokenizerSlack));
    if (!tokenizer.ok()) {
      ASSERT_EQ(ErrorReason(tokenizer.status()), "TOKENIZER_INVALID") << tokenizer.status();
      ASSERT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
      const bool panicked = tokenizer.status().message().find("panicked") != std::string::npos;
      ++outcomes_[panicked ? "TOKENIZER_INVALID by a panic" : "TOKENIZER_INVALID"];
      continue;
    }
    ++outcomes_["loaded"];
    tokenizer->IdToToken(tokenizer->vocab_size() - 1);
    for (const std::string& text : texts) {
      const auto ids = tokenizer->Encode(text, /*add_special=*/true);
      absl::Status status = ids.status();
      if (ids.ok()) {
        for (const int32_t id : *ids) ASSERT_GE(id, 0);
        status = tokenizer->Decode(*ids, /*skip_special=*/false).status();
      }
      if (status.ok()) continue;
      ASSERT_EQ(ErrorReason(status), "TOKENIZER_FAILED") << status;
      const bool panicked = status.message().find("panicked") != std::string::npos;
      ++outcomes_[panicked ? "TOKENIZER_FAILED by a panic" : "TOKENIZER_FAILED"];
    }
  }
  EXPECT_GT(outcomes_["loaded"], kTokenizers / 20);
  EXPECT_GT(outcomes_["TOKENIZER_INVALID"], kTokenizers / 4);
}

}  // namespace
}  // namespace lethe
