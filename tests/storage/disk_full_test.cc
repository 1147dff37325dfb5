// A full disk: writes are refused with a reason, nothing acknowledged is
// lost, and a restart with space heals it.
#include <gtest/gtest.h>

#include "base/status.h"
#include "storage/fsck.h"
#include "tests/support/faulty_fs.h"
#include "tests/support/store_world.h"
#include "tests/support/temp_folder.h"

namespace lethe::storage {
namespace {

class DiskFull : public testing::TestWithParam<int> {
 protected:
  DiskFull()
      : random_(1),
        vault_(Vault::Open(temp_ / "key", {.create = true}, &random_).value()),
        fs_(std::make_shared<FullDiskFs>()),
        env_(rocksdb::NewCompositeEnv(fs_)) {
    options_.clock = &clock_;
    options_.vault = vault_.get();
    options_.rules.judge = JudgeForTest;
  }
  void Open() {
    store_.reset();
    auto opened = OpenRocksStore({.folder = temp_ / "store", .env = env_.get()}, options_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    store_ = *std::move(opened);
    world_ = std::make_unique<World>(store_.get(), vault_.get(), &clock_, seed_++);
  }

  TempFolder temp_;
  SeededRandom random_;
  FakeClock clock_;
  uint64_t seed_ = 1;
  std::unique_ptr<Vault> vault_;
  std::shared_ptr<FullDiskFs> fs_;
  std::unique_ptr<rocksdb::Env> env_;
  StoreOptions options_;
  std::unique_ptr<TicketStore> store_;
  std::unique_ptr<World> world_;
};

// The parameter is how many bytes fit: the write that fails is torn at different places.
TEST_P(DiskFull, RefusesLosesNothingAndHeals) {
  Open();
  const ModelId model = world_->ReadyModel("m");
  std::vector<TicketId> acknowledged;
  for (int i = 0; i < 20; ++i) acknowledged.push_back(world_->File(model));
  fs_->SetFree(GetParam());
  absl::Status refused;
  for (int i = 0; i < 1000 && refused.ok(); ++i) {
    NewTicket draft = world_->Draft(model, "more" + std::to_string(i), "text");
    const TicketId id = draft.id;
    absl::StatusOr<Receipt> receipt = store_->Commit(CreateTickets{"a", {std::move(draft)}});
    if (receipt.ok()) acknowledged.push_back(id);
    refused = receipt.status();
  }
  EXPECT_EQ(refused.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ErrorReason(refused), "DISK_FULL");
  EXPECT_EQ(ErrorReason(store_->Health()), "DISK_FULL");
  // Reading goes on; writing does not, even when there is space again, until the restart.
  EXPECT_EQ(world_->State(acknowledged[0]), TicketState::kQueued);
  fs_->SetFree(int64_t{1} << 60);
  EXPECT_EQ(ErrorReason(store_->Commit(CancelTicket{"a", acknowledged[0]}).status()), "DISK_FULL");

  Open();
  EXPECT_TRUE(store_->Health().ok());
  for (const TicketId& id : acknowledged) EXPECT_EQ(world_->State(id), TicketState::kQueued);
  world_->Must(CancelTicket{"a", acknowledged[0]});
  world_->File(model);
  EXPECT_EQ(world_->Fsck(), "");
}

INSTANTIATE_TEST_SUITE_P(BytesLeft, DiskFull,
                         testing::Values(0, 1, 7, 100, 1000, 1234, 5000, 20000, 32768, 33000));

TEST_P(DiskFull, OpeningOnAFullDiskSaysSo) {
  fs_->SetFree(0);
  auto opened = OpenRocksStore({.folder = temp_ / "store", .env = env_.get()}, options_);
  EXPECT_EQ(ErrorReason(opened.status()), "DISK_FULL") << opened.status();
  fs_->SetFree(int64_t{1} << 60);
  Open();
  world_->ReadyModel("m");
  EXPECT_EQ(world_->Fsck(), "");
}

}  // namespace
}  // namespace lethe::storage
