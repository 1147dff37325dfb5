// kill -9 during a verification, again and again: the next verifier goes on where the last one was,
// and hands in what an undisturbed one would have.
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <map>

#include "base/file.h"
#include "base/model_layout.h"
#include "engine/attack_catalog.h"
#include "tests/engine/unlearn/tiny_people.h"
#include "tests/support/temp_folder.h"
#include "verifier/verify_job.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

constexpr char kFolder[] = "LETHE_KILLED_VERIFIER_FOLDER", kReports[] = "LETHE_KILLED_VERIFIER_AT";

v1::Job Job(uint64_t fence) {
  v1::Job job;
  job.set_job_id("j-1");
  job.set_model_id("m");
  job.set_fence(fence);
  job.set_kind(v1::JOB_KIND_VERIFY);
  job.set_seed(5);
  job.set_digest_key("key");
  v1::VerifyWork* work = job.mutable_verify();
  work->set_base_folder("m/checkpoints/base");
  work->set_candidate_folder("m/checkpoints/candidate");
  work->set_data_folder("m/data/base");
  for (const Sequence& sequence : Tiny().forget) {
    v1::TokenSequence* out = work->add_tickets()->add_sequences();
    out->mutable_ids()->Add(sequence.ids.begin(), sequence.ids.end());
    out->add_sensitive()->set_begin(sequence.sensitive[0].begin);
    out->mutable_sensitive(0)->set_end(sequence.sensitive[0].end);
  }
  for (const auto& [attack, condition] :
       std::vector<std::pair<const char*, const char*>>{{"greedy_extraction", ""},
                                                        {"extraction_likelihood", ""},
                                                        {"loss", "int4"},
                                                        {"loss", "relearned-half-2"},
                                                        {"min_k", "relearned-half-3"}}) {
    v1::AttackSpec* spec = work->add_attacks();
    spec->set_attack(attack);
    spec->set_condition(condition);
  }
  return job;
}

void MakeModelFolder(const fs::path& models) {
  for (const char* name : {"base", "candidate"}) {
    fs::create_directories(models / "m/checkpoints" / name);
    fs::copy(Tiny().model, models / "m/checkpoints" / name, fs::copy_options::recursive);
  }
  fs::create_directories(models / "m/data/base");
  ASSERT_TRUE(WriteSequences(models / "m/data/base/holdout.jsonl", Tiny().holdout).ok());
  ASSERT_TRUE(WriteSequences(models / "m/data/base/retain.jsonl", Tiny().retain).ok());
}

// Kills its process with the report that is the `at`th.
class DeadlyControl : public JobControl {
 public:
  explicit DeadlyControl(int at) : at_(at) {}
  const std::atomic<bool>& cancelled() const override { return cancelled_; }
  void Report(const v1::Progress&) override {
    if (++reports_ == at_) kill(getpid(), SIGKILL);
  }
  int reports() const { return reports_; }

 private:
  std::atomic<bool> cancelled_ = false;
  const int at_;
  int reports_ = 0;
};

v1::Measurements Verify(const fs::path& models, uint64_t fence, DeadlyControl* control) {
  HostMetrics metrics("lethe-verifier", {v1::JOB_KIND_VERIFY});
  VerifyRunner runner(models, Device{.threads = 1}, {}, &metrics);
  const JobOutcome outcome = runner.Run(Job(fence), control);
  const auto* failure = std::get_if<JobFailure>(&outcome);
  EXPECT_EQ(failure, nullptr) << failure->reason << " " << failure->message;
  v1::Measurements measurements;
  if (failure != nullptr) return measurements;
  const auto& result = std::get<v1::VerifyResult>(std::get<JobResult>(outcome));
  EXPECT_TRUE(measurements.ParseFromString(result.measurements()));
  // What may differ: the lease, and how long it took.
  measurements.clear_fence();
  measurements.mutable_verify_run()->clear_seconds();
  for (v1::AttackResult& attack : *measurements.mutable_attacks()) attack.clear_seconds();
  return measurements;
}

// Of the pieces that lie in the job's folder: which file each is.
std::map<std::string, ino_t> Pieces(const fs::path& models) {
  std::map<std::string, ino_t> pieces;
  std::error_code none;
  for (const auto& entry :
       fs::directory_iterator(models / KeptWorkFolder(ModelId{"m"}, JobId{"j-1"}), none)) {
    struct stat status;
    if (entry.path().extension() != ".piece") continue;
    EXPECT_EQ(stat(entry.path().c_str(), &status), 0);
    pieces[entry.path().filename()] = status.st_ino;
  }
  return pieces;
}

TEST(KilledVerifier, Child) {
  const char* folder = std::getenv(kFolder);
  if (folder == nullptr) GTEST_SKIP() << "runs in a process that the next test kills";
  DeadlyControl control(std::atoi(std::getenv(kReports)));
  Verify(folder, 1, &control);
}

// True when the process was killed; false when it came to its end.
bool SpawnAndBeKilled(const fs::path& models, int at) {
  setenv(kFolder, models.c_str(), 1);
  setenv(kReports, std::to_string(at).c_str(), 1);
  char program[] = "killed-verifier", filter[] = "--gtest_filter=KilledVerifier.Child";
  char* const arguments[] = {program, filter, nullptr};
  pid_t pid = 0;
  EXPECT_EQ(posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, arguments, environ), 0);
  unsetenv(kFolder);
  int code = 0;
  EXPECT_EQ(waitpid(pid, &code, 0), pid);
  return WIFSIGNALED(code) && WTERMSIG(code) == SIGKILL;
}

TEST(KilledVerifier, TheNextOneGoesOnWhereItWas) {
  TempFolder undisturbed, killed;
  MakeModelFolder(undisturbed.path());
  MakeModelFolder(killed.path());
  DeadlyControl never(-1);
  const v1::Measurements whole = Verify(undisturbed.path(), 1, &never);
  ASSERT_EQ(whole.attacks_size(), 5);
  const size_t pieces = Pieces(undisturbed.path()).size();
  EXPECT_GE(pieces, 5U * 2);

  std::map<std::string, ino_t> before;
  const int step = std::max(1, never.reports() / 8);
  int kills = 0;
  for (int at = 2; SpawnAndBeKilled(killed.path(), at); at += step) {
    ++kills;
    const std::map<std::string, ino_t> now = Pieces(killed.path());
    for (const auto& [name, inode] : before) {
      ASSERT_TRUE(now.count(name)) << name;
      EXPECT_EQ(now.at(name), inode) << name << " was made again";
    }
    before = now;
    ASSERT_LT(kills, 100);
  }
  EXPECT_GE(kills, 5);
  // The one that was not killed left nothing to do: with another fence all is taken as it lies.
  const std::map<std::string, ino_t> all = Pieces(killed.path());
  EXPECT_EQ(all.size(), pieces);
  DeadlyControl last(-1);
  const v1::Measurements resumed = Verify(killed.path(), 2, &last);
  EXPECT_EQ(DeterministicBytes(resumed), DeterministicBytes(whole));
  EXPECT_EQ(Pieces(killed.path()), all);
}

}  // namespace
}  // namespace lethe
