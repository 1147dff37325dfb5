// Help, models, and the supervisor of `lethe up`.
#include <signal.h>

#include "cli/up/supervisor.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/cli/cli_harness.h"

namespace lethe {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class Commands : public CliHarness {};

// Every command below `app`, as the words that call it.
void Collect(CLI::App* app, std::vector<std::string> words,
             std::vector<std::vector<std::string>>* all) {
  for (CLI::App* command : app->get_subcommands([](const CLI::App*) { return true; })) {
    std::vector<std::string> longer = words;
    longer.push_back(command->get_name());
    if (command->get_subcommands([](const CLI::App*) { return true; }).empty())
      all->push_back(longer);
    Collect(command, longer, all);
  }
}

TEST_F(Commands, EveryCommandHasHelpWithAnExample) {
  std::vector<std::vector<std::string>> commands;
  Cli cli{CliIo{}};
  Collect(cli.root(), {}, &commands);
  EXPECT_GE(commands.size(), 20u);
  for (std::vector<std::string> words : commands) {
    if (words.front() == "admin") continue;  // its help is lethe-admin's
    std::string name;
    for (const std::string& word : words) name += " " + word;
    words.push_back("--help");
    EXPECT_EQ(Lethe(words), 0) << name;
    EXPECT_THAT(out_, HasSubstr("Examples:\n  ")) << name;
    EXPECT_THAT(out_, HasSubstr("lethe" + name)) << name;
  }
  EXPECT_EQ(Lethe({"--help"}), 0);
  EXPECT_THAT(out_, HasSubstr("Exit codes:"));
}

TEST_F(Commands, Version) {
  EXPECT_EQ(Lethe({"version"}), 0);
  EXPECT_THAT(out_, StartsWith("lethe 0."));
}

TEST_F(Commands, RegisterSendsAbsolutePathsAndThePolicy) {
  models_.model.set_model_id("chat");
  const std::string policy = WriteFile(
      "policy.json", "{\"ladder\": [{\"method\": \"gradient_ascent\", \"preset\": \"careful\"}]}");
  EXPECT_EQ(Lethe({"model", "register", "chat", "--source", "models/../m", "--retain", "/r.jsonl",
                   "--holdout", "/h.jsonl", "--other", "wiki=/w.jsonl", "--policy", policy}),
            0)
      << err_;
  EXPECT_EQ(models_.registered.source_path(), (std::filesystem::current_path() / "m").string());
  EXPECT_EQ(models_.registered.other_paths().at("wiki"), "/w.jsonl");
  EXPECT_EQ(models_.registered.policy().ladder(0).preset(), "careful");

  const std::string bad = WriteFile("bad.json", "{\"lader\": []}");
  EXPECT_EQ(Lethe({"model", "register", "chat", "--source", "m", "--retain", "r", "--holdout", "h",
                   "--policy", bad}),
            2);
  EXPECT_THAT(err_, HasSubstr("bad.json"));
  EXPECT_EQ(Lethe({"model", "register", "chat", "--source", "m", "--retain", "r", "--holdout", "h",
                   "--other", "x"}),
            2);
}

TEST_F(Commands, RegisterWaitsForTheWorker) {
  models_.model.set_model_id("chat");
  models_.model.set_state(v1::MODEL_STATE_PREPARING);
  models_.states = {v1::MODEL_STATE_PREPARING, v1::MODEL_STATE_READY};
  const std::vector<std::string> command = {
      "model", "register", "chat", "--source", "m", "--retain", "r", "--holdout", "h", "--wait"};
  EXPECT_EQ(Lethe(command), 0);
  EXPECT_THAT(out_, HasSubstr("state:       READY"));
  models_.model.set_state(v1::MODEL_STATE_PREPARING);
  models_.model.set_failure_reason("MODEL_UNSUPPORTED");
  models_.states = {v1::MODEL_STATE_FAILED};
  EXPECT_EQ(Lethe(command), 1);
  EXPECT_THAT(out_, HasSubstr("FAILED, MODEL_UNSUPPORTED"));
}

TEST_F(Commands, RollbackNamesTheGenerationItHasSeen) {
  models_.model.set_model_id("chat");
  models_.model.set_generation(7);
  EXPECT_EQ(Lethe({"model", "rollback", "chat", "--checkpoint", "c-1", "--reason", "worse"}), 0)
      << err_;
  EXPECT_EQ(models_.rollback.expected_generation(), 7u);
  EXPECT_FALSE(models_.rollback.acknowledge_reexposed());
  EXPECT_EQ(Lethe({"model", "rollback", "chat", "--checkpoint", "c-1", "--reason", "worse",
                   "--generation", "3", "--acknowledge-reexposed"}),
            0);
  EXPECT_EQ(models_.rollback.expected_generation(), 3u);
  EXPECT_TRUE(models_.rollback.acknowledge_reexposed());
  EXPECT_EQ(Lethe({"model", "promote", "chat", "--checkpoint", "c-2", "--reason", "reviewed"}), 0);
  EXPECT_EQ(models_.promote.expected_generation(), 7u);
}

TEST_F(Commands, CheckpointsAreATable) {
  v1::Checkpoint checkpoint;
  checkpoint.set_checkpoint_id("c-1");
  checkpoint.set_state(v1::CHECKPOINT_STATE_PROMOTED);
  checkpoint.set_generation(2);
  checkpoint.set_tickets(3);
  checkpoint.set_folder("chat/checkpoints/c-1");
  models_.checkpoints = {checkpoint};
  checkpoint.set_state(v1::CHECKPOINT_STATE_REJECTED);
  checkpoint.set_generation(0);
  checkpoint.set_folder_removed(true);
  models_.checkpoints.push_back(checkpoint);
  EXPECT_EQ(Lethe({"model", "checkpoints", "chat"}), 0);
  EXPECT_EQ(out_,
            "CHECKPOINT  STATE     GENERATION  TICKETS  CREATED  FOLDER\n"
            "c-1         PROMOTED  2           3                 chat/checkpoints/c-1\n"
            "c-1         REJECTED              3                 removed\n");
}

// --- the supervisor: real children --------------------------------------------------------------

class SupervisorTest : public ::testing::Test {
 protected:
  SupervisorTest() {
    io_.err = &err_;
    io_.random = &random_;
  }
  // Ticks until the event; the supervisor's clock runs a
  // minute a tick, so that pauses pass at once.
  template <typename Event>
  bool TickUntil(Supervisor* supervisor, Event event) {
    const absl::Time give_up = absl::Now() + absl::Seconds(30);
    while (!event()) {
      if (absl::Now() > give_up) return false;
      supervisor->Tick(now_ += absl::Minutes(1));
    }
    return true;
  }
  std::string Log(const std::string& name) { return folder_ / (name + ".log"); }
  std::string Read(const std::string& path) {
    std::ifstream in(path);
    return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }

  TempFolder folder_;
  std::ostringstream err_;
  SeededRandom random_{4};
  CliIo io_;
  absl::Time now_ = absl::Now();
};

TEST_F(SupervisorTest, AProcessThatDiesIsStartedAgain) {
  Supervisor supervisor(&io_);
  ASSERT_TRUE(supervisor.Add({"worker-1", 1, {"/bin/sleep", "1000"}, Log("again")}).ok());
  const pid_t first = supervisor.PidOf("worker-1");
  ASSERT_GT(first, 0);
  kill(first, SIGKILL);
  ASSERT_TRUE(TickUntil(&supervisor, [&] {
    const pid_t pid = supervisor.PidOf("worker-1");
    return pid > 0 && pid != first;
  }));
  EXPECT_THAT(err_.str(), HasSubstr("worker-1 ended with signal 9; starting it again in"));
  supervisor.EndInOrder(absl::Seconds(30));
}

TEST_F(SupervisorTest, TheServerEndsLast) {
  const std::string log = Log("order");
  std::filesystem::remove(log);
  Supervisor supervisor(&io_);
  for (const char* name : {"server", "worker-1", "worker-2"}) {
    const std::string script = std::string("trap 'echo ") + name + " ends; exit 0' TERM; echo " +
                               name + " runs; while :; do sleep 0.01; done";
    ASSERT_TRUE(supervisor.Add({name, name[0] == 'w', {"/bin/sh", "-c", script}, log}).ok());
  }
  ASSERT_TRUE(TickUntil(&supervisor, [&] {
    const std::string text = Read(log);
    return text.find("server runs") != std::string::npos &&
           text.find("worker-1 runs") != std::string::npos &&
           text.find("worker-2 runs") != std::string::npos;
  }));
  supervisor.EndInOrder(absl::Seconds(30));
  const std::string text = Read(log);
  EXPECT_LT(text.find("worker-1 ends"), text.find("server ends"));
  EXPECT_LT(text.find("worker-2 ends"), text.find("server ends"));
  EXPECT_NE(text.find("server ends"), std::string::npos);
}

TEST_F(SupervisorTest, WhoDoesNotEndIsKilled) {
  Supervisor supervisor(&io_);
  const std::string log = Log("stubborn");
  std::filesystem::remove(log);
  ASSERT_TRUE(supervisor
                  .Add({"server",
                        0,
                        {"/bin/sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.01; done"},
                        log})
                  .ok());
  ASSERT_TRUE(TickUntil(&supervisor, [&] { return Read(log) == "up\n"; }));
  supervisor.EndInOrder(absl::Milliseconds(50));
  EXPECT_THAT(err_.str(), HasSubstr("server does not end; killing it"));
}

TEST_F(SupervisorTest, AMissingProgramIsSaid) {
  Supervisor supervisor(&io_);
  EXPECT_EQ(supervisor.Add({"x", 0, {"/no/such/program"}, Log("missing")}).code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace lethe
