// Watches, drains and limits: what many callers at once see.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <fstream>
#include <future>
#include <thread>

#include "base/status.h"
#include "tests/server/harness.h"

namespace lethe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct TicketWatch {
  explicit TicketWatch(Harness& h, const std::string& id) {
    Harness::Prepare(context);
    v1::WatchTicketRequest request;
    request.set_ticket_id(id);
    reader = h.deletion->WatchTicket(&context, request);
  }
  // The next message whose ticket this likes.
  v1::Ticket Until(const std::function<bool(const v1::Ticket&)>& like) {
    v1::WatchTicketResponse response;
    while (reader->Read(&response)) {
      if (like(response.ticket())) return response.ticket();
    }
    ADD_FAILURE() << "the watch ended first";
    return {};
  }
  v1::Ticket UntilState(v1::TicketState state) {
    return Until([state](const v1::Ticket& t) { return t.state() == state; });
  }
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<v1::WatchTicketResponse>> reader;
};

TEST(Watch, ShowsEachStateProgressAndTheEnd) {
  Harness h;
  h.RegisterReadyModel("m");
  const v1::Ticket filed = h.File("r-1", "m");
  TicketWatch watch(h, filed.ticket_id());
  watch.UntilState(v1::TICKET_STATE_QUEUED);
  const v1::Job job = h.Acquire(v1::JOB_KIND_UNLEARN);
  watch.UntilState(v1::TICKET_STATE_UNLEARNING);
  v1::HeartbeatRequest beat;
  beat.set_job_id(job.job_id());
  beat.set_fence(job.fence());
  beat.mutable_progress()->set_phase("unlearning");
  beat.mutable_progress()->set_step(3);
  v1::HeartbeatResponse answer;
  grpc::ClientContext context;
  Harness::Prepare(context);
  ASSERT_TRUE(h.work->Heartbeat(&context, beat, &answer).ok());
  EXPECT_EQ(watch.Until([](const auto& t) { return t.has_progress(); }).progress().step(), 3);
  ASSERT_TRUE(h.CompleteUnlearn(job).ok());
  watch.UntilState(v1::TICKET_STATE_VERIFYING);
  ASSERT_TRUE(h.CompleteVerify(h.Acquire(v1::JOB_KIND_VERIFY), Harness::kForgotten).ok());
  const v1::Ticket done = watch.UntilState(v1::TICKET_STATE_COMPLETED);
  // Whoever hears it finds the checkpoint under `current`.
  EXPECT_EQ(h.Current("m"), "checkpoints/" + done.checkpoint_id());
  v1::WatchTicketResponse more;
  EXPECT_FALSE(watch.reader->Read(&more));
  EXPECT_TRUE(watch.reader->Finish().ok());
}

TEST(Watch, OfAnEndedTicketShowsItOnceAndEnds) {
  Harness h;
  h.RegisterReadyModel("m");
  const v1::Ticket filed = h.File("r-1", "m");
  v1::CancelTicketRequest cancel;
  cancel.set_ticket_id(filed.ticket_id());
  v1::Ticket ticket;
  grpc::ClientContext context;
  Harness::Prepare(context);
  ASSERT_TRUE(h.deletion->CancelTicket(&context, cancel, &ticket).ok());
  TicketWatch watch(h, filed.ticket_id());
  watch.UntilState(v1::TICKET_STATE_CANCELLED);
  EXPECT_TRUE(watch.reader->Finish().ok());
}

TEST(Watch, PromotionsOfOneModelOrOfAll) {
  Harness h;
  h.RegisterReadyModel("a");
  h.RegisterReadyModel("b");
  h.server->WaitForFolders();  // registration is a promotion too, told once `current` is there
  grpc::ClientContext all_context, b_context;
  Harness::Prepare(all_context);
  Harness::Prepare(b_context);
  v1::WatchPromotionsRequest request;
  const auto all = h.models->WatchPromotions(&all_context, request);
  request.set_model_id("b");
  const auto only_b = h.models->WatchPromotions(&b_context, request);
  all->WaitForInitialMetadata();
  only_b->WaitForInitialMetadata();
  for (const char* model : {"a", "b"}) {
    h.File(std::string("r-") + model, model);
    ASSERT_TRUE(h.CompleteUnlearn(h.Acquire(v1::JOB_KIND_UNLEARN)).ok());
    ASSERT_TRUE(h.CompleteVerify(h.Acquire(v1::JOB_KIND_VERIFY), Harness::kForgotten).ok());
  }
  v1::WatchPromotionsResponse seen;
  ASSERT_TRUE(only_b->Read(&seen));
  EXPECT_EQ(seen.model_id(), "b");
  EXPECT_EQ(seen.generation(), 2u);
  EXPECT_EQ(seen.folder(), "b/checkpoints/" + seen.checkpoint_id());
  std::vector<std::string> models;
  for (int i = 0; i < 2 && all->Read(&seen); ++i) models.push_back(seen.model_id());
  EXPECT_THAT(models, ElementsAre("a", "b"));
  all_context.TryCancel();
  b_context.TryCancel();
}

