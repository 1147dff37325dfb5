// Under load and while it stops the server refuses with a reason instead of growing, and ends what
// it has begun.
//
// The committer is held inside a commit: what was admitted stays in flight for as long as the test
// wants, and how many calls are refused does not depend on time.
#include <gtest/gtest.h>

#include <future>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "absl/synchronization/notification.h"
#include "tests/server/harness.h"
#include "tests/support/health_watch.h"

namespace lethe {
namespace {

using grpc::StatusCode;

// The first commit that it sees lasts until Release.
class Holder : public storage::CommitObserver {
 public:
  explicit Holder(storage::TicketStore* store) : store_(store) { store_->AddObserver(this); }
  ~Holder() override {
    Release();
    store_->RemoveObserver(this);
  }
  void OnCommit(const storage::CommitEvent&) override {
    if (!held_.HasBeenNotified()) held_.Notify();
    release_.WaitForNotification();
  }
  void WaitUntilHeld() { held_.WaitForNotification(); }
  void Release() {
    if (!release_.HasBeenNotified()) release_.Notify();
  }

 private:
  storage::TicketStore* const store_;
  absl::Notification held_, release_;
};

class Limits : public ::testing::Test {
 protected:
  // Files tickets from threads of their own; Refused waits for those that the server does not take.
  void FileMany(Harness& h, int count) {
    for (int i = 0; i < count; ++i) {
      const int number = filed_++;
      calls_.push_back(std::async(std::launch::async, [this, &h, number] {
        v1::Ticket ticket;
        grpc::ClientContext context;
        Harness::Prepare(context);
        const grpc::Status status = h.deletion->CreateTicket(
            &context, h.TicketRequest(absl::StrCat("r-", number), "m", {1, 2, 3}), &ticket);
        absl::MutexLock lock(&mu_);
        if (status.ok()) {
          accepted_.push_back(ticket.ticket_id());
        } else {
          refused_.push_back(ErrorOf(status));
        }
      }));
    }
  }
  std::vector<CallError> Refused(size_t count) {
    absl::MutexLock lock(&mu_);
    const auto enough = [&]()
                            ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return refused_.size() >= count; };
    mu_.Await(absl::Condition(&enough));
    EXPECT_TRUE(accepted_.empty());
    return refused_;
  }
  std::vector<std::string> Accepted() {
    for (auto& call : calls_) call.get();
    calls_.clear();
    absl::MutexLock lock(&mu_);
    return accepted_;
  }

  absl::Mutex mu_;
  std::vector<std::string> accepted_ ABSL_GUARDED_BY(mu_);
  std::vector<CallError> refused_ ABSL_GUARDED_BY(mu_);
  std::vector<std::future<void>> calls_;
  int filed_ = 0;
};

// One call holds the committer, two more are let in, five are not.
void ExpectFiveRefused(const std::vector<CallError>& refused, const std::string& reason) {
  ASSERT_EQ(refused.size(), 5u);
  for (const CallError& error : refused) {
    EXPECT_EQ(error.code, StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_EQ(error.reason, reason);
    EXPECT_TRUE(error.has_retry);
  }
}

TEST_F(Limits, CallsInFlight) {
  Harness h([](ServerConfig& config) { config.max_calls_in_flight = 3; });
  h.RegisterReadyModel("m");
  Holder holder(h.server->store());
  FileMany(h, 1);
  holder.WaitUntilHeld();
  FileMany(h, 7);
  ExpectFiveRefused(Refused(5), "TOO_MANY_CALLS");
  holder.Release();
  const std::vector<std::string> accepted = Accepted();
  EXPECT_EQ(accepted.size(), 3u);
  for (const std::string& id : accepted) EXPECT_EQ(h.Get(id).state(), v1::TICKET_STATE_QUEUED);
}

TEST_F(Limits, QueuedCommands) {
  Harness h([](ServerConfig& config) { config.max_queued_commands = 3; });
  h.RegisterReadyModel("m");
  Holder holder(h.server->store());
  FileMany(h, 1);
  holder.WaitUntilHeld();
  FileMany(h, 7);
  ExpectFiveRefused(Refused(5), "STORE_BUSY");
  // Reading goes on: it waits for no disk.
  v1::ListTicketsResponse page;
  grpc::ClientContext context;
  Harness::Prepare(context);
  EXPECT_TRUE(h.deletion->ListTickets(&context, {}, &page).ok());
  holder.Release();
  EXPECT_EQ(Accepted().size(), 3u);
  FileMany(h, 1);
  EXPECT_EQ(Accepted().size(), 4u);  // and writing goes on once there is room
}

TEST_F(Limits, ADrainReportsNotServingWhileCallsInFlightEnd) {
  Harness h([](ServerConfig& config) { config.drain_grace = absl::Minutes(10); });
  h.RegisterReadyModel("m");
  HealthWatch health(h.channel), of_service(h.channel, "lethe.v1.DeletionService");
  EXPECT_EQ(health.Next(), HealthWatch::kServing);
  EXPECT_EQ(of_service.Next(), HealthWatch::kServing);
  auto holder = std::make_unique<Holder>(h.server->store());
  FileMany(h, 1);
  holder->WaitUntilHeld();
  auto drained = std::async(std::launch::async, [&] { h.server->Drain(); });
  EXPECT_EQ(health.Next(), HealthWatch::kNotServing);
  EXPECT_EQ(of_service.Next(), HealthWatch::kNotServing);
  // Soon after that nothing new is taken, and what is in flight stays so.
  CallError error;
  while (error.code == StatusCode::OK) {
    v1::ListTicketsResponse page;
    grpc::ClientContext context;
    Harness::Prepare(context);
    error = ErrorOf(h.deletion->ListTickets(&context, {}, &page));
  }
  EXPECT_EQ(error.code, StatusCode::UNAVAILABLE);
  EXPECT_EQ(error.reason, "SERVER_DRAINING");
  EXPECT_TRUE(error.has_retry);
  EXPECT_EQ(drained.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  EXPECT_EQ(calls_[0].wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  holder->Release();
  const std::vector<std::string> accepted = Accepted();
  ASSERT_EQ(accepted.size(), 1u);
  drained.get();
  holder.reset();
  h.Restart();
  EXPECT_EQ(h.Get(accepted[0]).state(), v1::TICKET_STATE_QUEUED);
}

}  // namespace
}  // namespace lethe
