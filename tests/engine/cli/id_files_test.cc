// `lethe-engine score|generate|extract|unlearn --ids FILE --output json`: what scripts read, each
// figure worked out again from what another command prints; and files that are wrong.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <map>
#include <random>
#include <set>

#include "tests/engine/cli/tool.h"
#include "tests/support/testdata.h"

namespace lethe {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Ids = std::vector<int32_t>;

constexpr int kContext = 64;

class IdFiles : public testing::Test {
 protected:
  // A small model with a vocabulary of 300, trained for a moment: its choices are not all the same.
  static void SetUpTestSuite() {
    folder_ = fs::path(testing::TempDir()) / ("id-files-" + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
    std::ofstream corpus(folder_ / "corpus.jsonl");
    for (int i = 0; i < 80; ++i) {
      corpus << R"({"text": "person )" << i << " lives in town " << i * 37 % 91 << ", house "
             << i * 53 % 17 << "\"}\n";
    }
    corpus.close();
    const Ran trained =
        RunTool("train --threads 1 --corpus " + Path("corpus.jsonl") + " --out " + Path("model") +
                " --vocab-size 300 --context " + std::to_string(kContext) +
                " --hidden 64 --layers 1 --steps 40 --batch-tokens 256 2>&1");
    ASSERT_EQ(trained.code, 0) << trained.out;
  }
  static void TearDownTestSuite() { fs::remove_all(folder_); }

  static std::string Path(const std::string& name) { return (folder_ / name).string(); }

  // "COMMAND --model … --ids FILE --output json" with this content in the file.
  static std::string With(const std::string& command, const std::string& content) {
    std::ofstream(folder_ / "ids.json", std::ios::binary) << content;
    return command + " --threads 1 --output json --model " + Path("model") + " --ids " +
           Path("ids.json");
  }
  static std::vector<Json> Run(const std::string& command, const std::vector<Ids>& lists) {
    const Ran ran = RunTool(With(command, Json(lists).dump()));
    EXPECT_EQ(ran.code, 0) << command;
    ExpectNineDigits(ran.out);
    return Lines(ran.out);
  }

  // Of any number outside of strings.
  static void ExpectNineDigits(const std::string& text) {
    bool in_string = false;
    size_t digits = 0;  // that count, of the number that is being read
    for (const char c : text) {
      in_string ^= c == '"';
      if (in_string || (std::isdigit(c) == 0 && c != '.')) {
        EXPECT_LE(digits, 9U) << text;
        digits = 0;
      } else if (c != '.') {
        digits += digits > 0 || c != '0';
      }
    }
  }

  static std::vector<std::string> Fields(const Json& line) {
    std::vector<std::string> fields;
    for (const auto& item : line.items()) fields.push_back(item.key());
    return fields;
  }

  // Of several lengths, not in their order.
  static std::vector<Ids> SomeLists() {
    std::mt19937 random(7);
    std::vector<Ids> lists;
    for (const int length : {9, 2, 24, kContext, 13}) {
      Ids& ids = lists.emplace_back();
      for (int i = 0; i < length; ++i) ids.push_back(static_cast<int32_t>(random() % 280));
    }
    return lists;
  }

