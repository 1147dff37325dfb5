// A disk that is full in the middle of a verification: the verifier gives the job back and says
// why, what it had kept stays good, nothing half written is left, and the next one goes on from
// there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/small_disk.h"
#include "tests/verifier/verify_world.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

testing::Environment* const own_mounts = testing::AddGlobalTestEnvironment(new OwnMounts);

constexpr size_t kPage = 4096;

class VerifierDiskFull : public testing::Test {
 protected:
  void SetUp() override {
    if (!OwnMounts::Allowed()) GTEST_SKIP() << OwnMounts::kWhyNot;
    disk_ = std::make_unique<SmallDisk>(4 << 20);
    MakeVerifyWorld(models());
  }
  const fs::path& models() const { return disk_->path(); }

  // The verifier meets the full disk: what it says, and what it leaves.
  void ExpectGivenBack() {
    const std::map<std::string, uint64_t> before = Pieces(models());
    const JobOutcome outcome = RunVerifier(models(), ++fence_, &control_);
    const auto* failure = std::get_if<JobFailure>(&outcome);
    ASSERT_NE(failure, nullptr) << "there was room for everything";
    EXPECT_EQ(failure->cause, v1::FAILURE_CAUSE_INFRASTRUCTURE);
    EXPECT_EQ(failure->reason, "DISK_FULL");
    EXPECT_THAT(failure->message, HasSubstr("No space left on device"));
    const std::map<std::string, uint64_t> now = Pieces(models());
    EXPECT_THAT(now, IsSupersetOf(before)) << "a piece that was kept was made again";
    EXPECT_LT(now.size(), PiecesOfPlan(StoredJob(models(), fence_)));
    size_t files = 0;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(PiecesFolder(models()), none)) {
      ++files;
      EXPECT_EQ(entry.path().extension(), ".piece") << entry.path();
      EXPECT_GT(entry.file_size(), 0U) << entry.path();
    }
    EXPECT_EQ(files, now.size());
  }
  void ExpectTheSameWithRoom(const v1::Measurements& whole) {
    const std::map<std::string, uint64_t> before = Pieces(models());
    disk_->MakeRoom();
    ExpectSame(Verify(models(), ++fence_, &control_), whole);
    EXPECT_THAT(Pieces(models()), IsSupersetOf(before)) << "a piece that was kept was made again";
  }

  std::unique_ptr<SmallDisk> disk_;
  UndisturbedControl control_;
  uint64_t fence_ = 0;
};

TEST_F(VerifierDiskFull, TheJobIsGivenBackAndTheNextOneGoesOn) {
  TempFolder undisturbed;
  MakeVerifyWorld(undisturbed.path());
  const v1::Measurements whole = Verify(undisturbed.path(), 1, &control_);
  // First not even the folder can be made, then no file, then a few pieces fit; a piece of several
  // pages is torn. Room comes in small parts, so that the disk is full in many attacks.
  disk_->LeaveNoFiles();
  ExpectGivenBack();
  EXPECT_FALSE(fs::exists(PiecesFolder(models())));
  disk_->MakeRoom();
  int full = 0;
  for (const size_t pages : {0, 1, 2, 5, 20, 20, 20}) {
    SCOPED_TRACE(full);
    const size_t before = Pieces(models()).size();
    disk_->LeaveFree(pages * kPage);
    ExpectGivenBack();
    EXPECT_EQ(Pieces(models()).size() > before, pages > 0);
    ++full;
  }
  EXPECT_GT(Pieces(models()).size(), 30U);
  disk_->LeaveNoFiles();
  ExpectGivenBack();
  ExpectTheSameWithRoom(whole);
}

}  // namespace
}  // namespace lethe
