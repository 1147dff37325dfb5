// `lethe-engine` as torchrun starts it: two processes on loopback give the losses of one, one of
// them writes, and what goes wrong in one ends both.
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <cmath>
#include <fstream>
#include <sstream>

#include "tests/engine/cli/tool.h"
#include "tests/engine/train/ranks_harness.h"
#include "tests/support/temp_folder.h"

extern char** environ;

namespace lethe {
namespace {

namespace fs = std::filesystem;

std::string Content(const fs::path& file) {
  std::ostringstream content;
  content << std::ifstream(file).rdbuf();
  return content.str();
}

// A `lethe-engine` process; its output goes to files.
class EngineProcess {
 public:
  EngineProcess(const std::string& arguments, std::vector<std::string> variables,
                const fs::path& output)
      : out_(output.string() + ".out"), err_(output.string() + ".err") {
    // exec: the process is the engine itself, so that a kill reaches it.
    const std::string command = std::string("exec ") + LETHE_ENGINE_BINARY + " " + arguments +
                                " >" + out_.string() + " 2>" + err_.string();
    const char* argv[] = {"sh", "-c", command.c_str(), nullptr};
    for (char** v = environ; *v != nullptr; ++v) variables.emplace_back(*v);
    std::vector<char*> env;
    for (std::string& v : variables) env.push_back(v.data());
    env.push_back(nullptr);
    EXPECT_EQ(posix_spawn(&pid_, "/bin/sh", nullptr, nullptr, const_cast<char**>(argv), env.data()),
              0);
  }
  Ran Wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    return {.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1, .out = Content(out_)};
  }
  std::string Errors() const { return Content(err_); }
  const fs::path& out() const { return out_; }
  pid_t pid() const { return pid_; }

 private:
  const fs::path out_, err_;
  pid_t pid_ = -1;
};

class RanksCommand : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(RunTool("--output json synth --seed 3 --out " + Path("c")).code, 0);
    const Ran trained = RunTool("--threads 1 --output json " + Train() + " --out " + Path("m"));
    ASSERT_EQ(trained.code, 0) << trained.out;
    alone_ = Lines(trained.out)[0];
  }

  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  std::string Train(const std::string& corpus = "corpus.jsonl") const {
    return "train --corpus " + Path("c/" + corpus) +
           " --vocab-size 400 --context 256 --hidden 64 --layers 1 --steps 8 --batch-tokens 1024";
  }
  std::string Unlearn(const std::string& more) const {
    return "--threads 1 --output json unlearn --model " + Path("m") + " --forget " +
           Path("c/forget.jsonl") + " --retain " + Path("c/retain.jsonl") + " " + more;
  }

  // Two calls make a run; each run has words of its own in the store.
  EngineProcess Start(int rank, const std::string& arguments) {
    const int start = starts_++;
    return EngineProcess(
        arguments,
        {"WORLD_SIZE=2", "RANK=" + std::to_string(rank), "LOCAL_WORLD_SIZE=2",
         "MASTER_ADDR=127.0.0.1", "MASTER_PORT=" + std::to_string(store_.port()),
         "TORCHELASTIC_USE_AGENT_STORE=True",
         "TORCHELASTIC_RESTART_COUNT=" + std::to_string(start / 2), "GLOO_SOCKET_IFNAME=lo"},
        folder_ / ("process" + std::to_string(start)));
  }

  const TempFolder folder_;
  const ServedStore store_;
  nlohmann::ordered_json alone_;
  int starts_ = 0;
};

