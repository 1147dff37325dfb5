#include "engine/checkpoint/checkpoint_folder.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <thread>

#include "base/digest.h"
#include "base/file.h"
#include "base/status.h"
#include "engine/checkpoint/decoder_config.h"
#include "tests/support/seeded_random.h"
#include "tests/support/testdata.h"

namespace lethe {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::json;

std::set<std::string> Names(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    names.insert(entry.path().filename().string());
  }
  return names;
}

void Put(const fs::path& file, const std::string& content) {
  ASSERT_TRUE(WriteFileAtomically(file, content).ok());
}

// A small model of two shards, made here: values are the tensor's number.
class MadeFolder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = FreshFolder();
    source_ = folder_ / "source";
    fs::create_directories(source_);
    Put(source_ / "config.json", R"({"z_unknown": 1, "model_type": "llama", "a": [1.50]})");
    Put(source_ / "tokenizer.json", "{}");
    Put(source_ / "pytorch_model.bin", "weights in another format");
    WriteShard("model-00001-of-00002.safetensors",
               {{"b", DType::kF32, {2, 3}}, {"a", DType::kBF16, {5}}});
    WriteShard("model-00002-of-00002.safetensors", {{"c", DType::kI64, {}}});
    PutIndex({{"a", "model-00001-of-00002.safetensors"},
              {"b", "model-00001-of-00002.safetensors"},
              {"c", "model-00002-of-00002.safetensors"}});
  }

  void WriteShard(const std::string& name, std::vector<TensorInfo> tensors) {
    auto writer = SafetensorsWriter::Create(source_ / name, tensors, {{"format", "pt"}});
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (const TensorInfo& tensor : tensors) {
      const std::string bytes(*TensorBytes(tensor.dtype, tensor.shape), tensor.name[0]);
      ASSERT_TRUE(writer->Write(bytes).ok());
    }
    ASSERT_TRUE(writer->Finish().ok());
  }

  void PutIndex(const Json& weight_map) {
    Put(source_ / "model.safetensors.index.json",
        Json{{"metadata", {{"total_size", 42}}}, {"weight_map", weight_map}}.dump(2));
  }

  absl::Status OpenStatus() { return CheckpointFolder::Open(source_).status(); }

  fs::path folder_, source_;
};

TensorProvider Fill(char value) {
  return [value](const TensorInfo& tensor, const BytesSink& sink) {
    return sink(std::string(*TensorBytes(tensor.dtype, tensor.shape), value));
  };
}

TEST_F(MadeFolder, ShardsAreReadInOrder) {
  auto model = CheckpointFolder::Open(source_);
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(model->tensors().size(), 3u);
  EXPECT_EQ(model->tensors()[0].name, "b");
  EXPECT_EQ(model->Find("a")->shape, (std::vector<int64_t>{5}));
  EXPECT_EQ(model->Find("a")->dtype, DType::kBF16);
  EXPECT_EQ(model->Find("c")->shape, std::vector<int64_t>{});
  EXPECT_EQ(model->Bytes(*model->Find("a")), std::string(10, 'a'));
  EXPECT_EQ(model->Bytes(*model->Find("c")), std::string(8, 'c'));
  EXPECT_EQ(model->Find("d"), nullptr);
  EXPECT_EQ(model->weight_bytes(), 24u + 10u + 8u);
  EXPECT_EQ(model->companions(), std::vector<std::string>{"tokenizer.json"});
  EXPECT_EQ(model->left_out(), std::vector<std::string>{"pytorch_model.bin"});
}

