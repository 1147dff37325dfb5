// A candidate or a base that is not, byte for byte, what the job names: refused before anything is
// attacked, whatever an earlier verifier has kept, and with the folder back as it was the job goes
// on.
#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "base/file.h"
#include "tests/support/temp_folder.h"
#include "tests/verifier/verify_world.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

struct Damage {
  const char* what;
  std::function<void(const fs::path& folder)> apply;
};

void Rewrite(const fs::path& file, const std::function<void(std::string&)>& change) {
  std::string content = ReadFile(file).value_or("");
  change(content);
  std::ofstream(file, std::ios::binary) << content;
}

const std::vector<Damage>& Damages() {
  static const auto* const damages = new std::vector<Damage>{
      {"one bit of one weight",
       [](const fs::path& folder) {
         Rewrite(folder / "model.safetensors", [](std::string& s) { s[s.size() / 2] ^= 1; });
       }},
      {"the weights' last byte is gone",
       [](const fs::path& folder) {
         Rewrite(folder / "model.safetensors", [](std::string& s) { s.pop_back(); });
       }},
      {"no weights", [](const fs::path& folder) { fs::remove(folder / "model.safetensors"); }},
      {"another tokenizer",
       [](const fs::path& folder) {
         Rewrite(folder / "tokenizer.json", [](std::string& s) { s += "\n"; });
       }},
      {"one more file",
       [](const fs::path& folder) { std::ofstream(folder / "generation_config.json") << "{}"; }},
      {"no folder", [](const fs::path& folder) { fs::remove_all(folder); }},
  };
  return *damages;
}

// Tells whether anything was attacked, and stops the first attack that gets so far.
class AttackWatch : public UndisturbedControl {
 public:
  explicit AttackWatch(int64_t stop_at = -1) : stop_at_(stop_at) {}
  const std::atomic<bool>& cancelled() const override { return stop_; }
  void Report(const v1::Progress& progress) override {
    if (progress.phase() != "attacking") return;
    attacked_ = true;
    if (progress.step() == stop_at_) stop_ = true;
  }
  bool attacked() const { return attacked_; }

 private:
  const int64_t stop_at_;
  bool attacked_ = false;
  std::atomic<bool> stop_ = false;
};

void ExpectRefused(const fs::path& models, const std::string& reason) {
  AttackWatch watch;
  const auto before = Pieces(models);
  const JobOutcome outcome = RunVerifier(models, 2, &watch);
  const auto* failure = std::get_if<JobFailure>(&outcome);
  ASSERT_NE(failure, nullptr) << "figures of another model were handed in";
  EXPECT_EQ(failure->reason, reason);
  EXPECT_EQ(failure->cause, v1::FAILURE_CAUSE_INFRASTRUCTURE) << "it burns an attempt";
  EXPECT_FALSE(watch.attacked());
  EXPECT_EQ(Pieces(models), before);
}

class DamagedFolder : public testing::TestWithParam<const char*> {};

TEST_P(DamagedFolder, IsRefusedAndNothingIsAttacked) {
  TempFolder world;
  const fs::path& models = world.path();
  MakeVerifyWorld(models);
  // An earlier verifier has come as far as the second attack on the candidate.
  const int steps = StepsOfPlan(StoredJob(models, 1));
  AttackWatch stopped(steps / 2 + 1);
  RunVerifier(models, 1, &stopped);
  const size_t kept = Pieces(models).size();
  ASSERT_GT(kept, static_cast<size_t>(steps / 2));

  const fs::path folder = models / "m/checkpoints" / GetParam(), whole = models / "whole";
  const bool base = std::string(GetParam()) == "base";
  fs::copy(folder, whole, fs::copy_options::recursive);
  for (const Damage& damage : Damages()) {
    SCOPED_TRACE(damage.what);
    damage.apply(folder);
    // A folder that is not there is told by the system's words.
    const bool gone = !fs::exists(folder);
    ExpectRefused(models, gone ? "FILE_ERROR" : base ? "BASE_CHANGED" : "CANDIDATE_CHANGED");
    fs::remove_all(folder);
    fs::copy(whole, folder, fs::copy_options::recursive);
  }
  AttackWatch further(steps / 2 + 2);
  RunVerifier(models, 3, &further);
  EXPECT_EQ(Pieces(models).size(), kept + 1);
}

INSTANTIATE_TEST_SUITE_P(Of, DamagedFolder, testing::Values("base", "candidate"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace lethe