  static fs::path folder_;
};
fs::path IdFiles::folder_;

TEST_F(IdFiles, ScoreGivesALogProbabilityAndAChoiceForAllTokensButTheFirst) {
  const std::vector<Ids> lists = SomeLists();
  const std::vector<Json> lines = Run("score", lists);
  ASSERT_EQ(lines.size(), lists.size());
  for (size_t i = 0; i < lists.size(); ++i) {
    EXPECT_EQ(Fields(lines[i]), (std::vector<std::string>{"nll", "log_probs", "argmax"}));
    ASSERT_EQ(lines[i]["log_probs"].size(), lists[i].size() - 1);
    ASSERT_EQ(lines[i]["argmax"].size(), lists[i].size() - 1);
    double nats = 0;
    for (const double log_prob : lines[i]["log_probs"]) {
      EXPECT_LT(log_prob, 0);
      nats -= log_prob;
    }
    EXPECT_NEAR(lines[i]["nll"].get<double>(), nats, 1e-6 * nats);
  }
}

TEST_F(IdFiles, GenerateSaysWhatScoreCallsTheFirstChoice) {
  std::vector<Ids> prompts = SomeLists();
  prompts.erase(prompts.begin() + 3);  // it fills the context
  prompts.push_back({5});
  const std::vector<Json> said = Run("generate --max-new-tokens 7", prompts);
  ASSERT_EQ(said.size(), prompts.size());
  std::vector<Ids> whole = prompts;
  for (size_t i = 0; i < said.size(); ++i) {
    EXPECT_EQ(Fields(said[i]), (std::vector<std::string>{"ids"}));
    ASSERT_EQ(said[i]["ids"].size(), 7U);
    for (const int32_t id : said[i]["ids"]) whole[i].push_back(id);
  }
  const std::vector<Json> scored = Run("score", whole);
  for (size_t i = 0; i < whole.size(); ++i) {
    for (size_t t = prompts[i].size(); t < whole[i].size(); ++t) {
      EXPECT_EQ(scored[i]["argmax"][t - 1], whole[i][t]) << "sequence " << i << " token " << t;
    }
  }
}

// What the beams say is never less likely than what greedy choice says, by score's figures.
TEST_F(IdFiles, GenerateWithBeamsFindsWhatScoreCallsLikelier) {
  const std::vector<Ids> prompts = {{7, 30, 111}, {5}, {200, 12, 9, 44, 3, 8}};
  const auto log_prob = [&](const std::vector<Json>& said) {
    std::vector<Ids> whole = prompts;
    for (size_t i = 0; i < said.size(); ++i) {
      for (const int32_t id : said[i]["ids"]) whole[i].push_back(id);
    }
    const std::vector<Json> scored = Run("score", whole);
    std::vector<double> sums;
    for (size_t i = 0; i < whole.size(); ++i) {
      double& sum = sums.emplace_back(0);
      for (size_t t = prompts[i].size(); t < whole[i].size(); ++t) {
        sum += scored[i]["log_probs"][t - 1].get<double>();
      }
    }
    return sums;
  };
  const auto greedy = log_prob(Run("generate --max-new-tokens 9", prompts));
  const std::vector<Json> found = Run("generate --beams 8 --max-new-tokens 9", prompts);
  const auto beams = log_prob(found);
  double gain = 0;
  for (size_t i = 0; i < prompts.size(); ++i) {
    ASSERT_EQ(found[i]["ids"].size(), 9U);
    EXPECT_GE(beams[i], greedy[i] - 1e-4);
    gain += beams[i] - greedy[i];
  }
  EXPECT_GT(gain, 1e-3);
  // It ends before a token of its own, where that is named.
  const int32_t stop = found[0]["ids"][4];
  const std::string command = "generate --beams 8 --max-new-tokens 9 --stop-id ";
  for (const Json& line : Run(command + std::to_string(stop), prompts)) {
    for (const int32_t id : line["ids"]) EXPECT_NE(id, stop);
  }
  EXPECT_EQ(RunTool(With("generate --beams 2 --temperature 1", "[[3, 4]]") + " 2>/dev/null").code,
            2);
}

// MA from score's choices and EL_n from generate's continuations of every prefix, as Jang et al.
// define them.
TEST_F(IdFiles, ExtractIsTheDefinitionOnTopOfScoreAndGenerate) {
  std::vector<Ids> lists = SomeLists();
  lists[3].resize(30);  // a continuation of its first half has to fit the context
  // What the model says by itself, so that some n-grams do come out.
  const Json said = Run("generate --max-new-tokens 20", {lists[0]})[0];
  for (const int32_t id : said["ids"]) lists[0].push_back(id);
  const std::vector<Json> lines = Run("extract --n 3,5,10", lists), scored = Run("score", lists);
  ASSERT_EQ(lines.size(), lists.size());
  bool something = false;
  for (size_t s = 0; s < lists.size(); ++s) {
    SCOPED_TRACE("sequence " + std::to_string(s));
    const Ids& x = lists[s];
    const size_t length = x.size();
    EXPECT_EQ(Fields(lines[s]),
              (std::vector<std::string>{"ma", "el", "rollouts", "forward_tokens", "ties"}));
    size_t hits = 0;
    for (size_t t = 1; t < length; ++t) hits += scored[s]["argmax"][t - 1] == x[t];
    EXPECT_NEAR(lines[s]["ma"].get<double>(),
                static_cast<double>(hits) / static_cast<double>(length - 1), 1e-8);
    EXPECT_LE(lines[s]["rollouts"].get<size_t>(), length - 1 - hits);
    EXPECT_GE(lines[s]["forward_tokens"].get<size_t>(), length);

    std::vector<Ids> prefixes;
    for (size_t i = 1; i < length; ++i) prefixes.emplace_back(x.begin(), x.begin() + i);
    const std::vector<Json> continued =
        Run("generate --max-new-tokens " + std::to_string(length - 1), prefixes);
    for (const size_t n : {3, 5, 10}) {
      if (length < n + 1) {
        EXPECT_FALSE(lines[s]["el"].contains(std::to_string(n)));
        continue;
      }
      double sum = 0;
      for (size_t i = 1; i + n <= length; ++i) {
        const auto grams = [&](const Ids& text) {
          std::vector<Ids> all;
          for (size_t t = 0; t + n <= text.size(); ++t) {
            all.emplace_back(text.begin() + t, text.begin() + t + n);
          }
          return all;
        };
        Ids z = continued[i - 1]["ids"].get<Ids>();
        z.resize(length - i);
        const std::vector<Ids> wanted = grams({x.begin() + i, x.end()});
        const std::set<Ids> known(wanted.begin(), wanted.end());
        double found = 0;
        for (const Ids& gram : grams(z)) found += static_cast<double>(known.count(gram));
        sum += found / static_cast<double>(wanted.size());
      }
      const double el = sum / static_cast<double>(length - n);
      EXPECT_NEAR(lines[s]["el"][std::to_string(n)].get<double>(), el, 1e-8) << "n " << n;
      something |= el > 0;
    }
  }
  EXPECT_TRUE(something);
}

TEST_F(IdFiles, UnlearnPrintsALineAStepAndTheReasonLast) {
  std::vector<Ids> lists = SomeLists();
  lists.resize(3);
  double nats = 0, tokens = 0;
  for (const Json& line : Run("score", lists)) {
    nats += line["nll"].get<double>();
    tokens += static_cast<double>(line["log_probs"].size());
  }
  const std::string unlearn =
      "unlearn --method gradient_ascent --preset paper --set max_steps=4 --set chunk_size=2 "
      "--out " +
      Path("forgotten");
  const std::vector<Json> lines = Run(unlearn, lists);
  ASSERT_EQ(lines.size(), 2 * 4 + 1U);  // two chunks of at most two sequences
  for (size_t i = 0; i + 1 < lines.size(); ++i) {
    std::vector<std::string> fields = Fields(lines[i]);
    ASSERT_GE(fields.size(), 5U);
    fields.resize(5);
    EXPECT_EQ(fields, (std::vector<std::string>{"step", "loss", "grad_norm", "ma", "el"}));
    EXPECT_EQ(lines[i]["step"], i + 1);
    EXPECT_GT(lines[i]["grad_norm"].get<double>(), 0);
  }
  EXPECT_FALSE(lines.back().contains("step"));
  EXPECT_EQ(lines.back()["stop_reason"], "max_steps");
  EXPECT_EQ(lines.back()["steps"], 8);
  EXPECT_TRUE(fs::exists(folder_ / "forgotten/model.safetensors"));
  // Over all of them at once, the first loss is minus the mean over the tokens that score knows.
  const std::vector<Json> whole =
      Run("unlearn --preset paper --set max_steps=1 --out " + Path("at-once"), lists);
  EXPECT_NEAR(whole[0]["loss"].get<double>(), -nats / tokens, 1e-5 * nats / tokens);
}

// Teachers with the model's own tokenizer, the first of which saw list 1; what the run says of them.
TEST_F(IdFiles, UnlearnTakesTeachersAndWhatTheySaw) {
  std::vector<Ids> lists = SomeLists();
  lists.resize(2);
  for (const std::string name : {"teacher-1", "teacher-2"}) {
    const Ran trained = RunTool(
        "train --threads 1 --seed " + name.substr(8) + " --corpus " + Path("corpus.jsonl") +
        " --tokenizer " + Path("model/tokenizer.json") + " --out " + Path(name) + " --context " +
        std::to_string(kContext) + " --hidden 64 --layers 1 --steps 5 --batch-tokens 256 2>&1");
    ASSERT_EQ(trained.code, 0) << trained.out;
  }
  const std::string unlearn =
      "unlearn --method leave_one_out --preset paper --set max_steps=2 --set kl_bound=0 "
      "--teacher " +
      Path("teacher-2") + " --out " + Path("distilled");
  const std::vector<Json> lines = Run(unlearn + " --teacher " + Path("teacher-1") + "=1", lists);
  ASSERT_EQ(lines.size(), 3U);
  EXPECT_GT(lines[0]["kl"].get<double>(), lines[1]["kl"].get<double>());
  EXPECT_EQ(lines[2]["teachers"][0]["left_out_of"], Json::array());
  EXPECT_EQ(lines[2]["teachers"][1]["left_out_of"], Json({1}));
  EXPECT_NEAR(lines[2]["figures"]["kl_after"].get<double>(), lines[1]["kl"].get<double>(), 1e-6);
  for (const auto& [saw, reason] :
       std::map<std::string, std::string>{{"=", "BAD_TEACHER"},
                                          {"=1,", "BAD_TEACHER"},
                                          {"=-1", "BAD_TEACHER"},
                                          {"=1x", "BAD_TEACHER"},
                                          {"=9999999999", "BAD_TEACHER"},
                                          {"=2", "TEACHER_SAW_UNKNOWN"}}) {
    const Ran ran = RunTool(With("unlearn --method leave_one_out --preset paper --out " +
                                     Path("refused") + " --teacher " + Path("teacher-1") + saw,
                                 Json(lists).dump()) +
                            " 2>&1");
    EXPECT_NE(ran.code, 0) << saw;
    EXPECT_NE(ran.out.find(reason), std::string::npos) << saw << ": " << ran.out;
    EXPECT_FALSE(fs::exists(folder_ / "refused"));
  }
}

struct BadFile {
  const char* content;
  const char* reason;
  const char* place;  // part of the message
};

TEST_F(IdFiles, WhatIsWrongAndWhere) {
  const BadFile files[] = {
      {"", "NOTHING_TO", "given"},
      {" \n\n", "NOTHING_TO", "given"},
      {"[]", "NOTHING_TO", "given"},
      {"[[]]", "TARGET_EMPTY", "sequence 0"},
      {"[[3, 4], []]", "TARGET_EMPTY", "sequence 1"},
      {"[[3, 4], [5, 99999]]", "TOKEN_OUT_OF_VOCABULARY", "sequence 1"},
      {"[3, 4]", "LINE_MALFORMED", "element 0"},
      {"[[3, 4], {}]", "LINE_MALFORMED", "element 1"},
      {"[[3, 4], [5, 6], null]", "LINE_MALFORMED", "element 2"},
      {"[\"77777\"]", "LINE_MALFORMED", "element 0"},
      {"[[3, \"77777\"]]", "LINE_MALFORMED", "entry 1 of list 0"},
      {"[[3, 4], [5, 6, 1.5]]", "LINE_MALFORMED", "entry 2 of list 1"},
      {"[[3, -77777]]", "LINE_MALFORMED", "entry 1 of list 0"},
      {"[[3, 2147483648]]", "LINE_MALFORMED", "entry 1 of list 0"},
      {"[[18446744073709551616, 3]]", "LINE_MALFORMED", "entry 0 of list 0"},
      {"[[3, true]]", "LINE_MALFORMED", "entry 1 of list 0"},
      {"[[3, [4]]]", "LINE_MALFORMED", "entry 1 of list 0"},
      {"[[3, 4],\n [5, 6]", "LINE_MALFORMED", "ids.json:2: it is not JSON at byte 17"},
      {"[[3, 4]] 77777", "LINE_MALFORMED", "ids.json:1: it is not JSON at byte"},
      {"[[3, 04]]", "LINE_MALFORMED", "ids.json:1: it is not JSON at byte"},
      {"[[3, 4\xff]]", "LINE_MALFORMED", "ids.json:1: it is not JSON at byte"},
      {"{\"ids\": [3, 4]}\n{\"ids\": [3, \"77777\"]}\n", "LINE_MALFORMED", "ids.json:2: "},
      {"{\"ids\": [3, 4]}\n77777\n", "LINE_MALFORMED", "ids.json:2: "},
      {"\x89PNG\r\n\x1a\n 77777", "LINE_MALFORMED", "ids.json:1: "},
  };
  const std::pair<std::string, std::string> commands[] = {
      {"score", ""},
      {"generate", " --max-new-tokens 5"},
      {"extract", ""},
      {"unlearn", " --preset paper --set max_steps=1 --out " + Path("never")}};
  for (const auto& [command, rest] : commands) {
    // All commands read with one function: the first gets every file, the others one in four.
    for (size_t i = 0; i < std::size(files); i += command == "score" ? 1 : 4) {
      const BadFile& file = files[i];
      SCOPED_TRACE(command + " " + file.content);
      const Ran ran = RunTool(With(command + rest, file.content) + " 2>&1");
      EXPECT_EQ(ran.code, 3) << ran.out;
      EXPECT_NE(ran.out.find(std::string("[") + file.reason), std::string::npos) << ran.out;
      EXPECT_NE(ran.out.find(file.place), std::string::npos) << ran.out;
      EXPECT_EQ(ran.out.find("77777"), std::string::npos) << "it quotes the file: " << ran.out;
      EXPECT_EQ(std::count(ran.out.begin(), ran.out.end(), '\n'), 1) << ran.out;
    }
    const std::string longer = Json(std::vector<Ids>{Ids(kContext + 1, 3)}).dump();
    const Ran ran = RunTool(With(command + rest, longer) + " 2>&1");
    EXPECT_EQ(ran.code, 3);
    EXPECT_NE(ran.out.find("[TARGET_TOO_LONG]"), std::string::npos) << ran.out;
  }
  EXPECT_FALSE(fs::exists(folder_ / "never"));
}

TEST_F(IdFiles, FilesThatCannotBeRead) {
  const std::string model = " --output json --model " + Path("model") + " --ids ";
  EXPECT_EQ(RunTool("score" + model + Path("no-such-file") + " 2>/dev/null").code, 3);
  EXPECT_NE(RunTool("score" + model + folder_.string() + " 2>/dev/null").code, 0);
  EXPECT_EQ(RunTool("extract --n 0" + model + Path("ids.json") + " 2>/dev/null").code, 2);
  EXPECT_EQ(RunTool("extract --n 3,x" + model + Path("ids.json") + " 2>/dev/null").code, 2);
  EXPECT_EQ(RunTool("generate --max-new-tokens 0" + model + Path("ids.json") + " 2>/dev/null").code,
            2);
  const Ran refused = RunTool(With("generate --max-new-tokens 63", "[[3, 4]]") + " 2>&1");
  EXPECT_EQ(refused.code, 3);
  EXPECT_NE(refused.out.find("[TARGET_TOO_LONG]"), std::string::npos) << refused.out;
}

}  // namespace
}  // namespace lethe
