// Model folders: brought in line with the store, whatever a crash left there.
#include <gmock/gmock.h>

#include "base/file.h"
#include "base/model_layout.h"
#include "base/status.h"
#include "storage/fsck.h"
#include "storage/model_folders.h"
#include "tests/support/store_world.h"
#include "tests/support/temp_folder.h"

namespace lethe::storage {
namespace {

namespace fs = std::filesystem;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class FoldersTest : public testing::Test {
 protected:
  FoldersTest() : random_(1) {
    vault_ = Vault::Open(temp_ / "key", {.create = true}, &random_).value();
    StoreOptions options{.clock = &clock_, .vault = vault_.get()};
    options.rules.judge = JudgeForTest;
    store_ = OpenRocksStore({.folder = temp_ / "store"}, options).value();
    world_ = std::make_unique<World>(store_.get(), vault_.get(), &clock_, 1);
    model_ = world_->ReadyModel("m");
    Publish(Current());
    fs::create_directories(models_ / world_->Model(model_).data_folder());
  }
  CheckpointId Current() { return CheckpointId{world_->Model(model_).current_checkpoint_id()}; }
  fs::path FolderOf(const CheckpointId& id) { return models_ / CheckpointFolder(model_, id); }
  void Publish(const CheckpointId& id) {
    fs::create_directories(FolderOf(id));
    ASSERT_TRUE(WriteFileAtomically(FolderOf(id) / "config.json", id.value).ok());
  }
  // One ticket through UNLEARN, its folder published; the leased VERIFY job.
  JobRecord Candidate() {
    const JobRecord job = world_->Lease(world_->Form(model_, {world_->File(model_)}));
    Publish(CheckpointId{job.candidate_checkpoint_id()});
    return world_->Lease(world_->Unlearn(job));
  }
  FolderRepair Reconcile() {
    auto repair = ReconcileModelFolder(store_.get(), models_, model_, "server");
    EXPECT_TRUE(repair.ok()) << repair.status();
    return repair.value_or(FolderRepair{});
  }
  // What fsck says of the store and the folders.
  std::vector<std::string> Findings() {
    auto report = Fsck({.store = temp_ / "store", .models = models_});
    EXPECT_TRUE(report.ok()) << report.status();
    std::vector<std::string> what;
    for (const Finding& f : report->findings) what.push_back(f.what);
    return what;
  }
  std::vector<std::string> Checkpoints() {
    std::vector<std::string> names;
    for (const auto& e : fs::directory_iterator(models_ / "m" / "checkpoints")) {
      names.push_back(e.path().filename());
    }
    return names;
  }

