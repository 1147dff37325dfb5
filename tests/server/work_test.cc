// Leases, fences and long polls over real gRPC.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "absl/time/clock.h"
#include "base/file.h"
#include "tests/server/harness.h"

namespace lethe {
namespace {

TEST(Work, APollWakesWhenWorkComes) {
  Harness h;
  h.RegisterReadyModel("m");
  auto polled = std::async(std::launch::async,
                           [&] { return h.Acquire(v1::JOB_KIND_UNLEARN, absl::Seconds(30)); });
  while (h.Metric("lethe_polls") != "1") std::this_thread::yield();
  const absl::Time filed = absl::Now();
  h.File("r-1", "m");
  const v1::Job job = polled.get();
  EXPECT_EQ(job.unlearn().tickets_size(), 1);
  EXPECT_LT(absl::Now() - filed, absl::Seconds(10));  // the wait was thirty
}

TEST(Work, APollWithoutWorkEndsEmpty) {
  Harness h;
  EXPECT_EQ(h.Acquire(v1::JOB_KIND_VERIFY, absl::Milliseconds(5)).job_id(), "");
}

TEST(Work, OneJobGoesToOneOfManyPolls) {
  Harness h;
  h.RegisterReadyModel("m");
  std::vector<std::future<v1::Job>> polls;
  for (int i = 0; i < 8; ++i) {
    polls.push_back(std::async(std::launch::async, [&h, i] {
      return h.Acquire(v1::JOB_KIND_UNLEARN, absl::Seconds(2), "w-" + std::to_string(i));
    }));
  }
  while (h.Metric("lethe_polls") != "8") std::this_thread::yield();
  h.File("r-1", "m");
  int served = 0;
  for (auto& poll : polls) served += poll.get().job_id().empty() ? 0 : 1;
  EXPECT_EQ(served, 1);
}

TEST(Work, ALostWorkerGivesItsJobBackAfterTheLease) {
  Harness h;
  h.RegisterReadyModel("m");
  h.File("r-1", "m");
  const v1::Job lost = h.Acquire(v1::JOB_KIND_UNLEARN);
  h.clock.Advance(h.config.lease_duration - absl::Seconds(1));
  h.server->Tick();
  EXPECT_EQ(h.Acquire(v1::JOB_KIND_UNLEARN, absl::Milliseconds(1)).job_id(), "");
  h.clock.Advance(absl::Seconds(2));
  h.server->Tick();
  EXPECT_EQ(h.Metric("lethe_lease_lost_total"), "1");
  h.clock.Advance(absl::Minutes(10));
  h.server->Tick();
  const v1::Job again = h.Acquire(v1::JOB_KIND_UNLEARN);
  EXPECT_EQ(again.job_id(), lost.job_id());
  EXPECT_GT(again.fence(), lost.fence());
  EXPECT_EQ(again.seed(), lost.seed());
  EXPECT_EQ(again.digest_key(), lost.digest_key());
  EXPECT_NE(again.unlearn().output_folder(), lost.unlearn().output_folder());

  const CallError late = ErrorOf(h.CompleteUnlearn(lost));
  EXPECT_EQ(late.code, grpc::StatusCode::ABORTED);
  EXPECT_EQ(late.reason, "LEASE_LOST");
  EXPECT_EQ(h.Metric("lethe_stale_fence_total"), "1");
  EXPECT_TRUE(h.CompleteUnlearn(again).ok());
  EXPECT_TRUE(h.CompleteUnlearn(again).ok());  // the reply was lost: the same answer
}

TEST(Work, AHeartbeatExtendsTheLeaseAndShowsProgress) {
  Harness h;
  h.RegisterReadyModel("m");
  const v1::Ticket filed = h.File("r-1", "m");
  const v1::Job job = h.Acquire(v1::JOB_KIND_UNLEARN);
  h.clock.Advance(absl::Seconds(50));
  v1::HeartbeatRequest beat;
  beat.set_job_id(job.job_id());
  beat.set_fence(job.fence());
  beat.mutable_progress()->set_phase("unlearning");
  beat.mutable_progress()->set_step(7);
  (*beat.mutable_progress()->mutable_figures())["loss"] = 1.5;
  (*beat.mutable_progress()->mutable_figures())["Jane Doe"] = 1.0;  // no name of a figure
  v1::HeartbeatResponse answer;
  grpc::ClientContext context;
  Harness::Prepare(context);
  ASSERT_TRUE(h.work->Heartbeat(&context, beat, &answer).ok());
  EXPECT_EQ(answer.directive(), v1::DIRECTIVE_CONTINUE);
  EXPECT_EQ(answer.lease_expire_time().seconds(),
            absl::ToUnixSeconds(h.clock.Now() + absl::Seconds(60)));
  const v1::Progress progress = h.Get(filed.ticket_id()).progress();
  EXPECT_EQ(progress.phase(), "unlearning");
  EXPECT_EQ(progress.step(), 7);
  EXPECT_EQ(progress.figures_size(), 1);
  ASSERT_TRUE(h.CompleteUnlearn(job).ok());
  EXPECT_FALSE(h.Get(filed.ticket_id()).has_progress());
}

TEST(Work, ArtefactsAreLookedAtBeforeTheyCount) {
  Harness h;
  h.RegisterReadyModel("m");
  h.File("r-1", "m");
  const v1::Job job = h.Acquire(v1::JOB_KIND_UNLEARN);
  const std::string dump = h.Dump();
  const CallError missing = ErrorOf(h.CompleteUnlearn(job, /*write_folder=*/false));
  EXPECT_EQ(missing.code, grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(missing.reason, "ARTEFACT_MISMATCH");

  v1::CompleteJobRequest other;
  other.set_job_id(job.job_id());
  other.set_fence(job.fence());
  other.mutable_unlearn()->set_candidate_digest(std::string(64, 'a'));
  v1::CompleteJobResponse response;
  grpc::ClientContext context;
  Harness::Prepare(context);
  std::filesystem::create_directories(std::filesystem::path(h.config.model_folder) /
                                      job.unlearn().output_folder());
  EXPECT_EQ(ErrorOf(h.work->CompleteJob(&context, other, &response)).reason, "ARTEFACT_MISMATCH");
  EXPECT_EQ(h.Dump(), dump);
}

TEST(Work, MeasurementsOfAnotherLeaseAreRefused) {
  Harness h;
  h.RegisterReadyModel("m");
  h.File("r-1", "m");
  ASSERT_TRUE(h.CompleteUnlearn(h.Acquire(v1::JOB_KIND_UNLEARN)).ok());
  const v1::Job job = h.Acquire(v1::JOB_KIND_VERIFY);
  const std::string dump = h.Dump();
  const auto send = [&](const std::function<void(v1::Measurements&)>& change) {
    v1::Measurements measured = h.Measure(job, Harness::kForgotten);
    change(measured);
    v1::CompleteJobRequest request;
    request.set_job_id(job.job_id());
    request.set_fence(job.fence());
    request.mutable_verify()->set_measurements(measured.SerializeAsString());
    v1::CompleteJobResponse response;
    grpc::ClientContext context;
    Harness::Prepare(context);
    return ErrorOf(h.work->CompleteJob(&context, request, &response)).reason;
  };
  EXPECT_EQ(send([](auto& m) { m.set_fence(99); }), "RESULT_MISMATCH");
  EXPECT_EQ(send([](auto& m) { m.set_candidate_digest("00"); }), "RESULT_MISMATCH");
  EXPECT_EQ(send([](auto& m) { m.clear_forgotten(); }), "RESULT_MISMATCH");
  EXPECT_EQ(send([](auto& m) { m.clear_attacks(); }), "REPORT_MALFORMED");
  EXPECT_EQ(h.Dump(), dump);
  EXPECT_TRUE(h.CompleteVerify(job, Harness::kForgotten).ok());
}

TEST(Work, FailuresGoByWhoseFaultTheyAre) {
  Harness h;
  h.RegisterReadyModel("m");
  const v1::Ticket filed = h.File("r-1", "m");
  const v1::Job first = h.Acquire(v1::JOB_KIND_UNLEARN);
  ASSERT_TRUE(h.Fail(first, v1::FAILURE_CAUSE_DRAINED, "DRAINED").ok());
  const v1::Job second = h.Acquire(v1::JOB_KIND_UNLEARN);
  EXPECT_EQ(second.job_id(), first.job_id());
  ASSERT_TRUE(h.Fail(second, v1::FAILURE_CAUSE_INFRASTRUCTURE, "DISK_FULL").ok());
  EXPECT_EQ(h.Acquire(v1::JOB_KIND_UNLEARN, absl::Milliseconds(1)).job_id(), "");  // it rests
  h.clock.Advance(h.config.retry_cap);
  h.server->Tick();
  const v1::Job third = h.Acquire(v1::JOB_KIND_UNLEARN);
  EXPECT_EQ(third.job_id(), first.job_id());
  ASSERT_TRUE(h.Fail(third, v1::FAILURE_CAUSE_METHOD, "METHOD_DIVERGED").ok());
  h.clock.Advance(h.config.retry_cap);
  h.server->Tick();
  const v1::Job fourth = h.Acquire(v1::JOB_KIND_UNLEARN);
  EXPECT_NE(fourth.job_id(), first.job_id());
  EXPECT_EQ(fourth.unlearn().rung().preset(), "careful");
  ASSERT_TRUE(h.Fail(fourth, v1::FAILURE_CAUSE_INPUT, "INPUT_UNUSABLE").ok());
  EXPECT_EQ(h.Get(filed.ticket_id()).state(), v1::TICKET_STATE_FAILED);
}

// A ticket whose candidate waits for its verification.
struct AtVerification {
  explicit AtVerification(Harness& h) : harness(h) {
    h.RegisterReadyModel("m");
    current = h.Current("m");
    ticket = h.File("r-1", "m").ticket_id();
    const v1::Job unlearn = h.Acquire(v1::JOB_KIND_UNLEARN);
    folder = std::filesystem::path(h.config.model_folder) / unlearn.unlearn().output_folder();
    EXPECT_TRUE(h.CompleteUnlearn(unlearn).ok());
  }
  v1::CheckpointState StateOfCandidate() const {
    v1::ListCheckpointsRequest request;
    request.set_model_id("m");
    v1::ListCheckpointsResponse response;
    grpc::ClientContext context;
    Harness::Prepare(context);
    EXPECT_TRUE(harness.models->ListCheckpoints(&context, request, &response).ok());
    for (const v1::Checkpoint& c : response.checkpoints()) {
      if (folder.filename() == c.checkpoint_id()) return c.state();
    }
    return v1::CHECKPOINT_STATE_UNSPECIFIED;
  }
  void ExpectUndecided() const {
    EXPECT_EQ(harness.Get(ticket).state(), v1::TICKET_STATE_VERIFYING);
    EXPECT_EQ(StateOfCandidate(), v1::CHECKPOINT_STATE_CANDIDATE);
    EXPECT_EQ(harness.Current("m"), current);
    EXPECT_TRUE(std::filesystem::exists(folder / "model.safetensors"));
  }
  void Rest() const {
    harness.clock.Advance(harness.config.retry_cap);
    harness.server->Tick();
  }

  Harness& harness;
  std::string ticket, current;
  std::filesystem::path folder;  // the candidate's
};

TEST(Work, AVerifierWithoutSpaceDecidesNothing) {
  Harness h;
  const AtVerification at(h);
  const v1::Job first = h.Acquire(v1::JOB_KIND_VERIFY);
  ASSERT_TRUE(h.Fail(first, v1::FAILURE_CAUSE_INFRASTRUCTURE, "DISK_FULL").ok());
  at.ExpectUndecided();
  at.Rest();
  const v1::Job next = h.Acquire(v1::JOB_KIND_VERIFY);
  EXPECT_EQ(next.job_id(), first.job_id());
  EXPECT_GT(next.fence(), first.fence());
  EXPECT_EQ(next.verify().candidate_digest(), first.verify().candidate_digest());
  at.ExpectUndecided();
  ASSERT_TRUE(h.CompleteVerify(next, Harness::kForgotten).ok());
  EXPECT_EQ(h.Get(at.ticket).state(), v1::TICKET_STATE_COMPLETED);
  EXPECT_EQ(h.Get(at.ticket).rung(), 0);
}

// The slow one says that all is well; the one with the lease says that it is not.
TEST(Work, OfTwoVerifiersOnOneJobTheFenceDecides) {
  Harness h;
  const AtVerification at(h);
  const v1::Job slow = h.Acquire(v1::JOB_KIND_VERIFY);
  h.clock.Advance(h.config.lease_duration + absl::Seconds(1));
  h.server->Tick();
  at.Rest();
  const v1::Job current = h.Acquire(v1::JOB_KIND_VERIFY, absl::ZeroDuration(), "w-2");
  ASSERT_EQ(current.job_id(), slow.job_id());
  ASSERT_GT(current.fence(), slow.fence());
  const auto refused = [&](const grpc::Status& status) {
    EXPECT_EQ(status.error_code(), grpc::StatusCode::ABORTED);
    EXPECT_EQ(ErrorOf(status).reason, "LEASE_LOST");
  };
  const std::string dump = h.Dump();
  refused(h.CompleteVerify(slow, Harness::kForgotten));
  refused(h.Fail(slow, v1::FAILURE_CAUSE_INPUT, "INPUT_UNUSABLE"));
  // Nor with the other's fence: the measurements say whose they are.
  v1::CompleteJobRequest borrowed;
  borrowed.set_job_id(slow.job_id());
  borrowed.set_fence(current.fence());
  borrowed.mutable_verify()->set_measurements(
      h.Measure(slow, Harness::kForgotten).SerializeAsString());
  v1::CompleteJobResponse response;
  grpc::ClientContext context;
  Harness::Prepare(context);
  EXPECT_EQ(ErrorOf(h.work->CompleteJob(&context, borrowed, &response)).reason, "RESULT_MISMATCH");
  EXPECT_EQ(h.Dump(), dump);
  at.ExpectUndecided();

  ASSERT_TRUE(h.CompleteVerify(current, Harness::kRemembered).ok());
  EXPECT_EQ(at.StateOfCandidate(), v1::CHECKPOINT_STATE_REJECTED);
  refused(h.CompleteVerify(slow, Harness::kForgotten));
  EXPECT_EQ(h.Current("m"), at.current);
  EXPECT_NE(h.Get(at.ticket).state(), v1::TICKET_STATE_COMPLETED);
}

// Damaged after the verifier has read it: what passed is not what lies there.
TEST(Work, ACandidateThatIsNotWhatWasAttackedIsNotPromoted) {
  Harness h;
  const AtVerification at(h);
  const v1::Job job = h.Acquire(v1::JOB_KIND_VERIFY);
  const std::filesystem::path weights = at.folder / "model.safetensors";
  const std::string whole = ReadFile(weights).value_or("");
  std::string damaged = whole;
  damaged.back() ^= 1;
  const std::string dump = h.Dump();
  for (const std::string& content : {damaged, whole.substr(1), std::string()}) {
    ASSERT_TRUE(WriteFileAtomically(weights, content).ok());
    const CallError error = ErrorOf(h.CompleteVerify(job, Harness::kForgotten));
    EXPECT_EQ(error.code, grpc::StatusCode::FAILED_PRECONDITION);
    EXPECT_EQ(error.reason, "ARTEFACT_MISMATCH");
    EXPECT_EQ(h.Dump(), dump);
    at.ExpectUndecided();
  }
  ASSERT_TRUE(WriteFileAtomically(weights, whole).ok());
  EXPECT_TRUE(h.CompleteVerify(job, Harness::kForgotten).ok());
  EXPECT_EQ(at.StateOfCandidate(), v1::CHECKPOINT_STATE_PROMOTED);
  EXPECT_TRUE(h.CompleteVerify(job, Harness::kForgotten).ok());  // the reply was lost
}

TEST(Work, BrokenInfrastructureDoesNotGoRoundForEver) {
  Harness h([](ServerConfig& config) { config.infrastructure_retry_limit = 3; });
  h.RegisterReadyModel("m");
  const v1::Ticket filed = h.File("r-1", "m");
  std::string job_id;
  for (int failed = 1; failed <= 3; ++failed) {
    const v1::Job job = h.Acquire(v1::JOB_KIND_UNLEARN);
    ASSERT_FALSE(job.job_id().empty()) << failed;
    EXPECT_EQ(job_id.empty() ? job.job_id() : job_id, job.job_id());
    job_id = job.job_id();
    ASSERT_TRUE(h.Fail(job, v1::FAILURE_CAUSE_INFRASTRUCTURE, "OUT_OF_MEMORY").ok());
    h.clock.Advance(h.config.retry_cap);
    h.server->Tick();
  }
  const v1::Ticket ticket = h.Get(filed.ticket_id());
  EXPECT_EQ(ticket.state(), v1::TICKET_STATE_FAILED);
  EXPECT_EQ(ticket.reason(), v1::TICKET_REASON_INFRASTRUCTURE_FAILED);
  EXPECT_EQ(ticket.rung(), 0);
}

TEST(Work, ACancelledPollGivesItsLeaseBack) {
  Harness h;
  h.RegisterReadyModel("m");
  v1::AcquireJobRequest request;
  request.set_worker_id("w-1");
  request.add_kinds(v1::JOB_KIND_UNLEARN);
  request.mutable_wait()->set_seconds(30);
  grpc::ClientContext context;
  auto poll = std::async(std::launch::async, [&] {
    v1::AcquireJobResponse response;
    return h.work->AcquireJob(&context, request, &response);
  });
  while (h.Metric("lethe_polls") != "1") std::this_thread::yield();
  context.TryCancel();
  EXPECT_EQ(poll.get().error_code(), grpc::StatusCode::CANCELLED);
  while (h.Metric("lethe_polls") != "0") std::this_thread::yield();
  h.File("r-1", "m");
  EXPECT_EQ(h.Acquire(v1::JOB_KIND_UNLEARN).unlearn().tickets_size(), 1);
}

TEST(Work, RestartGivesLeasesAFullTerm) {
  Harness h;
  h.RegisterReadyModel("m");
  h.File("r-1", "m");
  const v1::Job job = h.Acquire(v1::JOB_KIND_UNLEARN);
  h.Stop();
  h.clock.Advance(absl::Hours(5));
  h.Restart();
  h.server->Tick();
  EXPECT_TRUE(h.CompleteUnlearn(job).ok());
}

}  // namespace
}  // namespace lethe
