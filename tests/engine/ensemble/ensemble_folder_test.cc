// Ensembles as folders: what is made of one, what is read where a model is, and what is refused.
#include "engine/checkpoint/ensemble_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "engine/checkpoint/checkpoint_folder.h"
#include "engine/ensemble.h"
#include "engine/evaluate.h"
#include "engine/generate.h"
#include "engine/lora.h"
#include "engine/model/load_model.h"
#include "engine/prepare.h"
#include "engine/train.h"
#include "engine/unlearn.h"
#include "tests/engine/ensemble/member_folders.h"
#include "tests/support/test_folders.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using testing::HasSubstr;

const std::vector<Sequence> kText = {{.ids = {5, 6, 7, 8, 9, 10, 11, 5, 6, 7}},
                                     {.ids = {60, 2, 44, 13, 13, 1}, .prompt_tokens = 2}};

class EnsembleTest : public testing::Test {
 protected:
  fs::path Member(const std::string& name, size_t which, int64_t vocab = 64,
                  const std::string& tokenizer = "the same") {
    return MakeMember(folder_ / name, which, 10 + which, vocab, tokenizer);
  }
  // Of three families: Llama, GPT-Neo, OPT.
  fs::path Make(const char* name = "ensemble") {
    if (members_.empty()) members_ = {Member("llama", 0), Member("gpt_neo", 6), Member("opt", 9)};
    const auto made = MakeEnsemble({.members = members_, .out_folder = folder_ / name});
    EXPECT_TRUE(made.ok()) << made.status();
    return folder_ / name;
  }
  static EvaluateResult Scores(const fs::path& model) {
    const auto result = Evaluate({.model_folder = model,
                                  .sequences = kText,
                                  .el_n = {2},
                                  .token_log_probs = true,
                                  .device = {.threads = 1}});
    EXPECT_TRUE(result.ok()) << result.status();
    return *result;
  }
  static void Write(const fs::path& file, const std::string& text) {
    std::ofstream(file, std::ios::binary) << text;
  }
  static Json Read(const fs::path& file) { return Json::parse(std::ifstream(file)); }

  const fs::path folder_ = FreshFolder();
  std::vector<fs::path> members_;
};

TEST_F(EnsembleTest, ItsScoresAreTheMeanOfItsMembersProbabilities) {
  const fs::path ensemble = Make();
  std::vector<EvaluateResult> members;
  for (const fs::path& member : members_) members.push_back(Scores(member));
  const EvaluateResult got = Scores(ensemble);
  for (size_t s = 0; s < kText.size(); ++s) {
    double nats = 0;
    for (size_t t = 0; t + 1 < kText[s].ids.size(); ++t) {
      double p = 0;
      for (const EvaluateResult& m : members) p += std::exp(m.sequences[s].log_probs[t]) / 3;
      EXPECT_NEAR(got.sequences[s].log_probs[t], std::log(p), 2e-5 * std::max(1.0, -std::log(p)));
      if (static_cast<int>(t) + 1 >= kText[s].prompt_tokens) nats -= std::log(p);
    }
    EXPECT_NEAR(got.sequences[s].nll_per_token * static_cast<double>(got.sequences[s].tokens), nats,
                1e-3);
    EXPECT_EQ(got.sequences[s].el.count(2), 1U);
  }
}

TEST_F(EnsembleTest, OfOneMemberIsReadAsThatMember) {
  members_ = {Member("a", 4)};
  const fs::path ensemble = Make();
  const EvaluateResult want = Scores(members_[0]), got = Scores(ensemble);
  for (size_t s = 0; s < kText.size(); ++s) {
    EXPECT_EQ(got.sequences[s].log_probs, want.sequences[s].log_probs);
    EXPECT_EQ(got.sequences[s].el, want.sequences[s].el);
  }
  for (const int beams : {1, 3}) {
    GenerateRequest request{.model_folder = members_[0],
                            .prompts = {{1, 2, 3}, {9}},
                            .max_new_tokens = 12,
                            .beams = beams};
    const auto said = Generate(request);
    request.model_folder = ensemble;
    EXPECT_EQ(*Generate(request), *said);
  }
}

