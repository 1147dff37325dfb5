// `lethe-engine` as a script sees it: exit codes, messages, JSON lines.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/engine/cli/tool.h"
#include "tests/support/testdata.h"

namespace lethe {
namespace {

TEST(Command, ExitCodes) {
  EXPECT_EQ(RunTool("--help").code, 0);
  EXPECT_NE(RunTool("--help").out.find("Examples:"), std::string::npos);
  EXPECT_EQ(RunTool("").code, 2);
  EXPECT_EQ(RunTool("wish").code, 2);
  EXPECT_EQ(RunTool("train --corpus x").code, 2);
  EXPECT_EQ(RunTool("--output xml synth --out x").code, 2);
  const Ran refused = RunTool("eval --model /nowhere --data /nowhere.json 2>&1");
  EXPECT_EQ(refused.code, 3) << refused.out;
  EXPECT_NE(refused.out.find("["), std::string::npos) << "a refusal names its reason";
  EXPECT_EQ(RunTool("--device cuda:77 synth --out /tmp/x").code == 0, false);
}

// From nothing to a forgotten record with the commands of the help text, at a size that takes
// seconds.
TEST(Command, TheWholeWay) {
  const std::string f = FreshFolder().string();
  const std::string threads = "--threads 1 --output json ";
  ASSERT_EQ(RunTool(threads + "synth --seed 3 --out " + f + "/c").code, 0);
  const Ran trained = RunTool(
      threads + "train --corpus " + f + "/c/corpus.jsonl --out " + f +
      "/m --vocab-size 400 --context 256 --hidden 64 --layers 1 --steps 12 --batch-tokens 512");
  ASSERT_EQ(trained.code, 0) << trained.out;
  EXPECT_EQ(Lines(trained.out)[0]["steps"], 12);
  const Ran prepared = RunTool(threads + "prepare --model " + f + "/m --holdout " + f +
                               "/c/holdout.jsonl > " + f + "/t.json");
  ASSERT_EQ(prepared.code, 0) << prepared.out;

  const std::string unlearn = threads + "unlearn --model " + f + "/m --forget " + f +
                              "/c/forget.jsonl --preset paper --set max_steps=2";
  const Ran first = RunTool(unlearn + " --out " + f + "/u");
  ASSERT_EQ(first.code, 0) << first.out;
  const auto lines = Lines(first.out);
  ASSERT_EQ(lines.size(), 3U);
  for (const char* field : {"step", "loss", "grad_norm", "ma", "el"})
    EXPECT_TRUE(lines[0].contains(field)) << field;
  EXPECT_EQ(lines[2]["stop_reason"], "max_steps");
  const Ran again = RunTool(unlearn + " --out " + f + "/u 2>&1");
  EXPECT_EQ(again.code, 3);
  EXPECT_NE(again.out.find("OUT_FOLDER_EXISTS"), std::string::npos) << again.out;

  const Ran attacked =
      RunTool(threads + "attack --base " + f + "/m --candidate " + f + "/u --forget " + f +
              "/c/forget.jsonl --control " + f + "/c/holdout.jsonl --attack loss --attack min_k");
  ASSERT_EQ(attacked.code, 0) << attacked.out;
  EXPECT_EQ(Lines(attacked.out)[0]["attack"], "loss");
  EXPECT_EQ(Lines(attacked.out)[0]["forgotten"]["before"].size(), 3U);

  // The costs come first; a second call takes what the first has kept.
  const std::string audit = threads + "audit --base " + f + "/m --candidate " + f + "/u --forget " +
                            f + "/c/forget.jsonl --control " + f +
                            "/c/holdout.jsonl --text retain=" + f +
                            "/c/retain.jsonl --attack loss --attack min_k@int4 --attack "
                            "extraction_likelihood ";
  const auto costs = Lines(RunTool(audit + "--costs-only").out);
  ASSERT_EQ(costs.size(), 1U);
  ASSERT_EQ(costs[0]["plan"].size(), 3U);
  const int64_t all = costs[0]["expected_forward_tokens"];
  const std::string rest =
      "--resume " + f + "/kept --max-forward-tokens " + std::to_string(all - 1);
  // A report that the disk did not take is no success; the attacks are kept all the same.
  for (const std::string& in : {audit, "--threads 1 " + audit.substr(threads.size())}) {
    const Ran full = RunTool(in + rest + " 2>&1 > /dev/full");
    EXPECT_EQ(full.code, 4) << full.out;
    EXPECT_NE(full.out.find("No space left on device [DISK_FULL]"), std::string::npos) << full.out;
  }
  std::vector<nlohmann::ordered_json> once;
  for (int i = 0; i < 2; ++i) {
    const Ran audited = RunTool(audit + rest);
    ASSERT_EQ(audited.code, 0) << audited.out;
    const auto lines = Lines(audited.out);
    ASSERT_EQ(lines.size(), 11U) << audited.out;
    EXPECT_EQ(lines[1]["attack"], "loss");
    EXPECT_EQ(lines[1]["expected_forward_tokens"], costs[0]["plan"][0]["expected_forward_tokens"]);
    EXPECT_GT(lines[1]["forward_tokens"], 0);
    EXPECT_EQ(lines[2]["condition"], "int4");
    EXPECT_EQ(lines[3]["left_out"], "extraction_likelihood");
    EXPECT_EQ(lines[3]["reason"], "BUDGET");
    EXPECT_EQ(lines[4]["text"], "control");
    EXPECT_EQ(lines[6]["condition"], "int4");
    EXPECT_EQ(lines[7]["reference_nll"]["forgotten"].size(), 3U);
    for (int record = 0; record < 3; ++record) {
      EXPECT_EQ(lines[8 + record]["record"], record);
      // The loss attack's score is the likelihood.
      EXPECT_EQ(lines[8 + record]["nll_after"],
                -lines[1]["forgotten"]["after"][record].get<double>());
      EXPECT_FALSE(lines[8 + record].contains("content"));
    }
    if (i == 0) once = lines;
    EXPECT_EQ(lines, once);  // to the second in which it was measured
  }
  // The text only for who asks for it.
  std::ifstream forget(f + "/c/forget.jsonl");
  std::string line;
  std::getline(forget, line);
  const std::string secret = nlohmann::json::parse(line)["text"];
  const auto without_marks = [](std::string text) {
    for (const char* mark : {"»", "«"}) {
      for (size_t at; (at = text.find(mark)) != std::string::npos;) text.erase(at, 2);
    }
    return text;
  };
  EXPECT_EQ(without_marks(Lines(RunTool(audit + rest + " --reveal").out)[8]["content"]), secret);
  EXPECT_EQ(RunTool(audit + rest).out.find(secret), std::string::npos);
  EXPECT_EQ(RunTool(audit + "--plan wish").code, 3);
}

// The formats that scripts rely on, against golden values of the real model.
TEST(Command, ScoreGenerateExtractGiveTheGoldenValues) {
  LETHE_TESTDATA_OR_SKIP(const std::filesystem::path model, "models/stories260k");
  std::ifstream in(model / "golden.json");
  const auto golden = nlohmann::json::parse(in);
  const auto folder = FreshFolder();
  const auto file = [&](const char* name, const nlohmann::json& lists) {
    std::ofstream(folder / name) << lists.dump();
    return " --output json --threads 1 --model " + model.string() + " --ids " +
           (folder / name).string();
  };
  const auto scored =
      Lines(RunTool("score" + file("plain.json", golden["plain"]["input_ids"])).out);
  ASSERT_EQ(scored.size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    double nll = 0;
    for (size_t t = 0; t < scored[i]["log_probs"].size(); ++t) {
      EXPECT_NEAR(scored[i]["log_probs"][t].get<double>(),
                  golden["plain"]["log_probs"][i][t].get<double>(), 1e-4);
      nll -= golden["plain"]["log_probs"][i][t].get<double>();
    }
    EXPECT_NEAR(scored[i]["nll"].get<double>(), nll, 1e-3);
  }
  const auto said =
      Lines(RunTool("generate --max-new-tokens 20" +
                    file("prompt.json", nlohmann::json::array({golden["greedy"]["prompt"]})))
                .out);
  EXPECT_EQ(said[0]["ids"], golden["greedy"]["continuation"]);
  const auto& memorised = golden["memorisation"][0];
  const auto extracted =
      Lines(RunTool("extract --n 3,5,10" +
                    file("mem.json", nlohmann::json::array({memorised["input_ids"]})))
                .out);
  EXPECT_NEAR(extracted[0]["ma"].get<double>(), memorised["MA"].get<double>(), 1e-6);
  for (const char* n : {"3", "5", "10"}) {
    EXPECT_NEAR(extracted[0]["el"][n].get<double>(),
                memorised[std::string("EL_") + n].get<double>(), 1e-6);
  }
  EXPECT_EQ(RunTool("score" + file("bad.json", nlohmann::json::parse("[[1,512]]"))).code, 3);
  EXPECT_EQ(RunTool("score" + file("worse.json", nlohmann::json::parse("[[1,\"a\"]]"))).code, 3);
}

}  // namespace
}  // namespace lethe
