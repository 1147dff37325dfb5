// StoreTest: a fresh memory store with a vault, a standing clock and a World. For tests of
// decisions, where the driver does not matter.
#ifndef LETHE_TESTS_SUPPORT_STORE_FIXTURE_H_
#define LETHE_TESTS_SUPPORT_STORE_FIXTURE_H_

#include <gtest/gtest.h>

#include <memory>

#include "base/status.h"
#include "tests/support/store_world.h"
#include "tests/support/temp_folder.h"

namespace lethe::storage {

class StoreTest : public testing::Test {
 protected:
  StoreTest() : key_random_(99) {
    vault_ = Vault::Open(folder_ / "key", {.create = true}, &key_random_).value();
    store_ = OpenMemoryStore(Options());
    world_ = std::make_unique<World>(store_.get(), vault_.get(), &clock_, 1);
  }
  // Whatever a test did, the records must agree with each other afterwards.
  ~StoreTest() override { EXPECT_EQ(world_->Fsck(), ""); }

  StoreOptions Options() {
    StoreOptions options{.clock = &clock_, .vault = vault_.get()};
    options.rules.judge = JudgeForTest;
    options.rules.max_losses = 3;
    options.rules.max_retries = 4;
    return options;
  }

  // The reason with which the command is refused; "" when it is not. A refusal must leave no leaf.
  std::string Refusal(Command command) {
    const uint64_t before = Leaves();
    absl::StatusOr<Receipt> receipt = store_->Commit(std::move(command));
    if (receipt.ok()) return "";
    EXPECT_EQ(Leaves(), before) << receipt.status();
    return ErrorReason(receipt.status());
  }
  uint64_t Leaves() { return store_->Snapshot()->Counters()->audit_size(); }
  bool HasPayload(const TicketId& id) {
    auto snapshot = store_->Snapshot();
    return snapshot->FindPayload(id)->has_value() && snapshot->FindKey(id)->has_value();
  }

  TempFolder folder_;
  SeededRandom key_random_;
  FakeClock clock_;
  std::unique_ptr<Vault> vault_;
  std::unique_ptr<TicketStore> store_;
  std::unique_ptr<World> world_;
};

}  // namespace lethe::storage

#endif  // LETHE_TESTS_SUPPORT_STORE_FIXTURE_H_