// What is copied is the model; the folder can be moved, and its digest goes with it.
TEST_F(EnsembleTest, CanBeMovedAndHoldsNothingElse) {
  members_ = {Member("a", 0), Member("b", 1)};
  Write(members_[0] / "pytorch_model.bin", "weights that would still remember");
  const fs::path ensemble = Make();
  EXPECT_FALSE(fs::exists(ensemble / "member-0" / "pytorch_model.bin"));
  EXPECT_EQ(*FileDigest(ensemble / "tokenizer.json"), *FileDigest(members_[0] / "tokenizer.json"));
  const std::string digest = *ModelDigest(ensemble);
  EXPECT_EQ(digest, *FileDigest(ensemble / "ensemble.json"));
  EXPECT_EQ(*ModelDigest(members_[0]), *FolderDigest(members_[0]));
  fs::rename(ensemble, folder_ / "moved");
  fs::remove_all(members_[0]);
  fs::remove_all(members_[1]);
  EXPECT_EQ(*ModelDigest(folder_ / "moved"), digest);
  EXPECT_EQ(Scores(folder_ / "moved").sequences.size(), 2U);
  EXPECT_EQ(ReadModelLimits(folder_ / "moved")->vocab_size, 64);
  for (const auto& entry : fs::directory_iterator(folder_)) {
    EXPECT_NE(entry.path().filename().string()[0], '.') << entry.path();
  }
}

TEST_F(EnsembleTest, AMemberThatChangedOrWentIsNoMember) {
  const fs::path ensemble = Make();
  const auto reason = [&] {
    const auto loaded = LoadModel(ensemble, {.threads = 1});
    return std::pair(ErrorReason(loaded.status()), ErrorDetails(loaded.status())["member"]);
  };
  const fs::path weights = ensemble / "member-1" / "model.safetensors";
  const auto size = static_cast<int64_t>(fs::file_size(weights));
  std::fstream bytes(weights, std::ios::in | std::ios::out | std::ios::binary);
  bytes.seekg(size - 3);
  const int was = bytes.get();
  bytes.seekp(size - 3);
  bytes.put(static_cast<char>(was ^ 1));
  bytes.flush();
  EXPECT_EQ(reason(), std::pair(std::string("ENSEMBLE_CHANGED"), std::string("1")));
  bytes.seekp(size - 3);
  bytes.put(static_cast<char>(was));
  bytes.close();
  EXPECT_EQ(reason().first, "");
  Write(ensemble / "tokenizer.json", "another");
  EXPECT_EQ(reason().first, "ENSEMBLE_CHANGED");
  Write(ensemble / "tokenizer.json", "the same");
  fs::remove_all(ensemble / "member-2");
  EXPECT_EQ(reason(), std::pair(std::string("ENSEMBLE_MEMBER_MISSING"), std::string("2")));
  // The digest is of the model that was meant, whatever became of its parts.
  EXPECT_TRUE(ModelDigest(ensemble).ok());
}

TEST_F(EnsembleTest, WhatDoesNotSpeakOfTheSameTokensIsRefused) {
  const auto refused = [&](std::vector<fs::path> members) {
    const absl::Status status =
        MakeEnsemble({.members = std::move(members), .out_folder = folder_ / "out"}).status();
    EXPECT_FALSE(fs::exists(folder_ / "out"));
    return std::pair(ErrorReason(status), ErrorDetails(status)["member"]);
  };
  const fs::path a = Member("a", 0);
  const std::string one = "1", vocabulary = "ENSEMBLE_VOCABULARY_DIFFERS";
  EXPECT_EQ(refused({a, Member("smaller", 1, 60)}), std::pair(vocabulary, one));
  EXPECT_EQ(refused({a, Member("other", 1, 64, "another")}), std::pair(vocabulary, one));
  EXPECT_EQ(refused({a, Member("none", 1, 64, "")}), std::pair(vocabulary, one));
  EXPECT_EQ(refused({a, folder_ / "nowhere"}), std::pair(std::string("FILE_ERROR"), one));
  EXPECT_EQ(refused({}).first, "BAD_ENSEMBLE");
  EXPECT_EQ(refused({a, Make()}), std::pair(std::string("MODEL_IS_ENSEMBLE"), one));
  EXPECT_EQ(ErrorReason(MakeEnsemble({.members = {a}, .out_folder = a}).status()),
            "OUT_FOLDER_EXISTS");
}