TEST_F(MadeFolder, SaveReplacesOneTensorAndKeepsTheRestByteForByte) {
  const CheckpointFolder source = *CheckpointFolder::Open(source_);
  SaveOptions save{.out = folder_ / "out", .lineage_json = R"({"job": "j-1", "fence": 7})"};
  save.overrides["a"] = Fill('X');
  auto saved = SaveLike(source, save);
  ASSERT_TRUE(saved.ok()) << saved.status();

  const CheckpointFolder out = *CheckpointFolder::Open(folder_ / "out");
  EXPECT_EQ(out.Bytes(*out.Find("a")), std::string(10, 'X'));
  EXPECT_EQ(out.Bytes(*out.Find("b")), std::string(24, 'b'));
  // The other format's weights still remember: they stay behind.
  EXPECT_EQ(Names(folder_ / "out"),
            (std::set<std::string>{"config.json", "lethe.json", "model-00001-of-00002.safetensors",
                                   "model-00002-of-00002.safetensors",
                                   "model.safetensors.index.json", "tokenizer.json"}));
  for (const char* same :
       {"config.json", "model-00002-of-00002.safetensors", "model.safetensors.index.json"}) {
    EXPECT_EQ(*ReadFile(source_ / same), *ReadFile(folder_ / "out" / same)) << same;
  }
  EXPECT_EQ(source.files()[0].header(), out.files()[0].header());

  EXPECT_EQ(saved->digest, *FolderDigest(folder_ / "out"));
  const Json lineage = Json::parse(*ReadFile(folder_ / "out/lethe.json"));
  EXPECT_EQ(lineage, (Json{{"job", "j-1"}, {"fence", 7}, {"folder_digest", saved->digest}}));
  EXPECT_EQ(*VerifySaved(folder_ / "out"), saved->digest);
  EXPECT_EQ(Names(folder_), (std::set<std::string>{"out", "source"}));  // nothing hidden is left
}

TEST_F(MadeFolder, SameOverridesGiveTheSameDigest) {
  const CheckpointFolder source = *CheckpointFolder::Open(source_);
  const auto save = [&](const char* name, char value) {
    SaveOptions options{.out = folder_ / name};
    options.overrides["b"] = Fill(value);
    return SaveLike(source, options)->digest;
  };
  const std::string first = save("one", 'X');
  EXPECT_EQ(save("two", 'X'), first);
  EXPECT_NE(save("three", 'Y'), first);
}

TEST_F(MadeFolder, AFailedSaveLeavesNothing) {
  const CheckpointFolder source = *CheckpointFolder::Open(source_);
  const auto reason = [&](const SaveOptions& options) {
    const absl::Status status = SaveLike(source, options).status();
    EXPECT_EQ(Names(folder_), (std::set<std::string>{"source"})) << status;
    return ErrorReason(status);
  };
  SaveOptions unknown{.out = folder_ / "out"};
  unknown.overrides["no.such.tensor"] = Fill('X');
  EXPECT_EQ(reason(unknown), "TENSOR_UNKNOWN");
  SaveOptions few{.out = folder_ / "out"};
  few.overrides["b"] = [](const TensorInfo&, const BytesSink& sink) { return sink("12345"); };
  EXPECT_EQ(reason(few), "BAD_TENSOR_BYTES");
  SaveOptions many{.out = folder_ / "out"};
  many.overrides["b"] = [](const TensorInfo&, const BytesSink& sink) {
    return sink(std::string(25, 'x'));
  };
  EXPECT_EQ(reason(many), "BAD_TENSOR_BYTES");
  SaveOptions stopped{.out = folder_ / "out"};
  stopped.overrides["c"] = [](const TensorInfo&, const BytesSink&) {
    return Error(absl::StatusCode::kCancelled, "STOPPED", "the caller wants to stop");
  };
  EXPECT_EQ(reason(stopped), "STOPPED");
  SaveOptions lineage{.out = folder_ / "out", .lineage_json = "[]"};
  EXPECT_EQ(reason(lineage), "BAD_CHECKPOINT");
  SaveOptions there{.out = source_};
  EXPECT_EQ(reason(there), "OUT_FOLDER_EXISTS");
  SaveOptions nowhere{.out = folder_ / "no" / "out"};
  EXPECT_EQ(reason(nowhere), "FILE_ERROR");
}