TEST(Watch, CallersThatLeaveAreForgotten) {
  Harness h([](ServerConfig& config) { config.max_watchers = 3; });
  h.RegisterReadyModel("m");
  const v1::Ticket filed = h.File("r-1", "m");
  std::vector<std::unique_ptr<TicketWatch>> watches;
  for (int i = 0; i < 3; ++i) {
    watches.push_back(std::make_unique<TicketWatch>(h, filed.ticket_id()));
    watches.back()->UntilState(v1::TICKET_STATE_QUEUED);
  }
  TicketWatch refused(h, filed.ticket_id());
  const CallError error = ErrorOf(refused.reader->Finish());
  EXPECT_EQ(error.code, grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(error.reason, "TOO_MANY_CALLS");
  EXPECT_TRUE(error.has_retry);
  for (auto& watch : watches) watch->context.TryCancel();
  for (auto& watch : watches)
    EXPECT_EQ(watch->reader->Finish().error_code(), grpc::StatusCode::CANCELLED);
  for (h.server->Tick(); h.Metric("lethe_watchers") != "0"; h.server->Tick())
    std::this_thread::yield();
  TicketWatch again(h, filed.ticket_id());
  again.UntilState(v1::TICKET_STATE_QUEUED);
  again.context.TryCancel();
}

TEST(Drain, WatchersAndPollsAreToldAndTheServerEnds) {
  Harness h;
  h.RegisterReadyModel("m");
  const v1::Ticket filed = h.File("r-1", "m");
  v1::HoldTicketRequest hold;
  hold.set_ticket_id(filed.ticket_id());
  v1::Ticket held;
  grpc::ClientContext hold_context;
  Harness::Prepare(hold_context);
  ASSERT_TRUE(h.deletion->HoldTicket(&hold_context, hold, &held).ok());
  TicketWatch watch(h, filed.ticket_id());
  watch.UntilState(v1::TICKET_STATE_QUEUED);
  grpc::ClientContext promotions_context;
  Harness::Prepare(promotions_context);
  const auto promotions = h.models->WatchPromotions(&promotions_context, {});
  promotions->WaitForInitialMetadata();
  auto poll = std::async(std::launch::async, [&] {
    v1::AcquireJobRequest request;
    request.set_worker_id("w-1");
    request.add_kinds(v1::JOB_KIND_UNLEARN);
    request.mutable_wait()->set_seconds(50);
    v1::AcquireJobResponse response;
    grpc::ClientContext context;
    Harness::Prepare(context);
    return h.work->AcquireJob(&context, request, &response);
  });
  while (h.Metric("lethe_polls") != "1") std::this_thread::yield();
  const absl::Time begin = absl::Now();
  h.server->Drain();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(8));
  // A stream's status comes after its last message.
  for (v1::WatchTicketResponse unread; watch.reader->Read(&unread);) continue;
  for (v1::WatchPromotionsResponse unread; promotions->Read(&unread);) continue;
  for (const grpc::Status& status : {watch.reader->Finish(), promotions->Finish(), poll.get()}) {
    const CallError error = ErrorOf(status);
    EXPECT_EQ(error.code, grpc::StatusCode::UNAVAILABLE) << status.error_message();
    EXPECT_EQ(error.reason, "SERVER_DRAINING");
  }
}

TEST(Drain, EveryAcknowledgedTicketIsThereAfterwards) {
  Harness h;
  h.RegisterReadyModel("m");
  std::atomic<bool> stop{false};
  std::vector<std::future<std::vector<std::string>>> callers;
  for (int c = 0; c < 4; ++c) {
    callers.push_back(std::async(std::launch::async, [&h, &stop, c] {
      std::vector<std::string> acknowledged;
      for (int i = 0; !stop; ++i) {
        v1::Ticket ticket;
        grpc::ClientContext context;
        Harness::Prepare(context);
        const auto request =
            h.TicketRequest("r-" + std::to_string(c) + "-" + std::to_string(i), "m", {1, 2, 3});
        const grpc::Status status = h.deletion->CreateTicket(&context, request, &ticket);
        if (!status.ok()) return acknowledged;
        acknowledged.push_back(ticket.ticket_id());
      }
      return acknowledged;
    }));
  }
  while (h.Metric("lethe_commit_batch_size_count").size() < 3) std::this_thread::yield();
  h.server->Drain();
  stop = true;
  std::vector<std::string> acknowledged;
  for (auto& caller : callers) {
    for (auto& id : caller.get()) acknowledged.push_back(id);
  }
  EXPECT_GT(acknowledged.size(), 4u);
  h.Restart();
  for (const std::string& id : acknowledged) EXPECT_EQ(h.Get(id).ticket_id(), id);
}

