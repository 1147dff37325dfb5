// The committer: groups, order, refusals that wait, failures that stick.
#include "storage/committer.h"

#include <gtest/gtest.h>

#include <atomic>

#include "absl/synchronization/blocking_counter.h"
#include "absl/synchronization/notification.h"
#include "storage/memory/memory_driver.h"
#include "tests/support/store_fixture.h"

namespace lethe::storage {
namespace {

// A memory driver whose writes wait at a gate, or fail.
class GatedDriver : public Driver {
 public:
  const Snapshot& Latest() const override { return inner_->Latest(); }
  std::unique_ptr<const Snapshot> NewSnapshot() const override { return inner_->NewSnapshot(); }
  absl::Status Write(const Changes& changes) override {
    absl::MutexLock lock(&mu_);
    ++arrived_;
    mu_.Await(absl::Condition(&open_));
    if (!failure_.ok()) return failure_;
    ++writes_;
    return inner_->Write(changes);
  }
  absl::Status CompactFiles() override { return absl::OkStatus(); }
  absl::StatusOr<std::string> VaultIdentity() const override { return inner_->VaultIdentity(); }
  absl::Status SetVaultIdentity(const std::string& id) override {
    return inner_->SetVaultIdentity(id);
  }

  void Close() {
    absl::MutexLock lock(&mu_);
    open_ = false;
  }
  void Open() {
    absl::MutexLock lock(&mu_);
    open_ = true;
  }
  void FailWith(const absl::Status& status) {
    absl::MutexLock lock(&mu_);
    failure_ = status;
  }
  int writes() {
    absl::MutexLock lock(&mu_);
    return writes_;
  }
  void AwaitArrivals(int count) {
    absl::MutexLock lock(&mu_);
    const auto there = [&] { return arrived_ >= count; };
    mu_.Await(absl::Condition(&there));
  }
  int arrived() {
    absl::MutexLock lock(&mu_);
    return arrived_;
  }

 private:
  std::unique_ptr<Driver> inner_ = MakeMemoryDriver();
  absl::Mutex mu_;
  bool open_ ABSL_GUARDED_BY(mu_) = true;
  int arrived_ ABSL_GUARDED_BY(mu_) = 0;
  int writes_ ABSL_GUARDED_BY(mu_) = 0;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
};

class Recorder : public CommitObserver {
 public:
  void OnCommit(const CommitEvent& event) override {
    absl::MutexLock lock(&mu_);
    events_.push_back(event);
  }
  void OnReadOnly(const absl::Status& status) override {
    absl::MutexLock lock(&mu_);
    read_only_.push_back(status);
  }
  std::vector<CommitEvent> events() {
    absl::MutexLock lock(&mu_);
    return events_;
  }
  std::vector<absl::Status> read_only() {
    absl::MutexLock lock(&mu_);
    return read_only_;
  }