TEST_F(RanksCommand, TwoProcessesGiveTheLossesOfOne) {
  EngineProcess first = Start(0, "--threads 1 --output json " + Train() + " --out " + Path("two"));
  EngineProcess second = Start(1, "--threads 1 --output json " + Train() + " --out " + Path("two"));
  const Ran trained = first.Wait(), silent = second.Wait();
  ASSERT_EQ(trained.code, 0) << first.Errors();
  ASSERT_EQ(silent.code, 0) << second.Errors();
  EXPECT_EQ(silent.out, "") << "rank 0 alone speaks";
  const auto two = Lines(trained.out)[0];
  for (const char* loss : {"first_loss", "last_loss"}) {
    const double expected = alone_[loss].get<double>();
    EXPECT_NEAR(two[loss].get<double>(), expected, 1e-6 * expected) << loss;
  }
  EXPECT_EQ(nlohmann::json::parse(Content(folder_ / "two/lethe.json"))["ranks"], 2);

  const std::string ascent = "--preset paper --set max_steps=6 --out ";
  const Ran one = RunTool(Unlearn(ascent + Path("u1")));
  EngineProcess left = Start(0, Unlearn(ascent + Path("u2")));
  EngineProcess right = Start(1, Unlearn(ascent + Path("u2")));
  const Ran both = left.Wait();
  ASSERT_EQ(right.Wait().code, 0) << right.Errors();
  ASSERT_EQ(both.code, 0) << left.Errors();
  const auto expected = Lines(one.out), got = Lines(both.out);
  ASSERT_EQ(got.size(), 7U);
  for (size_t step = 0; step < 6; ++step) {
    const double loss = expected[step]["loss"].get<double>();
    EXPECT_NEAR(got[step]["loss"].get<double>(), loss, 1e-6 * std::abs(loss)) << "step " << step;
    EXPECT_EQ(got[step]["ma"], expected[step]["ma"]);
  }
}

// The bounded preset steers by what it measures: it must end, and well, with two as with one.
TEST_F(RanksCommand, TheBoundedPresetRunsToItsEnd) {
  const std::string arguments =
      Unlearn("--holdout " + Path("c/holdout.jsonl") + " --set max_steps=10 --out " + Path("u"));
  EngineProcess first = Start(0, arguments), second = Start(1, arguments);
  const Ran done = first.Wait();
  EXPECT_EQ(second.Wait().code, 0) << second.Errors();
  ASSERT_EQ(done.code, 0) << first.Errors();
  EXPECT_TRUE(Lines(done.out).back().contains("stop_reason"));
  EXPECT_TRUE(fs::exists(folder_ / "u/lethe.json"));
}

TEST_F(RanksCommand, WhatIsRefusedInOneEndsBoth) {
  EngineProcess first = Start(0, Unlearn("--preset paper --out " + Path("u")));
  EngineProcess second = Start(1, Unlearn("--preset paper --set nonsense=1 --out " + Path("u")));
  EXPECT_EQ(first.Wait().code, 3);
  EXPECT_EQ(second.Wait().code, 3);
  EXPECT_NE(second.Errors().find("[BAD_PARAMETER]"), std::string::npos) << second.Errors();
  EXPECT_NE(first.Errors().find("rank 1"), std::string::npos) << first.Errors();
  EXPECT_FALSE(fs::exists(folder_ / "u"));
}

TEST_F(RanksCommand, OtherInputInOneIsFound) {
  const std::string ascent = Unlearn("--preset paper --out " + Path("u"));
  const std::pair<std::string, std::string> differences[] = {
      {"--seed 1 " + ascent, "--seed 2 " + ascent},
      {ascent + " --set learning_rate=1e-8", ascent + " --set learning_rate=2e-8"}};
  for (const auto& [left, right] : differences) {
    EngineProcess first = Start(0, left), second = Start(1, right);
    EXPECT_EQ(first.Wait().code, 3);
    EXPECT_EQ(second.Wait().code, 3);
    EXPECT_NE(first.Errors().find("[RANKS_DIFFER]"), std::string::npos) << first.Errors();
    EXPECT_FALSE(fs::exists(folder_ / "u"));
  }
}

TEST_F(RanksCommand, AKilledRankEndsTheOtherAndNothingIsWritten) {
  const std::string arguments =
      Unlearn("--preset paper --set max_steps=100000 --set learning_rate=1e-7 --out " + Path("u"));
  EngineProcess first = Start(0, arguments), second = Start(1, arguments);
  while (Content(first.out()).find("\"step\":2") == std::string::npos) {  // both are at work
    ASSERT_EQ(waitpid(first.pid(), nullptr, WNOHANG), 0) << first.Errors();
    std::this_thread::yield();
  }
  kill(second.pid(), SIGKILL);
  EXPECT_EQ(second.Wait().code, -1);
  EXPECT_EQ(first.Wait().code, 4);
  EXPECT_NE(first.Errors().find("[RANK_LOST]"), std::string::npos) << first.Errors();
  EXPECT_FALSE(fs::exists(folder_ / "u"));
}

}  // namespace
}  // namespace lethe