TEST(Limits, PollsBeyondTheLimitAreRefused) {
  Harness h([](ServerConfig& config) { config.max_polls = 1; });
  auto first = std::async(std::launch::async,
                          [&] { return h.Acquire(v1::JOB_KIND_VERIFY, absl::Seconds(2)); });
  while (h.Metric("lethe_polls") != "1") std::this_thread::yield();
  v1::AcquireJobRequest request;
  request.set_worker_id("w-2");
  request.add_kinds(v1::JOB_KIND_VERIFY);
  v1::AcquireJobResponse response;
  grpc::ClientContext context;
  Harness::Prepare(context);
  const CallError error = ErrorOf(h.work->AcquireJob(&context, request, &response));
  EXPECT_EQ(error.code, grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(error.reason, "TOO_MANY_CALLS");
  EXPECT_TRUE(error.has_retry);
  EXPECT_EQ(first.get().job_id(), "");
}

TEST(Limits, AFullQueueRefusesTicketsButAnswersRepeats) {
  Harness h([](ServerConfig& config) { config.max_waiting_tickets = 2; });
  h.RegisterReadyModel("m");
  const v1::Ticket first = h.File("r-1", "m");
  h.File("r-2", "m");
  v1::Ticket ticket;
  grpc::ClientContext context;
  Harness::Prepare(context);
  const CallError error =
      ErrorOf(h.deletion->CreateTicket(&context, h.TicketRequest("r-3", "m", {1, 2}), &ticket));
  EXPECT_EQ(error.code, grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(error.reason, "QUEUE_FULL");
  EXPECT_TRUE(error.has_retry);
  EXPECT_EQ(h.File("r-1", "m").ticket_id(), first.ticket_id());
  EXPECT_EQ(h.Acquire(v1::JOB_KIND_UNLEARN).unlearn().tickets_size(), 2);
  h.File("r-3", "m");
}

TEST(Limits, ASecondServerOnTheFolderIsRefused) {
  Harness h;
  const auto second = Server::Start(h.config, {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(ErrorReason(second.status()), "DATA_FOLDER_IN_USE");
}

TEST(Limits, AnAddressInUseIsSaidSo) {
  Harness h;
  ServerConfig config = h.config;
  config.data_folder = (h.root() / "other").string();
  config.listen_address = "127.0.0.1:" + std::to_string(h.server->port());
  const auto second = Server::Start(config, {});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(ErrorReason(second.status()), "LISTEN_FAILED");
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(config.listen_address));
}

TEST(Metrics, EverySeriesIsThereFromTheStart) {
  Harness h;
  const std::string text = h.Metrics();
  for (const char* series :
       {"grpc_server_started_total{grpc_method=\"CreateTicket\",grpc_service=\"lethe.v1."
        "DeletionService\",grpc_type=\"unary\"} 0",
        "grpc_server_handled_total{grpc_code=\"ResourceExhausted\",grpc_method=\"AcquireJob\",grpc_"
        "service=\"lethe.v1.WorkService\","
        "grpc_type=\"unary\"} 0",
        "grpc_type=\"server_stream\"", "lethe_tickets{state=\"QUEUED\"} 0",
        "lethe_oldest_waiting_ticket_age_seconds 0", "lethe_deadline_min_seconds +Inf",
        "lethe_jobs_total{kind=\"verify\",outcome=\"lost\"} 0", "lethe_lease_lost_total 0",
        "lethe_verdict_gates_total{attack=\"min_k\",result=\"fail\"} 0",
        "lethe_verdicts_total{outcome=\"destroyed\"} 0", "lethe_promotions_total 0",
        "lethe_build_info{version=\"", "lethe_commit_batch_size_bucket",
        "lethe_commit_sync_seconds_count"}) {
    EXPECT_THAT(text, HasSubstr(series));
  }
}

TEST(Metrics, CallsAreCountedByMethodAndCode) {
  Harness h;
  h.RegisterReadyModel("m");
  h.File("r-1", "m");
  v1::Ticket ticket;
  grpc::ClientContext context;
  Harness::Prepare(context);
  EXPECT_FALSE(h.deletion->CreateTicket(&context, h.TicketRequest("r-2", "m", {1}), &ticket).ok());
  const std::string labels =
      "grpc_method=\"CreateTicket\",grpc_service=\"lethe.v1.DeletionService\",grpc_type=\"unary\"}";
  EXPECT_EQ(h.Metric("grpc_server_started_total{" + labels), "2");
  EXPECT_EQ(h.Metric("grpc_server_handled_total{grpc_code=\"OK\"," + labels), "1");
  EXPECT_EQ(h.Metric("grpc_server_handled_total{grpc_code=\"InvalidArgument\"," + labels), "1");
  EXPECT_EQ(h.Metric("grpc_server_handling_seconds_count{" + labels), "2");
  h.clock.Advance(absl::Seconds(90));
  h.server->Tick();
  EXPECT_EQ(h.Metric("lethe_tickets{state=\"QUEUED\"}"), "1");
  EXPECT_EQ(h.Metric("lethe_oldest_waiting_ticket_age_seconds"), "90");
}

}  // namespace
}  // namespace lethe
