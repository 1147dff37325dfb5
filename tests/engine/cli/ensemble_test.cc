// Ensembles and teachers of one's own on the command line, as scripts see them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

#include "tests/engine/cli/tool.h"
#include "tests/support/temp_folder.h"

namespace lethe {
namespace {

using Json = nlohmann::ordered_json;
using testing::ElementsAre;
using testing::HasSubstr;

// Twenty people with two documents each, in two shards, and a teacher of each.
class EnsembleCommandTest : public testing::Test {
 protected:
  void SetUp() override {
    Write("key", std::string(64, 'a') + "\n");
    std::string lines;
    for (int i = 0; i < 40; ++i) {
      std::vector<int> ids;
      for (int t = 0; t < 16; ++t) ids.push_back((i * 31 + t * t * 7 + i * t) % 60);
      lines += Json({{"ids", ids},
                     {"subject", "person-" + std::to_string(i / 2)},
                     {"document", "d-" + std::to_string(i)}})
                   .dump() +
               "\n";
      if (i == 4) Write("wish.json", Json::array({ids}).dump());
    }
    Write("lines.jsonl", lines);
    Run("corpus build " + Corpus() + Path("lines.jsonl") +
        " --vocab-size 64 --shards 2 --slices 2");
    Write("ids.json", "[[1, 2, 3, 4, 5, 6, 7, 8], [40, 50, 2, 2, 9]]");
  }
  std::string Corpus() const {
    return "--corpus " + Path("corpus") + " --key " + Path("key") + " ";
  }
  std::string Train(const std::string& out, const std::string& more = "") const {
    return "teachers train " + Corpus() + "--out " + Path(out) +
           " --hidden 32 --layers 1 --context 32 --epochs 2 --batch-tokens 128 " + more;
  }
  void Write(const std::string& name, const std::string& content) {
    std::ofstream(folder_ / name) << content;
  }
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  Ran Try(const std::string& arguments) {
    return RunTool("--output json --threads 1 " + arguments + " 2>&1");
  }
  std::vector<Json> Run(const std::string& arguments) {
    const Ran ran = Try(arguments);
    EXPECT_EQ(ran.code, 0) << arguments << "\n" << ran.out;
    return ran.code == 0 ? Lines(ran.out) : std::vector<Json>(8);
  }

