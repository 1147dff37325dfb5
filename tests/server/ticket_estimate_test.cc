// What a preview says of time: forecasts by hand, and the whole way over gRPC.
#include "server/policy/ticket_estimate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "server/convert.h"
#include "tests/server/harness.h"

namespace lethe {
namespace {

using ::testing::HasSubstr;

v1::Model ReadyModel(int32_t per_job = 32) {
  v1::Model model;
  *model.mutable_facts()->mutable_costs() = Harness::SomeCosts();
  v1::Rung* rung = model.mutable_policy()->add_ladder();
  rung->set_method("gradient_ascent");
  rung->set_preset("calibrated");
  model.mutable_policy()->set_max_tickets_per_job(per_job);
  return model;
}

const TextSize kText = {.sequences = 1, .tokens = 50, .square_tokens = 2500};

double Seconds(const google::protobuf::Duration& duration) {
  return absl::ToDoubleSeconds(*FromDuration(duration));
}

v1::TicketEstimate EstimateOf(const ForecastInput& input) {
  const TicketForecast forecast = ForecastTicket(input);
  EXPECT_TRUE(forecast.estimate.has_value());
  return forecast.estimate.value_or(v1::TicketEstimate());
}

TEST(TicketEstimate, AloneItWaitsForNothing) {
  const v1::Model model = ReadyModel();
  const v1::TicketEstimate e = EstimateOf({.model = model, .forget = kText});
  EXPECT_EQ(Seconds(e.wait().high()), 0);
  EXPECT_EQ(e.tickets_together(), 1);
  EXPECT_EQ(e.past_runs(), 0);
  EXPECT_GT(e.steps().low(), 0);
  EXPECT_LT(e.steps().low(), e.steps().typical());
  EXPECT_NEAR(Seconds(e.run().typical()),
              Seconds(e.unlearn().typical()) + Seconds(e.verify().typical()), 1e-6);
  EXPECT_EQ(e.worker_memory_bytes(), 1 << 30);
  // 16 of 20 retain texts are held: 160 tokens are the larger micro-batch.
  EXPECT_EQ(e.device_bytes(), 4000 + 28000 + 160 * 1000);
}

TEST(TicketEstimate, FullJobsAreWaitedForAndTheRestGoesAlong) {
  const v1::Model model = ReadyModel(/*per_job=*/2);
  const double pair =
      Seconds(EstimateOf({.model = model, .forget = {2, 100, 5000}}).run().typical());
  const auto with = [&](int64_t waiting) {
    return EstimateOf(
        {.model = model,
         .forget = kText,
         .backlog = {.waiting = std::vector<TextSize>(std::min<int64_t>(waiting, 3), kText),
                     .waiting_in_all = waiting}});
  };
  EXPECT_EQ(with(1).tickets_together(), 2);
  EXPECT_EQ(Seconds(with(1).wait().typical()), 0);
  EXPECT_NEAR(Seconds(with(1).run().typical()), pair, 1e-3);
  EXPECT_EQ(with(2).tickets_together(), 1);
  EXPECT_NEAR(Seconds(with(2).wait().typical()), pair, 1e-3);
  // Three of a thousand were read: the others are like them.
  EXPECT_NEAR(Seconds(with(1001).wait().typical()), 500 * pair, 1);
  EXPECT_NEAR(Seconds(with(1001).run().typical()), pair, 1e-3);
}

TEST(TicketEstimate, WhatRunsNowIsWaitedFor) {
  const v1::Model model = ReadyModel();
  const v1::TicketEstimate alone = EstimateOf({.model = model, .forget = kText});
  const double unlearn = Seconds(alone.unlearn().typical());
  const double verify = Seconds(alone.verify().typical());
  const auto wait = [&](ActiveJob active) {
    return Seconds(EstimateOf({.model = model, .forget = kText, .backlog = {.active = active}})
                       .wait()
                       .typical());
  };
  EXPECT_NEAR(wait({.forget = kText}), unlearn + verify, 1e-3);
  EXPECT_NEAR(wait({.forget = kText, .elapsed = absl::Seconds(5)}), unlearn + verify - 5, 1e-3);
  // It takes longer than was thought: the verification is still to come.
  EXPECT_NEAR(wait({.forget = kText, .elapsed = absl::Hours(9)}), verify, 1e-3);
  EXPECT_NEAR(wait({.verifies = true, .forget = kText, .elapsed = absl::Seconds(1)}), verify - 1,
              1e-3);
  EXPECT_EQ(wait({.verifies = true, .forget = kText, .elapsed = absl::Hours(9)}), 0);
}

TEST(TicketEstimate, CompanyIsWaitedForUnlessTheJobIsFull) {
  v1::Model model = ReadyModel(/*per_job=*/2);
  model.mutable_policy()->mutable_max_batch_wait()->set_seconds(3600);
  EXPECT_EQ(Seconds(EstimateOf({.model = model, .forget = kText}).wait().typical()), 3600);
  const v1::TicketEstimate second = EstimateOf(
      {.model = model, .forget = kText, .backlog = {.waiting = {kText}, .waiting_in_all = 1}});
  EXPECT_EQ(Seconds(second.wait().typical()), 0);
}

TEST(TicketEstimate, PastRunsSetTheSteps) {
  const v1::Model model = ReadyModel();
  const v1::TicketEstimate e =
      EstimateOf({.model = model, .forget = kText, .history = {{30, 1}, {20, 1}, {25, 1}}});
  EXPECT_EQ(e.past_runs(), 3);
  EXPECT_EQ(e.steps().typical(), 25);
}

std::string OnlyReason(const v1::Model& model) {
  const TicketForecast forecast = ForecastTicket({.model = model, .forget = kText});
  return forecast.notices.size() == 1 ? forecast.notices[0].reason() : "";
}

TEST(TicketEstimate, SaysWhatIsMissing) {
  v1::Model old = ReadyModel();
  old.mutable_facts()->clear_costs();
  EXPECT_FALSE(ForecastTicket({.model = old, .forget = kText}).estimate.has_value());
  EXPECT_EQ(OnlyReason(old), "NO_ESTIMATE");
  v1::Model wrong = ReadyModel();  // no worker of ours says so, but a client can
  wrong.mutable_facts()->mutable_costs()->set_train_token_seconds(-1);
  EXPECT_EQ(OnlyReason(wrong), "NO_ESTIMATE");
  v1::Model small = ReadyModel();
  small.mutable_facts()->mutable_costs()->set_memory_bytes(100000);
  EXPECT_EQ(OnlyReason(small), "MEMORY_SHORT");
  v1::Model unmeasured = ReadyModel();
  unmeasured.mutable_facts()->mutable_costs()->set_step_measured(false);
  EXPECT_EQ(OnlyReason(unmeasured), "STEP_NOT_MEASURED");
  EXPECT_EQ(OnlyReason(ReadyModel()), "");
}

TEST(TicketEstimate, FiguresOfAnySizeStayFigures) {
  v1::Model model = ReadyModel();
  v1::ModelCosts* costs = model.mutable_facts()->mutable_costs();
  costs->set_train_token_seconds(1e300);
  costs->set_step_bytes(INT64_MAX);
  v1::TextSize& retain = (*costs->mutable_texts())["retain"];
  retain.set_sequences(INT64_MAX);
  retain.set_tokens(-5);
  retain.set_square_tokens(std::numeric_limits<double>::quiet_NaN());
  const v1::TicketEstimate e =
      EstimateOf({.model = model,
                  .forget = kText,
                  .backlog = {.waiting = {kText}, .waiting_in_all = INT64_MAX}});
  EXPECT_GT(e.device_bytes(), 0);
  EXPECT_EQ(Seconds(e.unlearn().typical()), kLongest);
  EXPECT_EQ(Seconds(e.wait().typical()), kLongest);
}

v1::TicketPreview PreviewOf(Harness& h, const std::string& request_id) {
  v1::CreateTicketRequest request = h.TicketRequest(request_id, "m", {5, 6, 7, 8});
  request.set_validate_only(true);
  v1::Ticket ticket;
  grpc::ClientContext context;
  Harness::Prepare(context);
  const grpc::Status status = h.deletion->CreateTicket(&context, request, &ticket);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return ticket.preview();
}

TEST(PreviewOverGrpc, FollowsTheQueueTheJobAndTheHistory) {
  Harness h;
  h.RegisterReadyModel("m");
  const v1::TicketEstimate first = PreviewOf(h, "r-0").estimate();
  EXPECT_GT(Seconds(first.run().low()), 0);
  EXPECT_EQ(Seconds(first.wait().high()), 0);
  EXPECT_EQ(first.past_runs(), 0);
  EXPECT_EQ(first.tickets_together(), 1);

  h.File("r-1", "m");
  const v1::TicketPreview second = PreviewOf(h, "r-2");
  EXPECT_EQ(second.tickets_ahead(), 1);
  EXPECT_EQ(second.estimate().tickets_together(), 2);
  EXPECT_GT(Seconds(second.estimate().run().typical()), Seconds(first.run().typical()));

  const v1::Job unlearn = h.Acquire(v1::JOB_KIND_UNLEARN);
  const v1::TicketEstimate third = PreviewOf(h, "r-3").estimate();
  EXPECT_EQ(third.tickets_together(), 1);
  EXPECT_NEAR(Seconds(third.wait().typical()), Seconds(first.run().typical()), 0.01);
  h.clock.Advance(absl::Seconds(3));
  EXPECT_NEAR(Seconds(PreviewOf(h, "r-3").estimate().wait().typical()),
              Seconds(first.run().typical()) - 3, 0.01);

  ASSERT_TRUE(h.CompleteUnlearn(unlearn).ok());
  EXPECT_NEAR(Seconds(PreviewOf(h, "r-4").estimate().wait().typical()),
              Seconds(first.verify().typical()), 0.01);
  ASSERT_TRUE(h.CompleteVerify(h.Acquire(v1::JOB_KIND_VERIFY), Harness::kForgotten).ok());
  const v1::TicketEstimate last = PreviewOf(h, "r-5").estimate();
  EXPECT_EQ(Seconds(last.wait().high()), 0);
  EXPECT_EQ(last.past_runs(), 1);
}

TEST(PreviewOverGrpc, AnOlderModelHasNoEstimateAndIsToldWhy) {
  Harness h;
  h.costs.reset();
  h.RegisterReadyModel("m");
  const v1::TicketPreview preview = PreviewOf(h, "r-1");
  EXPECT_FALSE(preview.has_estimate());
  ASSERT_EQ(preview.notices_size(), 1);
  EXPECT_EQ(preview.notices(0).reason(), "NO_ESTIMATE");
  EXPECT_THAT(preview.notices(0).sentence(), HasSubstr("register the model again"));
}

}  // namespace
}  // namespace lethe