TEST_F(MadeFolder, AChangedFileIsNoticed) {
  const CheckpointFolder source = *CheckpointFolder::Open(source_);
  ASSERT_TRUE(SaveLike(source, {.out = folder_ / "out"}).ok());
  Put(folder_ / "out/config.json", "{}");
  EXPECT_EQ(ErrorReason(VerifySaved(folder_ / "out").status()), "CHECKPOINT_CHANGED");
  EXPECT_EQ(VerifySaved(source_).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(MadeFolder, MaliciousIndexIsRefused) {
  const std::string one = "model-00001-of-00002.safetensors";
  const std::string two = "model-00002-of-00002.safetensors";
  fs::copy_file(source_ / two, folder_ / "outside.safetensors");
  const Json good = {{"a", one}, {"b", one}, {"c", two}};
  for (const std::string& way_out :
       {std::string("../outside.safetensors"), (folder_ / "outside.safetensors").string(),
        std::string("./") + two, std::string("sub/x.safetensors"), std::string(".safetensors"),
        std::string(".hidden.safetensors"), std::string(""), std::string("config.json"),
        std::string("x.safetensors\0", 14), std::string("..\\x.safetensors")}) {
    Json bad = good;
    bad["c"] = way_out;
    PutIndex(bad);
    EXPECT_EQ(ErrorReason(OpenStatus()), "BAD_CHECKPOINT") << way_out;
  }
  const std::pair<const char*, Json> wrong[] = {
      {"a shard that is missing", {{"a", one}, {"b", one}, {"c", "model-9.safetensors"}}},
      {"a tensor in the wrong shard", {{"a", two}, {"b", one}, {"c", two}}},
      {"a tensor that is nowhere", {{"a", one}, {"b", one}, {"c", two}, {"d", two}}},
      {"a tensor that the index leaves out", {{"a", one}, {"c", two}}},
      {"a number for a file", {{"a", one}, {"b", one}, {"c", 7}}},
      {"an empty map", Json::object()},
      {"no map", nullptr},
      {"a list", {one, two}},
  };
  for (const auto& [what, map] : wrong) {
    PutIndex(map);
    EXPECT_EQ(ErrorReason(OpenStatus()), "BAD_CHECKPOINT") << what;
  }
  Put(source_ / "model.safetensors.index.json", R"({"weight_map": {"a": ")" + one + R"(", "b": ")" +
                                                    one + R"(", "c": ")" + two + R"(", "c": ")" +
                                                    one + R"("}})");
  EXPECT_EQ(ErrorReason(OpenStatus()), "BAD_CHECKPOINT") << "a name that comes twice";
  PutIndex(good);
  EXPECT_TRUE(OpenStatus().ok());
  WriteShard(two, {{"c", DType::kI64, {}}, {"a", DType::kBF16, {5}}});
  EXPECT_EQ(ErrorReason(OpenStatus()), "BAD_CHECKPOINT") << "a tensor in two shards";
}