TEST_F(EnsembleTest, AFileThatIsNotOfTheGrammarIsRefused) {
  const fs::path ensemble = Make();
  const Json good = Read(ensemble / "ensemble.json");
  EXPECT_EQ(good["members"].size(), 3U);
  const auto reason = [&](const std::string& text) {
    Write(ensemble / "ensemble.json", text);
    return ErrorReason(LoadModel(ensemble, {.threads = 1}).status());
  };
  const auto with = [&](const std::function<void(Json&)>& change) {
    Json json = good;
    change(json);
    return reason(json.dump());
  };
  EXPECT_EQ(reason(good.dump()), "");
  for (const char* text : {"", "[]", "{", R"({"kind": "ensemble", "kind": "ensemble"})"}) {
    EXPECT_EQ(reason(text), "BAD_ENSEMBLE") << text;
  }
  EXPECT_EQ(with([](Json& j) { j["kind"] = "mixture"; }), "BAD_ENSEMBLE");
  EXPECT_EQ(with([](Json& j) { j["version"] = 2; }), "BAD_ENSEMBLE");
  EXPECT_EQ(with([](Json& j) { j["weights"] = {1, 1, 1}; }), "BAD_ENSEMBLE");
  EXPECT_EQ(with([](Json& j) { j["members"] = Json::array(); }), "BAD_ENSEMBLE");
  EXPECT_EQ(with([](Json& j) { j["members"] = 3; }), "BAD_ENSEMBLE");
  EXPECT_EQ(with([](Json& j) { j["members"][0] = "member-0"; }), "BAD_ENSEMBLE");
  EXPECT_EQ(with([](Json& j) { j["members"][1]["weight"] = 2; }), "BAD_ENSEMBLE");
  EXPECT_EQ(with([](Json& j) { j["members"][1] = j["members"][0]; }), "BAD_ENSEMBLE");
  EXPECT_EQ(with([](Json& j) { j["members"][1]["digest"] = "abc"; }), "BAD_ENSEMBLE");
  for (const char* path : {"../a", "/a", "", ".", "member-0/../member-1", "a//b", "a/"}) {
    EXPECT_EQ(with([&](Json& j) { j["members"][1]["folder"] = path; }), "BAD_ENSEMBLE") << path;
  }
  EXPECT_EQ(with([](Json& j) { j.erase("tokenizer"); }), "ENSEMBLE_CHANGED");
  Write(ensemble / "config.json", "{}");
  EXPECT_EQ(reason(good.dump()), "BAD_ENSEMBLE");
}

// Whoever would change it says what to do instead.
TEST_F(EnsembleTest, WhatChangesAModelRefusesIt) {
  const fs::path ensemble = Make(), out = folder_ / "out";
  const absl::Status statuses[] = {
      Unlearn({.base_folder = ensemble, .out_folder = out, .forget = kText}).status(),
      Train({.base_folder = ensemble, .out_folder = out, .sequences = kText}).status(),
      PrepareModel({.model_folder = ensemble, .holdout = kText}).status(),
      CheckpointFolder::Open(ensemble).status(),
      Evaluate({.model_folder = ensemble, .adapter_folder = members_[0], .sequences = kText})
          .status(),
      MergeAdapter({.base_folder = ensemble, .adapter_folder = members_[0], .out_folder = out})
          .status()};
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(ErrorReason(status), "MODEL_IS_ENSEMBLE") << status;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_THAT(std::string(statuses[0].message()), HasSubstr("teachers train --ensemble"));
  EXPECT_FALSE(fs::exists(out));
}

}  // namespace
}  // namespace lethe
