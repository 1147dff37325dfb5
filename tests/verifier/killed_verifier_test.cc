// kill -9 in every attack of the standard plan, on the base and on the candidate: the next verifier
// goes on where the last one was, and the one that comes to the end hands in what an undisturbed
// one would have.
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "engine/attack_catalog.h"
#include "tests/support/temp_folder.h"
#include "tests/verifier/verify_world.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

constexpr char kFolder[] = "LETHE_KILLED_VERIFIER_FOLDER", kStep[] = "LETHE_KILLED_VERIFIER_AT";

// Kills its process inside the `at`th attack: each tells where it is when it begins, and again when
// it has done with the forgotten text and begins with the control.
class DeadlyControl : public UndisturbedControl {
 public:
  explicit DeadlyControl(int64_t at) : at_(at) {}
  void Report(const v1::Progress& progress) override {
    if (progress.phase() != "attacking" || progress.step() != at_) return;
    if (++told_ == 2) kill(getpid(), SIGKILL);
  }

 private:
  const int64_t at_;
  int told_ = 0;
};

TEST(KilledVerifier, Child) {
  const char* folder = std::getenv(kFolder);
  if (folder == nullptr) GTEST_SKIP() << "runs in a process that the next test kills";
  DeadlyControl control(std::atoi(std::getenv(kStep)));
  Verify(folder, 1, &control);
}

// True when the process was killed; false when it came to its end.
bool SpawnAndBeKilled(const fs::path& models, int at) {
  setenv(kFolder, models.c_str(), 1);
  setenv(kStep, std::to_string(at).c_str(), 1);
  char program[] = "killed-verifier", filter[] = "--gtest_filter=KilledVerifier.Child";
  char brief[] = "--gtest_brief=1";
  char* const arguments[] = {program, filter, brief, nullptr};
  pid_t pid = 0;
  EXPECT_EQ(posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, arguments, environ), 0);
  unsetenv(kFolder);
  int code = 0;
  EXPECT_EQ(waitpid(pid, &code, 0), pid);
  return WIFSIGNALED(code) && WTERMSIG(code) == SIGKILL;
}

// Each row of the plan as often as it has models to look at, and none that was left out: what the
// kills below cut is what a promotion has to stand.
void ExpectTheWholePlan(const v1::Measurements& found) {
  EXPECT_EQ(found.left_out_size(), 0) << found.left_out(0).DebugString();
  const auto rows = FindPlan("standard")->rows;
  ASSERT_EQ(static_cast<size_t>(found.attacks_size()), rows.size());
  for (size_t i = 0; i < rows.size(); ++i) {
    const v1::AttackResult& attack = found.attacks(static_cast<int>(i));
    EXPECT_EQ(attack.attack(), rows[i].attack);
    EXPECT_EQ(attack.condition(), rows[i].condition);
    EXPECT_EQ(attack.report_only(), rows[i].report_only);
  }
}

TEST(KilledVerifier, InEveryAttackTheNextOneGoesOnWhereItWas) {
  TempFolder undisturbed, killed;
  MakeVerifyWorld(undisturbed.path());
  MakeVerifyWorld(killed.path());
  UndisturbedControl control;
  const v1::Measurements whole = Verify(undisturbed.path(), 1, &control);
  ExpectTheWholePlan(whole);
  const v1::Job job = StoredJob(killed.path(), 1);
  EXPECT_EQ(Pieces(undisturbed.path()).size(), PiecesOfPlan(job));

  std::map<std::string, uint64_t> before;
  const int steps = StepsOfPlan(job);
  for (int at = 0; at < steps; ++at) {
    ASSERT_TRUE(SpawnAndBeKilled(killed.path(), at)) << "attack " << at << " of " << steps;
    const std::map<std::string, uint64_t> now = Pieces(killed.path());
    // All attacks before this one are done, and this one is not.
    EXPECT_GE(now.size(), static_cast<size_t>(at));
    EXPECT_LE(now.size(), at + PiecesOfPlan(job) - steps);
    for (const auto& [name, inode] : before) {
      ASSERT_TRUE(now.count(name)) << name;
      EXPECT_EQ(now.at(name), inode) << name << " was made again";
    }
    EXPECT_TRUE(at == 0 || now.size() > before.size()) << "nothing was kept of attack " << at - 1;
    before = now;
  }
  // The plan has no further attack to be killed in.
  EXPECT_FALSE(SpawnAndBeKilled(killed.path(), steps));
  const std::map<std::string, uint64_t> all = Pieces(killed.path());
  EXPECT_EQ(all.size(), PiecesOfPlan(job));
  // Under another fence all is taken as it lies.
  ExpectSame(Verify(killed.path(), 2, &control), whole);
  EXPECT_EQ(Pieces(killed.path()), all);
}

}  // namespace
}  // namespace lethe