  TempFolder temp_;
  const fs::path models_ = temp_ / "models";
  SeededRandom random_;
  FakeClock clock_;
  std::unique_ptr<Vault> vault_;
  std::unique_ptr<TicketStore> store_;
  std::unique_ptr<World> world_;
  ModelId model_;
};

TEST_F(FoldersTest, CurrentShowsThePromotedCheckpoint) {
  EXPECT_THAT(Findings(), UnorderedElementsAre("CURRENT_STALE"));
  EXPECT_TRUE(Reconcile().current_switched);
  EXPECT_EQ(*ReadFile(models_ / "m" / "current" / "config.json"), Current().value);
  EXPECT_THAT(Findings(), IsEmpty());
  EXPECT_FALSE(Reconcile().current_switched);

  const JobRecord verify = Candidate();
  EXPECT_FALSE(Reconcile().current_switched);  // a candidate is not shown
  world_->Verify(verify, {});
  EXPECT_THAT(Findings(), UnorderedElementsAre("CURRENT_STALE"));  // as after a crash right here
  EXPECT_TRUE(Reconcile().current_switched);
  EXPECT_EQ(*ReadFile(models_ / "m" / "current" / "config.json"), verify.candidate_checkpoint_id());
  EXPECT_THAT(Findings(), IsEmpty());
}

TEST_F(FoldersTest, ARejectedCandidateGoes) {
  const CheckpointId first = Current();
  const JobRecord verify = Candidate();
  world_->Verify(verify, {.collateral = true});
  EXPECT_THAT(Findings(), UnorderedElementsAre("CURRENT_STALE", "CHECKPOINT_FOLDER_LEFT"));
  EXPECT_EQ(Reconcile().folders_removed, 1);
  EXPECT_THAT(Checkpoints(), UnorderedElementsAre(first.value));
  EXPECT_TRUE(world_->Checkpoint(verify.candidate_checkpoint_id()).folder_removed());
  EXPECT_THAT(Findings(), IsEmpty());
  EXPECT_EQ(Reconcile().folders_removed, 0);
}

TEST_F(FoldersTest, OnlyTheNewestRetiredCheckpointIsKept) {
  std::vector<std::string> made = {Current().value};
  for (int i = 0; i < 3; ++i) {
    clock_.Advance(absl::Seconds(1));
    world_->Verify(Candidate(), {});
    made.push_back(Current().value);
  }
  Reconcile();
  EXPECT_THAT(Checkpoints(), UnorderedElementsAre(made[2], made[3]));
  EXPECT_TRUE(world_->Checkpoint(made[0]).folder_removed());
  EXPECT_FALSE(world_->Checkpoint(made[2]).folder_removed());
  EXPECT_THAT(Findings(), IsEmpty());
}

// A crash between the mark and the removal: the folder is still there, and goes the next time.
TEST_F(FoldersTest, AMarkedFolderThatIsStillThereGoes) {
  const JobRecord verify = Candidate();
  world_->Verify(verify, {.collateral = true});
  world_->Must(MarkFolderRemoved{"server", CheckpointId{verify.candidate_checkpoint_id()}});
  EXPECT_THAT(Findings(), UnorderedElementsAre("CURRENT_STALE", "ORPHAN_FOLDER"));
  EXPECT_EQ(Reconcile().folders_removed, 1);
  EXPECT_THAT(Findings(), IsEmpty());
}

TEST_F(FoldersTest, WorkOfALiveLeaseStaysThatOfALostOneGoes) {
  Reconcile();
  const JobRecord formed = world_->Form(model_, {world_->File(model_)});
  const JobRecord first = world_->Lease(formed);
  const auto incoming = [&](const JobRecord& job) {
    return models_ / IncomingFolder(model_, JobId{job.job_id()}, Fence{job.fence()});
  };
  fs::create_directories(incoming(first));
  Publish(CheckpointId{first.candidate_checkpoint_id()});  // published, not handed in yet
  EXPECT_EQ(Reconcile().folders_removed, 0);
  EXPECT_THAT(Findings(), IsEmpty());

  clock_.Advance(absl::Seconds(61));
  world_->Must(ExpireLeases{"server"});
  const JobRecord second = world_->Lease(formed);
  fs::create_directories(incoming(second));
  EXPECT_THAT(Findings(), UnorderedElementsAre("ORPHAN_FOLDER", "ORPHAN_FOLDER"));
  EXPECT_EQ(Reconcile().folders_removed, 2);
  EXPECT_FALSE(fs::exists(incoming(first)));
  EXPECT_TRUE(fs::exists(incoming(second)));
  EXPECT_FALSE(fs::exists(FolderOf(CheckpointId{first.candidate_checkpoint_id()})));
}

// What a verifier has kept outlives its lease and serves the next one; with the job it goes.
TEST_F(FoldersTest, WhatAVerifierKeptStaysUntilTheJobIsOver) {
  Reconcile();
  const JobRecord first = Candidate();
  const fs::path kept = models_ / KeptWorkFolder(model_, JobId{first.job_id()});
  fs::create_directories(kept);
  fs::create_directories(models_ / KeptWorkFolder(model_, JobId{"j-unknown"}));
  EXPECT_THAT(Findings(), UnorderedElementsAre("ORPHAN_FOLDER"));
  EXPECT_EQ(Reconcile().folders_removed, 1);
  EXPECT_TRUE(fs::exists(kept));

  clock_.Advance(absl::Seconds(61));
  world_->Must(ExpireLeases{"server"});
  EXPECT_EQ(Reconcile().folders_removed, 0);  // nobody holds the job now
  EXPECT_TRUE(fs::exists(kept));
  EXPECT_THAT(Findings(), IsEmpty());
  const JobRecord second = world_->Lease(first);
  EXPECT_GT(second.fence(), first.fence());
  EXPECT_EQ(Reconcile().folders_removed, 0);
  EXPECT_TRUE(fs::exists(kept));

  world_->Verify(second, {});
  EXPECT_THAT(Findings(), UnorderedElementsAre("CURRENT_STALE", "ORPHAN_FOLDER"));
  EXPECT_EQ(Reconcile().folders_removed, 1);
  EXPECT_FALSE(fs::exists(kept));
  EXPECT_THAT(Findings(), IsEmpty());
}

TEST_F(FoldersTest, LeftoversOfAnInterruptedSwitchGo) {
  Reconcile();
  fs::create_symlink("checkpoints/x", models_ / "m" / ".current.tmp-1-2");
  EXPECT_THAT(Findings(), UnorderedElementsAre("ORPHAN_FOLDER"));
  Reconcile();
  EXPECT_THAT(Findings(), IsEmpty());
}

TEST_F(FoldersTest, WithoutThePromotedFolderCurrentIsLeftAlone) {
  Reconcile();
  const CheckpointId first = Current();
  const JobRecord verify = Candidate();
  world_->Verify(verify, {});
  fs::remove_all(FolderOf(CheckpointId{verify.candidate_checkpoint_id()}));
  auto repair = ReconcileModelFolder(store_.get(), models_, model_, "server");
  EXPECT_EQ(ErrorReason(repair.status()), "CHECKPOINT_FOLDER_MISSING");
  EXPECT_EQ(fs::read_symlink(models_ / "m" / "current"), fs::path(CurrentTarget(first)));
  EXPECT_THAT(Findings(), UnorderedElementsAre("CURRENT_STALE", "CHECKPOINT_FOLDER_MISSING"));
}

TEST_F(FoldersTest, WhatTheStoreDoesNotKnowIsShown) {
  Reconcile();
  fs::create_directories(models_ / "ghost" / "checkpoints" / "c-1");
  fs::create_directories(models_ / "source-of-mine");
  EXPECT_THAT(Findings(), UnorderedElementsAre("UNKNOWN_MODEL_FOLDER"));
  EXPECT_TRUE(ReconcileAllModelFolders(store_.get(), models_, "server").ok());
  EXPECT_TRUE(fs::exists(models_ / "ghost"));  // not ours to remove
}

TEST_F(FoldersTest, AChangedByteOfThePromotedFolderIsFoundOnRequest) {
  Reconcile();
  auto report = Fsck({.store = temp_ / "store", .models = models_, .digests = true});
  ASSERT_EQ(report->findings.size(), 1u);  // the world's digest is not that of this folder
  EXPECT_EQ(report->findings[0].what, "DIGEST_DIFFERS");
}

}  // namespace
}  // namespace lethe::storage