TEST_F(MadeFolder, FoldersThatAreNoModel) {
  EXPECT_EQ(CheckpointFolder::Open(folder_ / "none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_FALSE(CheckpointFolder::Open(source_ / "config.json").ok());
  Put(source_ / "config.json", "[]");
  EXPECT_EQ(ErrorReason(OpenStatus()), "BAD_CHECKPOINT");
  Put(source_ / "config.json", R"({"a": 1, "a": 2})");
  EXPECT_EQ(ErrorReason(OpenStatus()), "BAD_CHECKPOINT");
  Put(source_ / "config.json", R"({"a": )" + std::string(100'000, '['));
  EXPECT_EQ(ErrorReason(OpenStatus()), "BAD_CHECKPOINT");
  Put(source_ / "config.json", "{}");
  EXPECT_TRUE(OpenStatus().ok());
  fs::remove(source_ / "model.safetensors.index.json");
  EXPECT_EQ(ErrorReason(OpenStatus()), "MODEL_UNSUPPORTED");
}

TEST_F(MadeFolder, LinkedFilesAreFollowedAndSavedAsFiles) {
  // The cache of huggingface_hub keeps blobs elsewhere and links to them.
  fs::create_directories(folder_ / "blobs");
  for (const std::string& name : Names(source_)) {
    fs::rename(source_ / name, folder_ / "blobs" / name);
    fs::create_symlink(fs::path("../blobs") / name, source_ / name);
  }
  auto model = CheckpointFolder::Open(source_);
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_TRUE(SaveLike(*model, {.out = folder_ / "out"}).ok());
  for (const auto& entry : fs::directory_iterator(folder_ / "out")) {
    EXPECT_FALSE(entry.is_symlink()) << entry.path();
  }
}

TEST(SaveNew, WritesAFolderThatOpens) {
  const fs::path folder = FreshFolder();
  NewCheckpoint checkpoint{
      .out = folder / "new",
      .config_json = R"({"model_type": "llama"})",
      .files = {{"tokenizer.json", "{}"}},
      .tensors = {{"x", DType::kF32, {2}}, {"y", DType::kF16, {3, 1}}},
      .provider = [](const TensorInfo& tensor, const BytesSink& sink) {
        return sink(tensor.name == "x" ? std::string(8, 'x') : std::string(6, 'y'));
      }};
  auto saved = SaveNew(checkpoint);
  ASSERT_TRUE(saved.ok()) << saved.status();
  EXPECT_EQ(*VerifySaved(folder / "new"), saved->digest);
  const CheckpointFolder model = *CheckpointFolder::Open(folder / "new/");
  EXPECT_EQ(model.Bytes(*model.Find("y")), "yyyyyy");
  EXPECT_EQ(model.files()[0].metadata(), (SafetensorsMetadata{{"format", "pt"}}));
  EXPECT_EQ(ErrorReason(SaveNew(checkpoint).status()), "OUT_FOLDER_EXISTS");
}

// Every real folder: what safetensors and transformers wrote is read, and written again the same.
class RealFolder : public testing::TestWithParam<const char*> {};

TEST_P(RealFolder, IsSavedByteForByte) {
  LETHE_TESTDATA_OR_SKIP(const fs::path path, std::string("models/") + GetParam());
  auto source = CheckpointFolder::Open(path);
  ASSERT_TRUE(source.ok()) << source.status();
  // golden.json, made by transformers, names each weight of the model.
  const Json golden = Json::parse(*ReadFile(path / "golden.json"));
  for (const auto& item : golden.at("plain").at("grad_norms").items()) {
    EXPECT_NE(source->Find(item.key()), nullptr) << item.key();
  }
  const fs::path out = FreshFolder() / "out";
  auto saved = SaveLike(*source, {.out = out});
  ASSERT_TRUE(saved.ok()) << saved.status();
  std::set<std::string> wanted = Names(path);
  wanted.erase("golden.json");
  wanted.erase("golden.safetensors");
  for (const std::string& name : wanted) {
    EXPECT_EQ(*ReadFile(path / name), *ReadFile(out / name)) << name;
  }
  wanted.insert("lethe.json");
  EXPECT_EQ(Names(out), wanted);
}

// What the writer makes of the tensors is what the safetensors library made of them.
TEST_P(RealFolder, WriterGivesTheLibrarysOwnBytes) {
  LETHE_TESTDATA_OR_SKIP(const fs::path path, std::string("models/") + GetParam());
  const CheckpointFolder source = *CheckpointFolder::Open(path);
  for (const SafetensorsFile& file : source.files()) {
    const fs::path copy = FreshFolder() / "copy.safetensors";
    auto writer = SafetensorsWriter::Create(copy, file.tensors(), file.metadata());
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (const TensorInfo& tensor : file.tensors()) {
      ASSERT_TRUE(writer->Write(file.Bytes(tensor)).ok());
    }
    ASSERT_TRUE(writer->Finish().ok());
    EXPECT_EQ(*ReadFile(copy), *ReadFile(file.path()));
  }
}

INSTANTIATE_TEST_SUITE_P(Models, RealFolder,
                         testing::Values("stories260k", "tiny_gpt2", "tiny_gpt2_hub",
                                         "tiny_gpt_neo", "tiny_gpt_neox", "tiny_gpt_neox_hub",
                                         "tiny_llama", "tiny_llama3", "tiny_mistral", "tiny_opt",
                                         "tiny_qwen2"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace lethe
