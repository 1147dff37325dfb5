// The way of a ticket through a real server and store, with
// a worker whose results the test supplies.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/server/harness.h"

namespace lethe {
namespace {

using ::testing::HasSubstr;

TEST(Lifecycle, ATicketGoesTheWholeWay) {
  Harness h;
  const v1::Model before = h.RegisterReadyModel("m");
  EXPECT_EQ(before.generation(), 1u);
  EXPECT_EQ(h.Current("m"), "checkpoints/" + before.current_checkpoint_id());

  const v1::Ticket filed = h.File("r-1", "m", {9, 8, 7, 6, 5});
  EXPECT_EQ(filed.state(), v1::TICKET_STATE_QUEUED);
  EXPECT_EQ(filed.sequences(), 1);
  EXPECT_EQ(filed.tokens(), 5);

  const v1::Job unlearn = h.Acquire(v1::JOB_KIND_UNLEARN);
  ASSERT_EQ(unlearn.unlearn().tickets_size(), 1);
  EXPECT_EQ(unlearn.unlearn().tickets(0).ticket_id(), filed.ticket_id());
  EXPECT_THAT(unlearn.unlearn().tickets(0).sequences(0).ids(),
              ::testing::ElementsAre(9, 8, 7, 6, 5));
  EXPECT_EQ(unlearn.unlearn().rung().preset(), "calibrated");
  EXPECT_EQ(unlearn.unlearn().base_digest(), before.facts().folder_digest());
  EXPECT_EQ(unlearn.unlearn().thresholds().sequences(), 20);
  EXPECT_EQ(unlearn.heartbeat_interval().seconds(), 20);
  EXPECT_EQ(unlearn.digest_key().size(), 64u);
  EXPECT_EQ(h.Get(filed.ticket_id()).state(), v1::TICKET_STATE_UNLEARNING);

  ASSERT_TRUE(h.CompleteUnlearn(unlearn).ok());
  EXPECT_EQ(h.Get(filed.ticket_id()).state(), v1::TICKET_STATE_VERIFYING);
  EXPECT_EQ(h.Current("m"), "checkpoints/" + before.current_checkpoint_id());

  const v1::Job verify = h.Acquire(v1::JOB_KIND_VERIFY);
  EXPECT_EQ(verify.verify().base_generation(), 1u);
  EXPECT_EQ(verify.verify().unlearn_run().method(), "gradient_ascent");
  EXPECT_GT(verify.verify().attacks_size(), 0);
  const grpc::Status done = h.CompleteVerify(verify, Harness::kForgotten);
  ASSERT_TRUE(done.ok()) << done.error_message();

  const v1::Ticket ticket = h.Get(filed.ticket_id());
  EXPECT_EQ(ticket.state(), v1::TICKET_STATE_COMPLETED) << ticket.ShortDebugString();
  EXPECT_EQ(ticket.reason(), v1::TICKET_REASON_FORGOTTEN);
  EXPECT_TRUE(ticket.payload_destroyed());
  EXPECT_EQ(ticket.checkpoint_id(), verify.verify().candidate_checkpoint_id());
  EXPECT_EQ(h.Current("m"), "checkpoints/" + ticket.checkpoint_id());

  v1::GetTicketReportRequest request;
  request.set_ticket_id(filed.ticket_id());
  v1::VerificationReport report;
  grpc::ClientContext context;
  Harness::Prepare(context);
  ASSERT_TRUE(h.deletion->GetTicketReport(&context, request, &report).ok());
  EXPECT_EQ(report.verdict().outcome(), v1::OUTCOME_PASS);
  EXPECT_EQ(h.Metric("lethe_promotions_total"), "2");  // registration's own, and this one
  EXPECT_EQ(h.Metric("lethe_verdicts_total{outcome=\"pass\"}"), "1");
  EXPECT_EQ(h.Metric("lethe_jobs_total{kind=\"unlearn\",outcome=\"succeeded\"}"), "1");
}

TEST(Lifecycle, ARejectedCandidateClimbsTheLadderThenFails) {
  Harness h;
  h.RegisterReadyModel("m");
  const std::string current = h.Current("m");
  const v1::Ticket filed = h.File("r-1", "m");
  for (int rung = 0; rung < 2; ++rung) {
    h.clock.Advance(absl::Minutes(10));  // past any back-off
    h.server->Tick();
    const v1::Job unlearn = h.Acquire(v1::JOB_KIND_UNLEARN);
    ASSERT_EQ(unlearn.unlearn().rung().preset(), rung == 0 ? "calibrated" : "careful");
    ASSERT_TRUE(h.CompleteUnlearn(unlearn).ok());
    ASSERT_TRUE(h.CompleteVerify(h.Acquire(v1::JOB_KIND_VERIFY), Harness::kRemembered).ok());
    EXPECT_EQ(h.Current("m"), current);
    EXPECT_FALSE(std::filesystem::exists(std::filesystem::path(h.config.model_folder) /
                                         unlearn.unlearn().output_folder()));
  }
  const v1::Ticket ticket = h.Get(filed.ticket_id());
  EXPECT_EQ(ticket.state(), v1::TICKET_STATE_FAILED);
  EXPECT_EQ(ticket.reason(), v1::TICKET_REASON_VERIFICATION_FAILED);
  EXPECT_EQ(ticket.report_ids_size(), 2);
  EXPECT_FALSE(ticket.payload_destroyed());

  v1::RetryTicketRequest retry;
  retry.set_ticket_id(filed.ticket_id());
  v1::Ticket again;
  grpc::ClientContext context;
  Harness::Prepare(context);
  ASSERT_TRUE(h.deletion->RetryTicket(&context, retry, &again).ok());
  EXPECT_EQ(again.state(), v1::TICKET_STATE_QUEUED);
  EXPECT_EQ(again.rung(), 0);
}

TEST(Lifecycle, TextIsTokenisedAsTheModelDoes) {
  Harness h;
  h.RegisterReadyModel("m");
  v1::CreateTicketRequest request = h.TicketRequest("r-1", "m", {1, 2});
  request.mutable_targets()->Clear();
  v1::Target* text = request.add_targets();
  text->set_text("anna met boris at the harbour");
  v1::Span* span = text->add_sensitive_spans();
  span->set_begin(9);
  span->set_end(14);
  v1::Target* pair = request.add_targets();
  pair->mutable_prompt_answer()->set_prompt("anna met");
  pair->mutable_prompt_answer()->set_answer(" clara at the market");

  request.set_validate_only(true);
  v1::Ticket preview;
  {
    grpc::ClientContext context;
    Harness::Prepare(context);
    const std::string dump = h.Dump();
    const grpc::Status status = h.deletion->CreateTicket(&context, request, &preview);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(h.Dump(), dump);
  }
  EXPECT_EQ(preview.ticket_id(), "");
  EXPECT_EQ(preview.preview().first_rung(), "gradient_ascent/calibrated");
  EXPECT_EQ(preview.preview().limits().max_tickets_per_batch(), 1000);
  ASSERT_EQ(preview.preview().target_tokens_size(), 2);

  request.set_validate_only(false);
  v1::Ticket ticket;
  grpc::ClientContext context;
  Harness::Prepare(context);
  ASSERT_TRUE(h.deletion->CreateTicket(&context, request, &ticket).ok());
  const v1::Job job = h.Acquire(v1::JOB_KIND_UNLEARN);
  const auto& sequences = job.unlearn().tickets(0).sequences();
  ASSERT_EQ(sequences.size(), 2);
  EXPECT_EQ(sequences[0].ids_size(), preview.preview().target_tokens(0));
  ASSERT_EQ(sequences[0].sensitive_size(), 1);
  EXPECT_GT(sequences[0].sensitive(0).begin(), 0);
  EXPECT_GT(sequences[1].prompt_tokens(), 0);
  EXPECT_LT(sequences[1].prompt_tokens(), sequences[1].ids_size());
}

TEST(Lifecycle, ApprovalDenialHoldAndExtension) {
  Harness h;
  v1::ModelPolicy policy;
  policy.set_approval_required(true);
  h.RegisterReadyModel("m", policy);
  const v1::Ticket one = h.File("r-1", "m");
  const v1::Ticket two = h.File("r-2", "m");
  EXPECT_EQ(one.state(), v1::TICKET_STATE_PENDING_APPROVAL);
  const auto context = [] {
    auto made = std::make_unique<grpc::ClientContext>();
    Harness::Prepare(*made);
    return made;
  };
  v1::Ticket ticket;

  v1::HoldTicketRequest hold;
  hold.set_ticket_id(one.ticket_id());
  ASSERT_TRUE(h.deletion->HoldTicket(context().get(), hold, &ticket).ok());
  EXPECT_TRUE(ticket.held());
  ASSERT_TRUE(h.deletion->HoldTicket(context().get(), hold, &ticket).ok());

  v1::ApproveTicketRequest approve;
  approve.set_ticket_id(one.ticket_id());
  approve.set_etag(one.etag());  // of before the hold
  CallError error = ErrorOf(h.deletion->ApproveTicket(context().get(), approve, &ticket));
  EXPECT_EQ(error.code, grpc::StatusCode::ABORTED);
  EXPECT_EQ(error.reason, "ETAG_MISMATCH");
  approve.set_etag(ticket.etag());
  ASSERT_TRUE(h.deletion->ApproveTicket(context().get(), approve, &ticket).ok());
  EXPECT_EQ(ticket.state(), v1::TICKET_STATE_QUEUED);
  EXPECT_EQ(h.Acquire(v1::JOB_KIND_UNLEARN, absl::Milliseconds(1)).job_id(), "");  // held

  v1::ReleaseTicketRequest release;
  release.set_ticket_id(one.ticket_id());
  ASSERT_TRUE(h.deletion->ReleaseTicket(context().get(), release, &ticket).ok());
  EXPECT_EQ(h.Acquire(v1::JOB_KIND_UNLEARN).unlearn().tickets_size(), 1);

  v1::DenyTicketRequest deny;
  deny.set_ticket_id(two.ticket_id());
  deny.set_reason(v1::TICKET_REASON_DUPLICATE);
  ASSERT_TRUE(h.deletion->DenyTicket(context().get(), deny, &ticket).ok());
  EXPECT_EQ(ticket.state(), v1::TICKET_STATE_DENIED);
  EXPECT_TRUE(ticket.payload_destroyed());

  v1::ExtendTicketRequest extend;
  extend.set_ticket_id(one.ticket_id());
  extend.set_reason("many requests at once");
  ASSERT_TRUE(h.deletion->ExtendTicket(context().get(), extend, &ticket).ok());
  EXPECT_GT(ticket.due_time().seconds(), ticket.original_due_time().seconds() + 58 * 86'400);
  EXPECT_EQ(ErrorOf(h.deletion->ExtendTicket(context().get(), extend, &ticket)).reason,
            "ALREADY_EXTENDED");
}

TEST(Lifecycle, CancelInTheMiddleReachesTheWorkerByHeartbeat) {
  Harness h;
  h.RegisterReadyModel("m");
  const v1::Ticket gone = h.File("r-1", "m");
  const v1::Ticket stays = h.File("r-2", "m");
  const v1::Job job = h.Acquire(v1::JOB_KIND_UNLEARN);
  ASSERT_EQ(job.unlearn().tickets_size(), 2);

  v1::CancelTicketRequest cancel;
  cancel.set_ticket_id(gone.ticket_id());
  v1::Ticket ticket;
  grpc::ClientContext context;
  Harness::Prepare(context);
  ASSERT_TRUE(h.deletion->CancelTicket(&context, cancel, &ticket).ok());
  EXPECT_EQ(ticket.state(), v1::TICKET_STATE_CANCELLED);

  v1::HeartbeatRequest beat;
  beat.set_job_id(job.job_id());
  beat.set_fence(job.fence());
  v1::HeartbeatResponse answer;
  grpc::ClientContext beat_context;
  Harness::Prepare(beat_context);
  ASSERT_TRUE(h.work->Heartbeat(&beat_context, beat, &answer).ok());
  EXPECT_EQ(answer.directive(), v1::DIRECTIVE_CANCEL);
  EXPECT_EQ(ErrorOf(h.CompleteUnlearn(job)).reason, "LEASE_LOST");

  const v1::Job next = h.Acquire(v1::JOB_KIND_UNLEARN);
  ASSERT_EQ(next.unlearn().tickets_size(), 1);
  EXPECT_EQ(next.unlearn().tickets(0).ticket_id(), stays.ticket_id());
}

TEST(Lifecycle, RequestIdsMakeFilingIdempotent) {
  Harness h;
  h.RegisterReadyModel("m");
  const v1::Ticket first = h.File("r-1", "m", {1, 2, 3});
  EXPECT_EQ(h.File("r-1", "m", {1, 2, 3}).ticket_id(), first.ticket_id());
  v1::Ticket ticket;
  grpc::ClientContext context;
  Harness::Prepare(context);
  const CallError error =
      ErrorOf(h.deletion->CreateTicket(&context, h.TicketRequest("r-1", "m", {1, 2, 4}), &ticket));
  EXPECT_EQ(error.code, grpc::StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(error.reason, "REQUEST_ID_REUSED");
  h.Restart();
  EXPECT_EQ(h.File("r-1", "m", {1, 2, 3}).ticket_id(), first.ticket_id());
}

TEST(Lifecycle, ARepeatIsAnsweredAfterItsDueTimeHasPassed) {
  Harness h;
  h.RegisterReadyModel("m");
  v1::CreateTicketRequest request = h.TicketRequest("r-1", "m", {1, 2, 3});
  request.set_regulation(v1::REGULATION_CUSTOM);
  request.mutable_due_time()->set_seconds(absl::ToUnixSeconds(h.clock.Now() + absl::Hours(1)));
  v1::Ticket first, second;
  grpc::ClientContext one, two;
  Harness::Prepare(one);
  Harness::Prepare(two);
  ASSERT_TRUE(h.deletion->CreateTicket(&one, request, &first).ok());
  h.clock.Advance(absl::Hours(2));
  ASSERT_TRUE(h.deletion->CreateTicket(&two, request, &second).ok());
  EXPECT_EQ(first.ticket_id(), second.ticket_id());
}

TEST(Lifecycle, BatchFilesAllOrNone) {
  Harness h;
  h.RegisterReadyModel("m");
  v1::BatchCreateTicketsRequest batch;
  *batch.add_requests() = h.TicketRequest("r-1", "m", {1, 2});
  *batch.add_requests() = h.TicketRequest("r-2", "m", {1, kVocabulary});
  v1::BatchCreateTicketsResponse response;
  const std::string dump = h.Dump();
  {
    grpc::ClientContext context;
    Harness::Prepare(context);
    const CallError error = ErrorOf(h.deletion->BatchCreateTickets(&context, batch, &response));
    EXPECT_EQ(error.reason, "TOKEN_OUT_OF_VOCABULARY");
    EXPECT_EQ(error.metadata.at("index"), "1");
    EXPECT_EQ(error.field, "requests[1].targets[0]");
    EXPECT_EQ(h.Dump(), dump);
  }
  batch.mutable_requests(1)->mutable_targets(0)->mutable_ids()->set_ids(1, 7);
  grpc::ClientContext context;
  Harness::Prepare(context);
  ASSERT_TRUE(h.deletion->BatchCreateTickets(&context, batch, &response).ok());
  EXPECT_EQ(response.tickets_size(), 2);
}

TEST(Lifecycle, PagesOfTicketsMeetEachTicketOnce) {
  Harness h;
  h.RegisterReadyModel("m");
  std::vector<std::string> filed;
  for (int i = 0; i < 7; ++i) {
    filed.push_back(h.File("r-" + std::to_string(i), "m").ticket_id());
    h.clock.Advance(absl::Seconds(1));
  }
  v1::ListTicketsRequest request;
  request.set_model_id("m");
  request.set_page_size(3);
  std::vector<std::string> listed;
  std::vector<int> sizes;
  do {
    v1::ListTicketsResponse response;
    grpc::ClientContext context;
    Harness::Prepare(context);
    ASSERT_TRUE(h.deletion->ListTickets(&context, request, &response).ok());
    for (const auto& ticket : response.tickets()) listed.push_back(ticket.ticket_id());
    sizes.push_back(response.tickets_size());
    request.set_page_token(response.next_page_token());
    if (sizes.size() == 1) {
      // Another filter with this token is refused.
      v1::ListTicketsRequest other = request;
      other.add_states(v1::TICKET_STATE_QUEUED);
      grpc::ClientContext refused;
      Harness::Prepare(refused);
      EXPECT_EQ(ErrorOf(h.deletion->ListTickets(&refused, other, &response)).reason,
                "PAGE_TOKEN_INVALID");
      h.Restart();  // tokens outlive the server
    }
  } while (!request.page_token().empty());
  std::reverse(filed.begin(), filed.end());
  EXPECT_EQ(listed, filed);
  EXPECT_EQ(sizes, (std::vector<int>{3, 3, 1}));
}

TEST(Lifecycle, RollbackWantsToBeAcknowledged) {
  Harness h;
  const v1::Model registered = h.RegisterReadyModel("m");
  h.File("r-1", "m");
  ASSERT_TRUE(h.CompleteUnlearn(h.Acquire(v1::JOB_KIND_UNLEARN)).ok());
  ASSERT_TRUE(h.CompleteVerify(h.Acquire(v1::JOB_KIND_VERIFY), Harness::kForgotten).ok());
  v1::RollbackModelRequest request;
  request.set_model_id("m");
  request.set_checkpoint_id(registered.current_checkpoint_id());
  request.set_expected_generation(2);
  request.set_reason("the new one is slow");
  v1::Model model;
  const auto call = [&] {
    grpc::ClientContext context;
    Harness::Prepare(context);
    return h.models->RollbackModel(&context, request, &model);
  };
  EXPECT_EQ(ErrorOf(call()).reason, "ROLLBACK_REEXPOSES_FORGOTTEN");
  request.set_acknowledge_reexposed(true);
  request.set_expected_generation(1);
  EXPECT_EQ(ErrorOf(call()).reason, "GENERATION_MISMATCH");
  request.set_expected_generation(2);
  ASSERT_TRUE(call().ok());
  EXPECT_EQ(model.generation(), 3u);
  h.server->WaitForFolders();
  EXPECT_EQ(h.Current("m"), "checkpoints/" + registered.current_checkpoint_id());

  v1::ListCheckpointsRequest list;
  list.set_model_id("m");
  list.set_page_size(1);
  v1::ListCheckpointsResponse page;
  grpc::ClientContext context;
  Harness::Prepare(context);
  ASSERT_TRUE(h.models->ListCheckpoints(&context, list, &page).ok());
  EXPECT_EQ(page.checkpoints_size(), 1);
  EXPECT_NE(page.next_page_token(), "");
}

TEST(Lifecycle, CurrentIsRepairedAtStart) {
  Harness h;
  const v1::Model model = h.RegisterReadyModel("m");
  h.server->WaitForFolders();
  h.Stop();
  // A crash between the store's commit and the switch leaves the link behind.
  std::filesystem::remove(std::filesystem::path(h.config.model_folder) / "m/current");
  std::filesystem::create_directories(std::filesystem::path(h.config.model_folder) /
                                      "m/incoming/j-1-f1");
  h.Restart();
  EXPECT_EQ(h.Current("m"), "checkpoints/" + model.current_checkpoint_id());
  EXPECT_FALSE(
      std::filesystem::exists(std::filesystem::path(h.config.model_folder) / "m/incoming/j-1-f1"));
}

}  // namespace
}  // namespace lethe
