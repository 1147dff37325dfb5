// Two verifiers on one job: a lease was lost and given on, and the first is not dead, only slow.
// Both keep pieces in one folder. Which of the two counts the server's fence decides
// (tests/server/work_test.cc); here neither may spoil what the other finds.
#include <gtest/gtest.h>

#include <thread>

#include "tests/support/temp_folder.h"
#include "tests/verifier/verify_world.h"

namespace lethe {
namespace {

TEST(TwoVerifiers, OnOneJobFindWhatOneFinds) {
  TempFolder alone, shared;
  MakeVerifyWorld(alone.path());
  MakeVerifyWorld(shared.path());
  UndisturbedControl control;
  const v1::Measurements whole = Verify(alone.path(), 1, &control);
  v1::Measurements found[2];
  const auto verify = [&](uint64_t fence) {
    UndisturbedControl mine;
    found[fence - 1] = Verify(shared.path(), fence, &mine);
  };
  std::thread slow(verify, 1);
  verify(2);
  slow.join();
  for (const v1::Measurements& one : found) ExpectSame(one, whole);
  EXPECT_EQ(Pieces(shared.path()).size(), PiecesOfPlan(StoredJob(shared.path(), 1)));
  for (const auto& entry : std::filesystem::directory_iterator(PiecesFolder(shared.path()))) {
    EXPECT_EQ(entry.path().extension(), ".piece") << entry.path();
  }
}

// The lease is in what is handed in, so that the server can tell whose it is.
TEST(TwoVerifiers, EachHandsInUnderItsOwnFence) {
  TempFolder world;
  MakeVerifyWorld(world.path());
  UndisturbedControl control;
  for (const uint64_t fence : {1, 2}) {
    const JobOutcome outcome = RunVerifier(world.path(), fence, &control);
    const auto* result = std::get_if<JobResult>(&outcome);
    ASSERT_NE(result, nullptr);
    v1::Measurements found;
    ASSERT_TRUE(found.ParseFromString(std::get<v1::VerifyResult>(*result).measurements()));
    EXPECT_EQ(found.fence(), fence);
  }
}

}  // namespace
}  // namespace lethe