 private:
  absl::Mutex mu_;
  std::vector<CommitEvent> events_ ABSL_GUARDED_BY(mu_);
  std::vector<absl::Status> read_only_ ABSL_GUARDED_BY(mu_);
};

class CommitterTest : public StoreTest {
 protected:
  CommitterTest() {
    auto driver = std::make_unique<GatedDriver>();
    driver_ = driver.get();
    StoreOptions options = Options();
    options.observers = {&recorder_};
    store_ = MakeStore(std::move(driver), options).value();
    world_ = std::make_unique<World>(store_.get(), vault_.get(), &clock_, 1);
    model_ = world_->ReadyModel("m");
  }
  Recorder recorder_;
  GatedDriver* driver_;
  ModelId model_;
};

TEST_F(CommitterTest, WhatWaitsWhileOneSyncsSharesTheNextSync) {
  const int before = driver_->writes(), arrived = driver_->arrived();
  absl::BlockingCounter answers(101);
  const auto done = [&](absl::StatusOr<Receipt> r) {
    EXPECT_TRUE(r.ok()) << r.status();
    answers.DecrementCount();
  };
  driver_->Close();
  store_->Post(CreateTickets{"a", {world_->Draft(model_, "first", "x")}}, done);
  driver_->AwaitArrivals(arrived + 1);  // the first is in its sync
  for (int i = 0; i < 100; ++i) {
    store_->Post(CreateTickets{"a", {world_->Draft(model_, std::to_string(i), "x")}}, done);
  }
  driver_->Open();
  answers.Wait();
  EXPECT_EQ(driver_->writes(), before + 2);
  EXPECT_EQ(recorder_.events().back().commands, 100);
}

TEST_F(CommitterTest, ARefusalWaitsForTheSyncOfItsGroup) {
  const NewTicket draft = world_->Draft(model_, "r", "x"), other = world_->Draft(model_, "r", "y");
  const int arrived = driver_->arrived();
  absl::Notification created, refused;
  driver_->Close();
  absl::Notification first_in_sync;
  store_->Post(CreateTickets{"a", {world_->Draft(model_, "zero", "x")}}, nullptr);
  driver_->AwaitArrivals(arrived + 1);
  // These two share a group; the refusal of the second
  // rests on the first, which is not on disk yet.
  store_->Post(CreateTickets{"a", {draft}}, [&](absl::StatusOr<Receipt> r) { created.Notify(); });
  store_->Post(CreateTickets{"a", {other}}, [&](absl::StatusOr<Receipt> r) {
    EXPECT_EQ(ErrorReason(r.status()), "REQUEST_ID_REUSED");
    EXPECT_TRUE(created.HasBeenNotified());
    EXPECT_EQ(store_->Snapshot()->FindRequest(draft.request_key)->value().ticket_id(),
              draft.id.value);
    refused.Notify();
  });
  EXPECT_FALSE(refused.HasBeenNotified());
  driver_->Open();
  refused.WaitForNotification();
}

TEST_F(CommitterTest, AfterAFailedSyncNothingIsWritten) {
  const TicketId kept = world_->File(model_);
  const uint64_t leaves = Leaves();
  driver_->FailWith(Error(absl::StatusCode::kUnavailable, "DISK_FULL", "no space"));
  EXPECT_EQ(Refusal(CreateTickets{"a", {world_->Draft(model_, "r", "x")}}), "DISK_FULL");
  driver_->FailWith(
      absl::OkStatus());  // the disk is fine again: the process must restart all the same
  const int writes = driver_->writes();
  absl::StatusOr<Receipt> late = store_->Commit(CancelTicket{"a", kept});
  EXPECT_EQ(late.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ErrorReason(late.status()), "DISK_FULL");
  EXPECT_EQ(ErrorReason(store_->Health()), "DISK_FULL");
  EXPECT_EQ(driver_->writes(), writes);
  EXPECT_EQ(Leaves(), leaves);
  EXPECT_EQ(world_->State(kept), TicketState::kQueued);  // reading goes on
  EXPECT_EQ(store_->Totals().tickets[TicketState::kQueued], 1);
  ASSERT_EQ(recorder_.read_only().size(), 1u);
}

TEST_F(CommitterTest, ObserversHearWhatChanged) {
  const TicketId id = world_->File(model_);
  CommitEvent filed = recorder_.events().back();
  ASSERT_EQ(filed.tickets.size(), 1u);
  EXPECT_FALSE(filed.tickets[0].before.has_value());
  EXPECT_EQ(filed.leaves, 1);
  EXPECT_EQ(filed.commands, 1);
  world_->Must(HoldTicket{"a", id});
  CommitEvent held = recorder_.events().back();
  EXPECT_FALSE(held.tickets.at(0).before->held());
  EXPECT_TRUE(held.tickets.at(0).after.held());
  EXPECT_EQ(Refusal(ApproveTicket{"a", id}), "WRONG_STATE");
  EXPECT_EQ(recorder_.events().back().refused, 1);
  EXPECT_TRUE(recorder_.events().back().tickets.empty());
  const size_t events = recorder_.events().size();
  store_->RemoveObserver(&recorder_);
  world_->Must(ReleaseTicket{"a", id});
  EXPECT_EQ(recorder_.events().size(), events);
}

TEST_F(CommitterTest, AnAnswerMayPostTheNextCommand) {
  absl::Notification second;
  store_->Post(CreateTickets{"a", {world_->Draft(model_, "r", "x")}},
               [&](absl::StatusOr<Receipt> r) {
                 const TicketId id{r->tickets[0].ticket_id()};
                 store_->Post(CancelTicket{"a", id}, [&](absl::StatusOr<Receipt> cancelled) {
                   EXPECT_TRUE(cancelled.ok());
                   second.Notify();
                 });
               });
  second.WaitForNotification();
}

TEST_F(CommitterTest, ClosingCommitsWhatWasPosted) {
  std::atomic<int> answered = 0;
  auto store = OpenMemoryStore(Options());
  World world(store.get(), vault_.get(), &clock_, 2);
  const ModelId model = world.ReadyModel("m");
  for (int i = 0; i < 50; ++i) {
    store->Post(CreateTickets{"a", {world.Draft(model, std::to_string(i), "x")}},
                [&](absl::StatusOr<Receipt> r) { answered += r.ok(); });
  }
  store.reset();
  EXPECT_EQ(answered, 50);
}

// The clock of a machine may jump back; the store's time does not.
TEST_F(CommitterTest, TimeNeverRunsBackwards) {
  clock_.Advance(absl::Hours(1));
  const TicketId late = world_->File(model_);
  clock_.Advance(-absl::Hours(1));
  const TicketId later = world_->File(model_);
  EXPECT_GE(world_->Ticket(later).create_us(), world_->Ticket(late).create_us());
}

}  // namespace
}  // namespace lethe::storage
