// lethe-engine corpus: from lines to a corpus and back out of it, as scripts and people see it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/engine/cli/tool.h"
#include "tests/support/temp_folder.h"

namespace lethe {
namespace {

using Json = nlohmann::ordered_json;
using testing::HasSubstr;

class CorpusCommandTest : public testing::Test {
 protected:
  void SetUp() override {
    Write("key", std::string(64, 'a') + "\n");
    std::string lines;
    for (int i = 0; i < 40; ++i) {
      lines += R"({"ids": [1, 2, 3, 4, 5, 6, 7, )" + std::to_string(10 + i % 38) +
               R"(], "subject": "person-)" + std::to_string(i % 8) + R"(", "document": "d-)" +
               std::to_string(i) + "\"}\n";
    }
    Write("lines.jsonl", lines);
    ASSERT_EQ(Corpus("build", Path("lines.jsonl") + " --vocab-size 100 --shards 4 --slices 2").code,
              0);
  }
  void Write(const std::string& name, const std::string& content) {
    std::ofstream(folder_ / name) << content;
  }
  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  Ran Corpus(const std::string& command, const std::string& arguments = "") {
    return RunTool("--output json corpus " + command + " --corpus " + Path("corpus") + " --key " +
                   Path("key") + " " + arguments + " 2>&1");
  }
  Json Answer(const std::string& command, const std::string& arguments = "") {
    const Ran ran = Corpus(command, arguments);
    EXPECT_EQ(ran.code, 0) << ran.out;
    return Lines(ran.out).at(0);
  }

  TempFolder folder_;
};

TEST_F(CorpusCommandTest, FindsWhatADeletionTouchesErasesItAndIsSound) {
  const Json shown = Answer("show");
  EXPECT_EQ(shown["sequences"], 40);
  EXPECT_EQ(shown["files"].size(), 8u);

  const Json found = Answer("find", "--subject person-1 --near");
  EXPECT_EQ(found["sequences"], Json({1, 9, 17, 25, 33}));
  EXPECT_EQ(found["shards"].size(), 1u);
  EXPECT_EQ(found["tokens"], 40);
  bool equal_one = false;  // line 39 has the ids of line 1
  for (const Json& n : found["near"]) equal_one |= n["sequence"] == 39 && n["equal"] == true;
  EXPECT_TRUE(equal_one);

  Write("targets", "{\"subject\": \"person-1\"}\n{\"document\": \"d-2\"}\n{\"sequence\": 3}\n");
  const Json erased = Answer("erase", "--targets " + Path("targets"));
  EXPECT_EQ(erased["sequences"], Json({1, 2, 3, 9, 17, 25, 33}));
  EXPECT_EQ(Answer("find", "--subject person-1")["absent"], 1);
  EXPECT_EQ(Answer("show")["sequences"], 33);

  Write("late.jsonl", R"({"ids": [1, 2], "subject": "person-1"})");
  EXPECT_EQ(Answer("append", Path("late.jsonl"))["sequences"], 1);
  EXPECT_EQ(Answer("find", "--subject person-1")["sequences"], Json({40}));
  const Json checked = Answer("check");
  EXPECT_EQ(checked["sequences"], 34);
  EXPECT_EQ(checked["findings"], Json::array());
}

TEST_F(CorpusCommandTest, RefusesWithPlaceAndReason) {
  Write("bad.jsonl", "\n{\"ids\": [1, 100], \"subject\": \"person-1\"}\n");
  const Ran ran = Corpus("append", Path("bad.jsonl"));
  EXPECT_EQ(ran.code, 3);
  EXPECT_THAT(ran.out, HasSubstr("/bad.jsonl:2: "));
  EXPECT_THAT(ran.out, HasSubstr("[TOKEN_OUT_OF_VOCABULARY]"));
  EXPECT_THAT(Corpus("find").out, HasSubstr("[TARGETS_MISSING]"));
  EXPECT_THAT(Corpus("build", Path("lines.jsonl") + " --vocab-size 9").out,
              HasSubstr("[CORPUS_EXISTS]"));
  Write("key", std::string(64, 'b'));
  EXPECT_EQ(Corpus("show").code, 3);
  EXPECT_EQ(Corpus("no-such-command").code, 2);
}

TEST_F(CorpusCommandTest, CheckNamesTheDamagedFile) {
  {
    std::fstream file(folder_ / "corpus" / "s001-r000-g1.slice",
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(9);
    file.put('\xaa');
  }
  const Ran ran = Corpus("check");
  EXPECT_EQ(ran.code, 4);
  EXPECT_THAT(ran.out, HasSubstr("s001-r000-g1.slice"));
}

TEST_F(CorpusCommandTest, TablesAreForPeople) {
  const Ran ran = RunTool("corpus find --corpus " + Path("corpus") + " --key " + Path("key") +
                          " --subject person-1 --near");
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.out, HasSubstr("sequences  tokens  shards  slices  absent"));
  EXPECT_THAT(ran.out, HasSubstr("yes"));
  EXPECT_EQ(ran.out.find("person-1"), std::string::npos) << "no key is printed";
}

}  // namespace
}  // namespace lethe
