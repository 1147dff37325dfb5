// After compaction no file holds a byte that could give an ended ticket's text back: two
// mechanisms, each proven alone.
#include "storage/compact.h"

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/status.h"
#include "tests/support/store_world.h"
#include "tests/support/temp_folder.h"

namespace lethe::storage {
namespace {

namespace fs = std::filesystem;

class CompactTest : public testing::Test {
 protected:
  CompactTest() : random_(1) {
    vault_ = Vault::Open(temp_ / "key", {.create = true}, &random_).value();
    Open();
    model_ = world_->ReadyModel("m");
  }
  void Open() {
    StoreOptions options{.clock = &clock_, .vault = vault_.get()};
    options.rules.judge = JudgeForTest;
    store_.reset();
    store_ = OpenRocksStore({.folder = temp_ / "store"}, options).value();
    world_ = std::make_unique<World>(store_.get(), vault_.get(), &clock_, seed_++);
  }
  // In how many files of the folder the bytes are found. A log splits what crosses one of its 32
  // KiB blocks: look for a short piece.
  int FilesWith(const std::string& bytes) {
    int files = 0;
    for (const auto& entry : fs::recursive_directory_iterator(temp_ / "store")) {
      if (!entry.is_regular_file()) continue;
      files += ReadFile(entry.path())->find(bytes.substr(0, 16)) != std::string::npos;
    }
    return files;
  }

  TempFolder temp_;
  SeededRandom random_;
  FakeClock clock_;
  uint64_t seed_ = 1;
  std::unique_ptr<Vault> vault_;
  std::unique_ptr<TicketStore> store_;
  std::unique_ptr<World> world_;
  ModelId model_;
};

struct Kept {
  TicketId id;
  std::string text, sealed, wrapped;
};

TEST_F(CompactTest, NoFileHoldsAByteOfAnEndedTicket) {
  std::vector<Kept> ended, live;
  for (int i = 0; i < 300; ++i) {
    const std::string text = "marker-" + random_.Bytes(40) + std::string(200, 'x');
    const TicketId id = world_->File(model_, text);
    auto snapshot = store_->Snapshot();
    (i % 2 ? live : ended)
        .push_back({id, text, (*snapshot->FindPayload(id))->sealed(),
                    (*snapshot->FindKey(id))->wrapped()});
    if (i == 150) {  // some of it in tables, some still in the log
      snapshot.reset();
      ASSERT_TRUE(store_->CompactFiles().ok());
    }
  }
  for (const Kept& k : ended) world_->Must(CancelTicket{"a", k.id});
  // Deleting alone does not remove: else the rest of this test would prove nothing.
  int found = 0;
  for (const Kept& k : ended) found += FilesWith(k.sealed) > 0 && FilesWith(k.wrapped) > 0;
  EXPECT_GT(found, 100);
  for (const Kept& k : ended) EXPECT_EQ(FilesWith(k.text), 0);  // never, at no time

  const CompactReport report = *Compact(store_.get(), vault_.get(), &random_);
  EXPECT_EQ(report.epoch, 2u);
  EXPECT_EQ(report.rewrapped, static_cast<int64_t>(live.size()));
  for (const Kept& k : ended) {
    EXPECT_EQ(FilesWith(k.sealed), 0);
    EXPECT_EQ(FilesWith(k.wrapped), 0);
    EXPECT_EQ(FilesWith(k.text), 0);
  }
  for (const Kept& k : live) {
    EXPECT_EQ(FilesWith(k.wrapped), 0);  // wrapped again
    EXPECT_GT(FilesWith(k.sealed), 0);
    auto snapshot = store_->Snapshot();
    EXPECT_EQ(*vault_->Unseal(k.id, **snapshot->FindPayload(k.id), **snapshot->FindKey(k.id)),
              k.text);
  }
  EXPECT_EQ(world_->Fsck(), "");
}

// The other mechanism alone: a copy of the whole folder from before, with the key file from after,
// opens nothing that has ended.
TEST_F(CompactTest, AnOldCopyOfTheFolderIsWorthless) {
  const TicketId id = world_->File(model_, "text");
  auto snapshot = store_->Snapshot();
  const PayloadRecord payload = **snapshot->FindPayload(id);
  const KeyRecord key = **snapshot->FindKey(id);
  snapshot.reset();
  ASSERT_EQ(*vault_->Unseal(id, payload, key), "text");
  world_->Must(CancelTicket{"a", id});
  ASSERT_TRUE(RotateKeyFile(store_.get(), vault_.get(), &random_).ok());
  EXPECT_EQ(ErrorReason(vault_->Unseal(id, payload, key).status()), "KEY_EPOCH_UNKNOWN");
  auto reread = Vault::Open(temp_ / "key", {}, &random_).value();
  EXPECT_EQ(ErrorReason(reread->Unseal(id, payload, key).status()), "KEY_EPOCH_UNKNOWN");
}

TEST_F(CompactTest, APayloadSealedBeforeTheRotationIsSealedAgain) {
  NewTicket early = world_->Draft(model_, "r", "text");
  ASSERT_TRUE(RotateKeyFile(store_.get(), vault_.get(), &random_).ok());
  absl::StatusOr<Receipt> refused = store_->Commit(CreateTickets{"a", {early}});
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kAborted);
  EXPECT_EQ(ErrorReason(refused.status()), "KEY_EPOCH_RETIRED");
  world_->Must(CreateTickets{"a", {world_->Draft(model_, "r", "text")}});
}

TEST_F(CompactTest, ARotationThatWasInterruptedIsRepeated) {
  const TicketId id = world_->File(model_, "text");
  ASSERT_TRUE(vault_->AddEpoch().ok());  // and here the process died
  Open();
  const CompactReport report = *RotateKeyFile(store_.get(), vault_.get(), &random_);
  EXPECT_EQ(report.epoch, 3u);
  EXPECT_FALSE(vault_->HasEpoch(1));
  EXPECT_FALSE(vault_->HasEpoch(2));
  auto snapshot = store_->Snapshot();
  EXPECT_EQ(*vault_->Unseal(id, **snapshot->FindPayload(id), **snapshot->FindKey(id)), "text");
}

TEST_F(CompactTest, RequestIdsAreNotKept) {
  world_->Must(CreateTickets{"a", {world_->Draft(model_, "john.smith@example.org", "text")}});
  ASSERT_TRUE(store_->CompactFiles().ok());
  EXPECT_EQ(FilesWith("john.smith"),
            0);  // a request id is the caller's text: only its digest is kept
}

}  // namespace
}  // namespace lethe::storage