  TempFolder folder_;
};

TEST_F(EnsembleCommandTest, TeachersAreAModelThatForgetsByTrainingOneAgain) {
  const std::vector<Json> trained = Run(Train("teachers", "--ensemble"));
  ASSERT_EQ(trained.size(), 3U);
  const Json first = trained[2];
  EXPECT_EQ(first["members"].size(), 2U);

  // The mean of what the two say, of each token.
  const std::string ids = " --ids " + Path("ids.json");
  const auto one = Run("score --model " + trained[0]["model"].get<std::string>() + ids),
             two = Run("score --model " + trained[1]["model"].get<std::string>() + ids),
             mean = Run("score --model " + Path("teachers") + ids);
  ASSERT_EQ(mean.size(), 2U);
  for (size_t s = 0; s < 2; ++s) {
    const auto of = [&](const std::vector<Json>& lines, size_t t) {
      return lines[s]["log_probs"][t].get<double>();
    };
    ASSERT_EQ(mean[s]["log_probs"].size(), s == 0 ? 7U : 4U);
    for (size_t t = 0; t < mean[s]["log_probs"].size(); ++t) {
      EXPECT_NEAR(of(mean, t), std::log((std::exp(of(one, t)) + std::exp(of(two, t))) / 2), 1e-5);
    }
  }
  const std::string model = "--model " + Path("teachers") + ids;
  EXPECT_EQ(Run("eval " + model + " --n 2").size(), Run("eval " + model + " --n 2").size());
  EXPECT_EQ(Run("extract " + model + " --n 2").size(), 2U);
  for (const char* how : {"", " --temperature 1 --top-k 5", " --beams 3"}) {
    const auto said = Run("generate --max-new-tokens 5 " + model + how);
    ASSERT_EQ(said.size(), 2U) << how;
    EXPECT_EQ(said[0]["ids"].size(), 5U) << how;
  }

  // It is there, so it is renewed without being asked.
  Run("corpus erase " + Corpus() + "--document d-4");
  const std::vector<Json> again = Run(Train("teachers", "--remove-others"));
  ASSERT_EQ(again.size(), 3U);
  int same = 0;
  for (size_t m = 0; m < 2; ++m) same += again[2]["members"][m] == first["members"][m];
  EXPECT_EQ(same, 1);
  // A copy that can be moved says the same.
  Run("ensemble make --out " + Path("copy") + " --member " + again[0]["model"].get<std::string>() +
      " --member " + again[1]["model"].get<std::string>());
  EXPECT_EQ(Run("score --model " + Path("copy") + ids),
            Run("score --model " + Path("teachers") + ids));

  const auto audit = Run("attack --base " + Path("teachers") + " --candidate " + Path("copy") +
                         " --forget " + Path("wish.json") + " --control " + Path("ids.json") +
                         " --attack loss --attack greedy_extraction@int8 --attack logit_lens");
  EXPECT_GE(audit.size(), 3U);
}

TEST_F(EnsembleCommandTest, WhoTrainsAShardAloneIsToldThatTheEnsembleWaits) {
  Run(Train("teachers", "--ensemble"));
  const std::string before =
      Run("score --model " + Path("teachers") + " --ids " + Path("ids.json"))[0].dump();
  Run("corpus erase " + Corpus() + "--document d-4 --document d-20 --document d-9 --document d-30");
  const Ran alone = Try(Train("teachers", "--shard 0"));
  EXPECT_EQ(alone.code, 0) << alone.out;
  const Ran both = Try(Train("teachers", "--shard 1"));
  EXPECT_EQ(both.code, 0) << both.out;
  EXPECT_THAT(alone.out + both.out, HasSubstr("\"ensemble\""));
  const Ran asked = Try(Train("other", "--shard 0 --ensemble"));
  EXPECT_EQ(asked.code, 4) << asked.out;
  EXPECT_THAT(asked.out, HasSubstr("TEACHER_STALE"));
}

TEST_F(EnsembleCommandTest, WhatWouldChangeItSaysWhatToDoInstead) {
  Run(Train("teachers", "--ensemble"));
  for (const std::string& command :
       {"unlearn --model " + Path("teachers") + " --forget " + Path("wish.json") + " --out " +
            Path("out"),
        "prepare --model " + Path("teachers") + " --holdout " + Path("ids.json"),
        "train --model " + Path("teachers") + " --corpus " + Path("ids.json") + " --out " +
            Path("out")}) {
    const Ran ran = Try(command);
    EXPECT_EQ(ran.code, 3) << ran.out;
    EXPECT_THAT(ran.out, HasSubstr("MODEL_IS_ENSEMBLE"));
    EXPECT_THAT(ran.out, HasSubstr("teachers train --ensemble"));
  }
}

// Teachers that came as folders with a manifest teach a student that never was in this corpus.
TEST_F(EnsembleCommandTest, TeachersOfOnesOwnTeachByTheirManifest) {
  const std::vector<Json> own = Run(Train("own"));
  Run(Train("student", "--seed 5"));
  const std::string student = Path("student") + "/shard-0/model";
  Json documents = Json::array();
  for (int i = 0; i < 40; i += 3) documents.push_back("d-" + std::to_string(i));
  const auto teachers = [&](const Json& first) {
    return Json{{"teachers",
                 {{{"folder", own[0]["model"]}, {"saw", first}},
                  {{"folder", own[1]["model"]}, {"saw", {{"documents", documents}}}}}}}
        .dump();
  };
  const std::string manifest = Path("teachers.json");
  Write("teachers.json", teachers({{"documents", {"d-4", "d-5"}}}));
  const auto saw = Run("teachers saw " + Corpus() + "--model " + student + " --forget " +
                       Path("wish.json") + " --manifest " + manifest);
  ASSERT_EQ(saw.size(), 2U);
  EXPECT_THAT(saw[0]["saw"], ElementsAre(0));
  EXPECT_EQ(saw[1]["saw"].size(), 0U);

  const std::string unlearn = "unlearn --method leave_one_out --model " + student + " --forget " +
                              Path("wish.json") +
                              " --preset paper --set max_steps=3 --teachers-manifest " + manifest;
  const Ran done = Try(unlearn + " " + Corpus() + "--out " + Path("out"));
  EXPECT_EQ(done.code, 0) << done.out;
  const Json last = Lines(done.out).back();
  EXPECT_THAT(last["teachers"][0]["left_out_of"], ElementsAre(0));
  EXPECT_EQ(last["teachers"][1]["left_out_of"].size(), 0U);

  Write("teachers.json", teachers({{"documents", {"d-4", "d-777"}}}));
  const Ran contradicts = Try(unlearn + " " + Corpus() + "--out " + Path("out2"));
  EXPECT_EQ(contradicts.code, 3);
  EXPECT_THAT(contradicts.out, HasSubstr("teacher 0: document 1 of what it saw"));
  EXPECT_THAT(contradicts.out, HasSubstr("DOCUMENT_UNKNOWN"));
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out2"));
  EXPECT_EQ(Try(unlearn + " --out " + Path("out2")).code, 2);  // without the corpus
  EXPECT_EQ(Try("unlearn --method leave_one_out --model " + student + " --forget " +
                Path("wish.json") + " " + Corpus() + "--out " + Path("out2"))
                .code,
            2);  // without teachers
}

}  // namespace
}  // namespace lethe
