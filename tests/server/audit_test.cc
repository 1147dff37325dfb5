// Audits on demand over real gRPC: what reaches the caller, what reaches the verifier, and what
// happens when one of them goes away.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <future>
#include <set>
#include <thread>

#include "base/model_layout.h"
#include "evidence/report.h"
#include "tests/server/harness.h"

namespace lethe {
namespace {

using ::testing::ElementsAre;
using ::testing::StartsWith;

v1::AuditCheckpointRequest RequestFor(const std::string& model,
                                      const std::vector<int32_t>& ids = {5, 6, 7, 8}) {
  v1::AuditCheckpointRequest request;
  request.set_model_id(model);
  request.add_targets()->mutable_ids()->mutable_ids()->Add(ids.begin(), ids.end());
  return request;
}

// A caller and its stream.
struct AuditCall {
  AuditCall(Harness& h, const v1::AuditCheckpointRequest& request) {
    Harness::Prepare(context);
    reader = h.verifier->AuditCheckpoint(&context, request);
  }
  // The next message of this stage.
  v1::AuditProgress Until(const std::string& stage) {
    for (v1::AuditCheckpointResponse response; reader->Read(&response);) {
      if (response.progress().stage() == stage) return response.progress();
    }
    ADD_FAILURE() << "the stream ended before " << stage;
    return {};
  }
  // The rest of the stream: its report, and that nothing comes after it.
  v1::VerificationReport Report() {
    v1::AuditCheckpointResponse response;
    while (reader->Read(&response) && !response.has_report()) continue;
    EXPECT_TRUE(response.has_report());
    v1::AuditCheckpointResponse more;
    EXPECT_FALSE(reader->Read(&more));
    EXPECT_TRUE(reader->Finish().ok());
    return response.report();
  }
  CallError End() {
    for (v1::AuditCheckpointResponse unread; reader->Read(&unread);) {
      EXPECT_FALSE(unread.has_report());
    }
    return ErrorOf(reader->Finish());
  }
  grpc::ClientContext context;
  std::unique_ptr<grpc::ClientReader<v1::AuditCheckpointResponse>> reader;
};

struct Beat {
  grpc::Status status;
  v1::Directive directive;
};
Beat Heartbeat(Harness& h, const v1::Job& job, const std::string& phase = "attacking",
               int64_t step = 3) {
  v1::HeartbeatRequest request;
  request.set_job_id(job.job_id());
  request.set_fence(job.fence());
  request.mutable_progress()->set_phase(phase);
  request.mutable_progress()->set_step(step);
  request.mutable_progress()->set_max_steps(10);
  v1::HeartbeatResponse response;
  grpc::ClientContext context;
  Harness::Prepare(context);
  const grpc::Status status = h.work->Heartbeat(&context, request, &response);
  return {status, response.directive()};
}

void WaitFor(Harness& h, const std::string& series, const std::string& value) {
  while (h.Metric(series) != value) std::this_thread::yield();
}

bool NoneWaits(Harness& h) {
  return h.Acquire(v1::JOB_KIND_AUDIT, absl::Milliseconds(5)).job_id().empty();
}

TEST(Audit, ProgressAndReportReachTheCaller) {
  Harness h;
  const v1::Model model = h.RegisterReadyModel("m");
  h.server->WaitForFolders();
  const std::string before = h.Dump();
  AuditCall call(h, RequestFor("m"));
  const std::string id = call.Until("waiting").audit_id();
  EXPECT_THAT(id, StartsWith("a-"));
  EXPECT_EQ(h.Metric("lethe_audits_waiting"), "1");

  const v1::Job job = h.Acquire(v1::JOB_KIND_AUDIT);
  EXPECT_EQ(job.job_id(), id);
  EXPECT_EQ(job.kind(), v1::JOB_KIND_AUDIT);
  EXPECT_EQ(job.model_id(), "m");
  EXPECT_FALSE(job.digest_key().empty());
  ASSERT_EQ(job.verify().tickets_size(), 1);
  EXPECT_EQ(job.verify().tickets(0).ticket_id(), id);
  EXPECT_THAT(job.verify().tickets(0).sequences(0).ids(), ElementsAre(5, 6, 7, 8));
  EXPECT_EQ(job.verify().candidate_checkpoint_id(), model.current_checkpoint_id());
  EXPECT_EQ(job.verify().base_checkpoint_id(), model.current_checkpoint_id());
  EXPECT_EQ(job.verify().candidate_digest().size(), 64u);
  EXPECT_EQ(job.verify().attacks_size(), model.policy().attacks_size());
  call.Until("starting");
  EXPECT_EQ(h.Metric("lethe_audits_running"), "1");

  EXPECT_EQ(Heartbeat(h, job).directive, v1::DIRECTIVE_CONTINUE);
  const v1::AuditProgress progress = call.Until("attacking");
  EXPECT_EQ(progress.done(), 3);
  EXPECT_EQ(progress.total(), 10);

  ASSERT_TRUE(h.CompleteVerify(job, Harness::kForgotten).ok());
  const v1::VerificationReport report = call.Report();
  const auto check = CheckReport(report);
  ASSERT_TRUE(check.ok()) << check.status();
  EXPECT_TRUE(check->sound());
  EXPECT_EQ(check->verdict.outcome(), v1::OUTCOME_PASS);
  EXPECT_EQ(check->measurements.job_id(), id);
  EXPECT_EQ(h.Metric("lethe_audits_total{outcome=\"pass\"}"), "1");
  EXPECT_EQ(h.Metric("lethe_jobs_total{kind=\"audit\",outcome=\"succeeded\"}"), "1");
  EXPECT_EQ(h.Metric("lethe_audits_running"), "0");
  EXPECT_EQ(h.Dump(), before);  // nothing of it is durable
}

TEST(Audit, ACheckpointThatRemembersIsToldSo) {
  Harness h;
  h.RegisterReadyModel("m");
  AuditCall call(h, RequestFor("m"));
  ASSERT_TRUE(h.CompleteVerify(h.Acquire(v1::JOB_KIND_AUDIT), Harness::kRemembered).ok());
  EXPECT_EQ(call.Report().verdict().outcome(), v1::OUTCOME_NOT_FORGOTTEN);
  EXPECT_EQ(h.Metric("lethe_audits_total{outcome=\"not_forgotten\"}"), "1");
}

TEST(Audit, APollWakesWhenAnAuditComes) {
  Harness h;
  h.RegisterReadyModel("m");
  auto polled = std::async(std::launch::async,
                           [&] { return h.Acquire(v1::JOB_KIND_AUDIT, absl::Seconds(30)); });
  WaitFor(h, "lethe_polls", "1");
  const absl::Time asked = absl::Now();
  AuditCall call(h, RequestFor("m"));
  EXPECT_THAT(polled.get().job_id(), StartsWith("a-"));
  EXPECT_LT(absl::Now() - asked, absl::Seconds(10));  // the wait was thirty
}

// Promotes one more checkpoint; its id.
std::string Promote(Harness& h, const std::string& request_id) {
  h.clock.Advance(absl::Seconds(1));  // the registered checkpoint is the oldest
  const v1::Ticket ticket = h.File(request_id, "m");
  EXPECT_TRUE(h.CompleteUnlearn(h.Acquire(v1::JOB_KIND_UNLEARN)).ok());
  EXPECT_TRUE(h.CompleteVerify(h.Acquire(v1::JOB_KIND_VERIFY), Harness::kForgotten).ok());
  h.server->WaitForFolders();
  return h.Get(ticket.ticket_id()).checkpoint_id();
}

TEST(Audit, WhatTheCallerNamesReachesTheVerifier) {
  Harness h;
  const std::string registered = h.RegisterReadyModel("m").current_checkpoint_id();
  const std::string promoted = Promote(h, "r-1");
  v1::AuditCheckpointRequest request = RequestFor("m");
  request.set_checkpoint_id(registered);
  request.set_base_checkpoint_id(promoted);
  request.add_attacks()->set_attack("greedy_extraction");
  request.mutable_attacks(0)->set_condition("int4");
  request.set_max_forward_tokens(1'000);
  request.set_seed(77);
  AuditCall named(h, request);
  const v1::Job job = h.Acquire(v1::JOB_KIND_AUDIT);
  EXPECT_EQ(job.seed(), 77u);
  EXPECT_EQ(job.verify().candidate_checkpoint_id(), registered);
  EXPECT_EQ(job.verify().base_checkpoint_id(), promoted);
  EXPECT_EQ(job.verify().max_forward_tokens(), 1'000);
  ASSERT_EQ(job.verify().attacks_size(), 1);
  EXPECT_EQ(job.verify().attacks(0).condition(), "int4");
  // A verifier that left out what was asked for is refused; the audit goes on.
  v1::Job as_it_is = job;
  as_it_is.mutable_verify()->mutable_attacks(0)->clear_condition();
  EXPECT_EQ(ErrorOf(h.CompleteVerify(as_it_is, Harness::kForgotten)).reason, "REPORT_MALFORMED");
  EXPECT_TRUE(h.CompleteVerify(job, Harness::kForgotten).ok());

  // Left out, the current one is compared with the registered one.
  AuditCall unnamed(h, RequestFor("m"));
  const v1::Job other = h.Acquire(v1::JOB_KIND_AUDIT);
  EXPECT_EQ(other.verify().candidate_checkpoint_id(), promoted);
  EXPECT_EQ(other.verify().base_checkpoint_id(), registered);
  EXPECT_EQ(other.verify().unlearn_run().method(), "gradient_ascent");
  EXPECT_NE(other.seed(), 0u);
}

TEST(Audit, AFolderThatIsGoneIsRefused) {
  Harness h;
  const std::string registered = h.RegisterReadyModel("m").current_checkpoint_id();
  const std::string second = Promote(h, "r-1");
  const std::string third = Promote(h, "r-2");  // one retired checkpoint is kept: the second
  CallError error = AuditCall(h, RequestFor("m")).End();
  EXPECT_EQ(error.code, grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(error.reason, "CHECKPOINT_REMOVED");
  EXPECT_EQ(error.metadata["checkpoint"], registered);
  v1::AuditCheckpointRequest request = RequestFor("m");
  request.set_base_checkpoint_id(second);
  AuditCall call(h, request);
  EXPECT_EQ(h.Acquire(v1::JOB_KIND_AUDIT).verify().candidate_checkpoint_id(), third);

  // Nor does another model's checkpoint count.
  h.RegisterReadyModel("n");
  request.set_model_id("n");
  error = AuditCall(h, request).End();
  EXPECT_EQ(error.reason, "CHECKPOINT_NOT_FOUND");
}

TEST(Audit, CandidatesGoFirst) {
  Harness h;
  h.RegisterReadyModel("m");
  AuditCall call(h, RequestFor("m"));
  call.Until("waiting");
  h.File("r-1", "m");
  ASSERT_TRUE(h.CompleteUnlearn(h.Acquire(v1::JOB_KIND_UNLEARN)).ok());
  for (const v1::JobKind kind : {v1::JOB_KIND_VERIFY, v1::JOB_KIND_AUDIT}) {
    v1::AcquireJobRequest request;
    request.set_worker_id("w-1");
    request.add_kinds(v1::JOB_KIND_VERIFY);
    request.add_kinds(v1::JOB_KIND_AUDIT);
    request.mutable_wait()->set_seconds(5);
    v1::AcquireJobResponse response;
    grpc::ClientContext context;
    Harness::Prepare(context);
    ASSERT_TRUE(h.work->AcquireJob(&context, request, &response).ok());
    EXPECT_EQ(response.job().kind(), kind);
  }
}

TEST(Audit, ALostVerifierIsReplaced) {
  Harness h;
  h.RegisterReadyModel("m");
  AuditCall call(h, RequestFor("m"));
  const v1::Job lost = h.Acquire(v1::JOB_KIND_AUDIT);
  h.clock.Advance(h.config.lease_duration - absl::Seconds(1));
  ASSERT_TRUE(Heartbeat(h, lost).status.ok());  // as good as a new lease
  h.clock.Advance(h.config.lease_duration - absl::Seconds(1));
  h.server->Tick();
  EXPECT_TRUE(NoneWaits(h));
  h.clock.Advance(absl::Seconds(2));
  h.server->Tick();
  EXPECT_EQ(h.Metric("lethe_lease_lost_total"), "1");
  EXPECT_EQ(ErrorOf(Heartbeat(h, lost).status).reason, "LEASE_LOST");

  const v1::Job again = h.Acquire(v1::JOB_KIND_AUDIT, absl::ZeroDuration(), "w-2");
  EXPECT_EQ(again.job_id(), lost.job_id());
  EXPECT_EQ(again.seed(), lost.seed());
  EXPECT_GT(again.fence(), lost.fence());
  // The first is not dead, only slow: nothing it says counts any more.
  EXPECT_EQ(ErrorOf(Heartbeat(h, lost).status).reason, "LEASE_LOST");
  EXPECT_EQ(ErrorOf(h.CompleteVerify(lost, Harness::kForgotten)).reason, "LEASE_LOST");
  EXPECT_EQ(ErrorOf(h.Fail(lost, v1::FAILURE_CAUSE_INPUT, "ANY")).reason, "LEASE_LOST");
  EXPECT_EQ(h.Metric("lethe_stale_fence_total"), "4");
  ASSERT_TRUE(h.CompleteVerify(again, Harness::kRemembered).ok());
  EXPECT_EQ(call.Report().verdict().outcome(), v1::OUTCOME_NOT_FORGOTTEN);
}

// What a verifier keeps for the next one survives what happens to the model meanwhile, and goes with
// the audit.
TEST(Audit, KeptFiguresStayAsLongAsTheAudit) {
  namespace fs = std::filesystem;
  Harness h;
  h.RegisterReadyModel("m");
  const auto kept = [&](const v1::Job& job) {
    return fs::path(h.config.model_folder) / KeptWorkFolder(ModelId{"m"}, JobId{job.job_id()});
  };
  AuditCall done(h, RequestFor("m"));
  done.Until("waiting");
  AuditCall left(h, RequestFor("m"));
  left.Until("waiting");
  // The one that has waited longest is leased first.
  const v1::Job first = h.Acquire(v1::JOB_KIND_AUDIT), second = h.Acquire(v1::JOB_KIND_AUDIT);
  for (const v1::Job& job : {first, second}) fs::create_directories(kept(job));
  Promote(h, "r-1");
  EXPECT_TRUE(fs::exists(kept(first)));
  ASSERT_TRUE(h.CompleteVerify(first, Harness::kForgotten).ok());
  EXPECT_FALSE(fs::exists(kept(first)));
  EXPECT_TRUE(fs::exists(kept(second)));

  left.context.TryCancel();
  WaitFor(h, "lethe_audits_total{outcome=\"cancelled\"}", "1");
  h.server->WaitForFolders();
  EXPECT_FALSE(fs::exists(kept(second)));
  // Its verifier writes once more before it hears of the end.
  fs::create_directories(kept(second));
  h.clock.Advance(h.config.lease_duration + absl::Seconds(1));
  h.server->Tick();
  h.server->WaitForFolders();
  EXPECT_FALSE(fs::exists(kept(second)));
}

TEST(Audit, OneAuditGoesToOneOfManyVerifiers) {
  Harness h;
  h.RegisterReadyModel("m");
  std::vector<std::future<v1::Job>> polls;
  for (int i = 0; i < 4; ++i) {
    polls.push_back(std::async(std::launch::async, [&h, i] {
      return h.Acquire(v1::JOB_KIND_AUDIT, absl::Seconds(2), "w-" + std::to_string(i));
    }));
  }
  WaitFor(h, "lethe_polls", "4");
  AuditCall first(h, RequestFor("m")), second(h, RequestFor("m"));
  std::set<std::string> jobs;
  int served = 0;
  for (auto& poll : polls) {
    const std::string id = poll.get().job_id();
    served += id.empty() ? 0 : 1;
    if (!id.empty()) jobs.insert(id);
  }
  EXPECT_EQ(served, 2);
  EXPECT_EQ(jobs.size(), 2u);
}

TEST(Audit, TooManyLostVerifiersEndIt) {
  Harness h([](ServerConfig& config) { config.worker_loss_limit = 2; });
  h.RegisterReadyModel("m");
  AuditCall call(h, RequestFor("m"));
  for (int i = 0; i < 2; ++i) {
    EXPECT_FALSE(h.Acquire(v1::JOB_KIND_AUDIT).job_id().empty());
    h.clock.Advance(h.config.lease_duration + absl::Seconds(1));
    h.server->Tick();
  }
  CallError error = call.End();
  EXPECT_EQ(error.code, grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(error.reason, "AUDIT_FAILED");
  EXPECT_EQ(error.metadata["failure"], "WORKERS_LOST");
  EXPECT_TRUE(NoneWaits(h));
}

TEST(Audit, ACallerThatLeavesCancels) {
  Harness h;
  h.RegisterReadyModel("m");
  AuditCall waits(h, RequestFor("m"));
  waits.Until("waiting");
  waits.context.TryCancel();
  EXPECT_EQ(waits.End().code, grpc::StatusCode::CANCELLED);
  WaitFor(h, "lethe_audits_total{outcome=\"cancelled\"}", "1");
  EXPECT_TRUE(NoneWaits(h));

  AuditCall runs(h, RequestFor("m"));
  const v1::Job job = h.Acquire(v1::JOB_KIND_AUDIT);
  runs.context.TryCancel();
  WaitFor(h, "lethe_audits_total{outcome=\"cancelled\"}", "2");
  const Beat beat = Heartbeat(h, job);
  EXPECT_TRUE(beat.status.ok());
  EXPECT_EQ(beat.directive, v1::DIRECTIVE_CANCEL);
  EXPECT_EQ(ErrorOf(h.CompleteVerify(job, Harness::kForgotten)).reason, "LEASE_LOST");
  // Once the lease would have ended nothing is known of it.
  h.clock.Advance(h.config.lease_duration + absl::Seconds(1));
  h.server->Tick();
  EXPECT_EQ(ErrorOf(Heartbeat(h, job).status).reason, "LEASE_LOST");
}

TEST(Audit, AFailureIsToldToTheCaller) {
  Harness h;
  h.RegisterReadyModel("m");
  const struct {
    v1::FailureCause cause;
    const char* reason;
    grpc::StatusCode code;
    bool retry;
  } kCases[] = {
      {v1::FAILURE_CAUSE_INPUT, "NOTHING_TO_ATTACK", grpc::StatusCode::FAILED_PRECONDITION, false},
      {v1::FAILURE_CAUSE_METHOD, "UNKNOWN_ATTACK", grpc::StatusCode::FAILED_PRECONDITION, false},
      {v1::FAILURE_CAUSE_INFRASTRUCTURE, "OUT_OF_MEMORY", grpc::StatusCode::UNAVAILABLE, true},
      {v1::FAILURE_CAUSE_INFRASTRUCTURE, "CANDIDATE_CHANGED", grpc::StatusCode::FAILED_PRECONDITION,
       false},
      {v1::FAILURE_CAUSE_INFRASTRUCTURE, "BASE_CHANGED", grpc::StatusCode::FAILED_PRECONDITION,
       false}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.reason);
    AuditCall call(h, RequestFor("m"));
    ASSERT_TRUE(h.Fail(h.Acquire(v1::JOB_KIND_AUDIT), c.cause, c.reason).ok());
    CallError error = call.End();
    EXPECT_EQ(error.code, c.code);
    EXPECT_EQ(error.reason, "AUDIT_FAILED");
    EXPECT_EQ(error.metadata["failure"], c.reason);
    EXPECT_EQ(error.has_retry, c.retry);
  }
  EXPECT_EQ(h.Metric("lethe_audits_total{outcome=\"failed\"}"), "5");
}

TEST(Audit, AVerifierThatDrainsGivesItBack) {
  Harness h;
  h.RegisterReadyModel("m");
  AuditCall call(h, RequestFor("m"));
  const v1::Job job = h.Acquire(v1::JOB_KIND_AUDIT);
  auto polled = std::async(std::launch::async,
                           [&] { return h.Acquire(v1::JOB_KIND_AUDIT, absl::Seconds(30), "w-2"); });
  WaitFor(h, "lethe_polls", "1");
  ASSERT_TRUE(h.Fail(job, v1::FAILURE_CAUSE_DRAINED, "WORKER_DRAINED").ok());
  const v1::Job again = polled.get();
  EXPECT_EQ(again.job_id(), job.job_id());
  EXPECT_GT(again.fence(), job.fence());
}

TEST(Audit, AResultIsTakenOnceAndOfThisAuditOnly) {
  Harness h;
  h.RegisterReadyModel("m");
  v1::AuditCheckpointRequest request = RequestFor("m");
  *request.add_targets() = request.targets(0);
  AuditCall call(h, request);
  const v1::Job job = h.Acquire(v1::JOB_KIND_AUDIT);
  const auto complete = [&](const std::function<void(v1::Measurements&)>& change) {
    v1::Measurements measurements = h.Measure(job, Harness::kForgotten);
    change(measurements);
    v1::CompleteJobRequest complete;
    complete.set_job_id(job.job_id());
    complete.set_fence(job.fence());
    complete.mutable_verify()->set_measurements(measurements.SerializeAsString());
    v1::CompleteJobResponse response;
    grpc::ClientContext context;
    Harness::Prepare(context);
    return ErrorOf(h.work->CompleteJob(&context, complete, &response)).reason;
  };
  const std::string other = "a-" + std::string(32, '0');
  EXPECT_EQ(complete([&](auto& m) { m.set_job_id(other); }), "RESULT_MISMATCH");
  EXPECT_EQ(complete([](auto& m) { m.set_fence(99); }), "RESULT_MISMATCH");
  EXPECT_EQ(complete([](auto& m) { m.set_model_id("n"); }), "RESULT_MISMATCH");
  EXPECT_EQ(complete([](auto& m) { m.set_candidate_digest("x"); }), "RESULT_MISMATCH");
  EXPECT_EQ(complete([](auto& m) { m.set_base_checkpoint_id("x"); }), "RESULT_MISMATCH");
  EXPECT_EQ(complete([](auto& m) { m.mutable_forgotten()->RemoveLast(); }), "RESULT_MISMATCH");
  EXPECT_EQ(complete([](auto& m) { m.mutable_forgotten(1)->set_index(0); }), "RESULT_MISMATCH");
  EXPECT_EQ(complete([&](auto& m) { m.mutable_forgotten(0)->set_ticket_id(other); }),
            "RESULT_MISMATCH");
  EXPECT_EQ(complete([](auto& m) { m.clear_control_nll(); }), "REPORT_MALFORMED");
  EXPECT_EQ(complete([](auto&) {}), "");
  EXPECT_EQ(complete([](auto&) {}), "");  // the answer got lost
  EXPECT_EQ(complete([](auto& m) { m.set_relearning_rate(1); }), "LEASE_LOST");
  EXPECT_EQ(call.Report().verdict().outcome(), v1::OUTCOME_PASS);
  EXPECT_EQ(h.Metric("lethe_audits_total{outcome=\"pass\"}"), "1");
}

TEST(Audit, LimitsRefuseWhatTheVerifiersCannotTake) {
  Harness h([](ServerConfig& config) {
    config.max_audits = 2;
    config.max_waiting_audits = 1;
  });
  h.RegisterReadyModel("m");
  AuditCall first(h, RequestFor("m"));
  first.Until("waiting");
  CallError error = AuditCall(h, RequestFor("m")).End();
  EXPECT_EQ(error.code, grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(error.reason, "QUEUE_FULL");
  EXPECT_TRUE(error.has_retry);
  const v1::Job job = h.Acquire(v1::JOB_KIND_AUDIT);
  AuditCall second(h, RequestFor("m"));
  second.Until("waiting");
  error = AuditCall(h, RequestFor("m")).End();
  EXPECT_EQ(error.code, grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(error.reason, "TOO_MANY_CALLS");
  // A place that is left is given to the next.
  ASSERT_TRUE(h.CompleteVerify(job, Harness::kForgotten).ok());
  first.Report();
  h.Acquire(v1::JOB_KIND_AUDIT);
  AuditCall third(h, RequestFor("m"));
  third.Until("waiting");
}

TEST(Audit, ADrainEndsEveryStream) {
  Harness h;
  h.RegisterReadyModel("m");
  AuditCall runs(h, RequestFor("m"));
  h.Acquire(v1::JOB_KIND_AUDIT);
  AuditCall waits(h, RequestFor("m"));
  waits.Until("waiting");
  const absl::Time begin = absl::Now();
  h.server->Drain();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(8));
  for (AuditCall* call : {&runs, &waits}) {
    const CallError error = call->End();
    EXPECT_EQ(error.code, grpc::StatusCode::UNAVAILABLE);
    EXPECT_EQ(error.reason, "SERVER_DRAINING");
  }
  EXPECT_EQ(h.Metric("lethe_audits_total{outcome=\"drained\"}"), "2");
}

// Fences of a server that is gone prove nothing: its audits are gone with it.
TEST(Audit, ARestartedServerKnowsNoAudit) {
  Harness h;
  h.RegisterReadyModel("m");
  v1::Job job;
  {
    AuditCall call(h, RequestFor("m"));
    job = h.Acquire(v1::JOB_KIND_AUDIT);
    h.Restart();
    call.End();
  }
  EXPECT_EQ(ErrorOf(Heartbeat(h, job).status).reason, "LEASE_LOST");
  EXPECT_EQ(ErrorOf(h.CompleteVerify(job, Harness::kForgotten)).reason, "LEASE_LOST");
}

}  // namespace
}  // namespace lethe
