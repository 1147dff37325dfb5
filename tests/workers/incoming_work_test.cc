#include "workers/incoming_work.h"

#include <set>
#include <string>

#include "base/file.h"
#include "base/status.h"
#include "gtest/gtest.h"
#include "tests/support/testdata.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

v1::Job Lease(uint64_t fence) {
  v1::Job job;
  job.set_job_id("j-00000000000000000000000000000001");
  job.set_fence(fence);
  job.set_model_id("m");
  return job;
}

std::set<std::string> Names(const fs::path& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

void WriteCheckpoint(const IncomingWork& work) {
  fs::create_directory(work.checkpoint());
  ASSERT_TRUE(WriteFileAtomically(work.checkpoint() / "config.json", "{}").ok());
}

// What grows beside the published checkpoints is swept away by the server: see
// storage/model_folders.h. So nothing may show there before it is whole.
TEST(IncomingWork, NothingShowsAmongTheCheckpointsUntilItIsWhole) {
  const fs::path models = FreshFolder();
  const fs::path output = models / "m/checkpoints/c-1";
  absl::StatusOr<IncomingWork> work = IncomingWork::Start(models, Lease(7));
  ASSERT_TRUE(work.ok()) << work.status();
  WriteCheckpoint(*work);
  EXPECT_EQ(Names(models / "m"), std::set<std::string>{"incoming"});
  EXPECT_EQ(Names(models / "m/incoming"),
            std::set<std::string>{"j-00000000000000000000000000000001-f7"});
  ASSERT_TRUE(work->Publish(output).ok());
  EXPECT_EQ(Names(models / "m/checkpoints"), std::set<std::string>{"c-1"});
  EXPECT_EQ(Names(output), std::set<std::string>{"config.json"});
}

TEST(IncomingWork, WhatWasNotPublishedGoes) {
  const fs::path models = FreshFolder();
  {
    absl::StatusOr<IncomingWork> work = IncomingWork::Start(models, Lease(7));
    ASSERT_TRUE(work.ok());
    WriteCheckpoint(*work);
  }
  EXPECT_TRUE(Names(models / "m/incoming").empty());
}

TEST(IncomingWork, LeasesDoNotMeet) {
  const fs::path models = FreshFolder();
  absl::StatusOr<IncomingWork> first = IncomingWork::Start(models, Lease(7));
  absl::StatusOr<IncomingWork> second = IncomingWork::Start(models, Lease(8));
  ASSERT_TRUE(first.ok() && second.ok());
  WriteCheckpoint(*first);
  WriteCheckpoint(*second);
  EXPECT_NE(first->checkpoint(), second->checkpoint());
}

TEST(IncomingWork, APublishedNameIsNeverOverwritten) {
  const fs::path models = FreshFolder();
  const fs::path output = models / "m/checkpoints/c-1";
  fs::create_directories(output);
  absl::StatusOr<IncomingWork> work = IncomingWork::Start(models, Lease(7));
  ASSERT_TRUE(work.ok());
  WriteCheckpoint(*work);
  const absl::Status status = work->Publish(output);
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists) << status;
  EXPECT_TRUE(Names(output).empty());
}

}  // namespace
}  // namespace lethe
