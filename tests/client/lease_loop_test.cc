#include "client/lease_loop.h"

#include <thread>

#include "base/log.h"
#include "base/status.h"
#include "client/channel.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_work_service.h"
#include "tests/support/grpc_test_server.h"
#include "tests/support/seeded_random.h"

namespace lethe {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

constexpr absl::Duration kBeat = absl::Milliseconds(10);

// Runs what the test says; counts what the loop throws away.
class ScriptedRunner : public JobRunner {
 public:
  using Script = std::function<JobOutcome(const v1::Job&, JobControl*)>;
  explicit ScriptedRunner(Script script) : script_(std::move(script)) {}
  JobOutcome Run(const v1::Job& job, JobControl* control) override { return script_(job, control); }
  void Discard(const v1::Job& job) override { discarded.push_back(job.fence()); }
  std::vector<uint64_t> discarded;  // touched by the loop's thread; read after Run has returned

 private:
  const Script script_;
};

JobOutcome Digest(const std::string& digest) {
  v1::UnlearnResult result;
  result.set_candidate_digest(digest);
  return JobResult(result);
}

// The work of a job that takes until it is cancelled.
JobOutcome UntilCancelled(const v1::Job&, JobControl* control) {
  while (!control->cancelled()) std::this_thread::yield();
  return JobFailure{v1::FAILURE_CAUSE_INFRASTRUCTURE, "CANCELLED", "cancelled"};
}

class Recorder : public LeaseObserver {
 public:
  void OnHeartbeat(const v1::Job&, const absl::Status& status) override {
    absl::MutexLock lock(&mu_);
    (status.ok() ? good_ : bad_)++;
  }
  void OnAcquired(const v1::Job&) override {
    absl::MutexLock lock(&mu_);
    acquired_ = true;
  }
  void OnAcquireFailed(const absl::Status&) override {
    absl::MutexLock lock(&mu_);
    ++acquire_failures_;
  }
  void OnEnd(const v1::Job&, LeaseEnd end, absl::Duration) override {
    absl::MutexLock lock(&mu_);
    ends_.push_back(end);
  }
  bool Wait(bool (Recorder::*event)() const) {
    absl::MutexLock lock(&mu_);
    return mu_.AwaitWithTimeout(absl::Condition(this, event), absl::Seconds(30));
  }
  bool Acquired() const { return acquired_; }
  bool Failing() const { return bad_ > 0; }
  bool CannotAcquire() const { return acquire_failures_ >= 3; }
  bool Ended() const { return !ends_.empty(); }
  bool failing() {
    absl::MutexLock lock(&mu_);
    return Failing();
  }
  std::vector<LeaseEnd> ends() {
    absl::MutexLock lock(&mu_);
    return ends_;
  }

 private:
  absl::Mutex mu_;
  int good_ = 0, bad_ = 0, acquire_failures_ = 0;
  bool acquired_ = false;
  std::vector<LeaseEnd> ends_;
};

class LeaseLoopTest : public ::testing::Test {
 protected:
  LeaseLoopTest() : server_({&work_}) { InitLogging({.process = "test", .level = "off"}); }

  // The loop on a thread of its own, until Finish.
  void StartLoop(ScriptedRunner::Script script) {
    runner_ = std::make_unique<ScriptedRunner>(std::move(script));
    LeaseLoopOptions options;
    options.worker_id = "worker-1";
    options.kinds = {v1::JOB_KIND_PREPARE, v1::JOB_KIND_UNLEARN};
    options.retry.first_pause = absl::Milliseconds(1);
    options.retry.longest_pause = absl::Milliseconds(20);
    options.drain_grace = absl::Seconds(60);
    options.clock = &clock_;
    options.random = &random_;
    auto channel = OpenChannel({.address = server_.address()});
    ASSERT_TRUE(channel.ok());
    loop_ = std::make_unique<LeaseLoop>(*channel, options, runner_.get(), &recorder_);
    thread_ = std::thread([this] { result_ = loop_->Run(); });
  }
  absl::Status Finish() {
    loop_->Drain();
    thread_.join();
    return result_;
  }
  void TearDown() override {
    if (thread_.joinable()) {
      loop_->Drain();
      thread_.join();
    }
  }
  void Offer(uint64_t fence = 7) {
    work_.Offer(FakeWorkService::MakeJob(v1::JOB_KIND_UNLEARN, fence, kBeat));
  }

  FakeWorkService work_;
  FakeClock clock_;
  SeededRandom random_{TestSeed(11)};
  Recorder recorder_;
  std::unique_ptr<ScriptedRunner> runner_;
  std::unique_ptr<LeaseLoop> loop_;
  GrpcTestServer server_;
  absl::Status result_;
  std::thread thread_;
};

TEST_F(LeaseLoopTest, HandsInTheResultUnderItsFence) {
  Offer(7);
  StartLoop([](const v1::Job&, JobControl*) { return Digest("abc"); });
  ASSERT_TRUE(work_.WaitFor([&] { return work_.completes.size() == 1; }));
  EXPECT_TRUE(Finish().ok());
  EXPECT_EQ(work_.completes[0].job_id(), "j-00000000000000000000000000000007");
  EXPECT_EQ(work_.completes[0].fence(), 7u);
  EXPECT_EQ(work_.completes[0].unlearn().candidate_digest(), "abc");
  EXPECT_EQ(work_.acquires[0].worker_id(), "worker-1");
  EXPECT_THAT(work_.acquires[0].kinds(), ElementsAre(v1::JOB_KIND_PREPARE, v1::JOB_KIND_UNLEARN));
  EXPECT_THAT(recorder_.ends(), ElementsAre(LeaseEnd::kCompleted));
  EXPECT_THAT(runner_->discarded, SizeIs(0));
}

TEST_F(LeaseLoopTest, EachKindOfResultGoesIntoItsField) {
  v1::PrepareResult prepare;
  prepare.mutable_facts()->set_architecture("a");
  v1::VerifyResult verify;
  verify.set_measurements("m");
  v1::IngestResult ingest;
  ingest.set_tokens(11);
  v1::TrainResult train;
  train.mutable_teacher()->set_shard(3);
  v1::RetrainResult retrain;
  retrain.set_erased(21);
  const std::vector<JobResult> results = {prepare, verify, ingest, train, retrain};
  for (size_t i = 0; i < results.size(); ++i) Offer(i + 1);
  StartLoop([&](const v1::Job& job, JobControl*) { return results[job.fence() - 1]; });
  ASSERT_TRUE(work_.WaitFor([&] { return work_.completes.size() == results.size(); }));
  EXPECT_TRUE(Finish().ok());
  EXPECT_EQ(work_.completes[0].prepare().facts().architecture(), "a");
  EXPECT_EQ(work_.completes[1].verify().measurements(), "m");
  EXPECT_EQ(work_.completes[2].ingest().tokens(), 11);
  EXPECT_EQ(work_.completes[3].train().teacher().shard(), 3);
  EXPECT_EQ(work_.completes[4].retrain().erased(), 21);
}

TEST_F(LeaseLoopTest, SendsHeartbeatsWithProgressWhileTheWorkRuns) {
  Offer();
  StartLoop([&](const v1::Job&, JobControl* control) {
    v1::Progress progress;
    progress.set_phase("unlearning");
    progress.set_step(12);
    (*progress.mutable_figures())["loss"] = 0.5;
    control->Report(progress);
    EXPECT_TRUE(work_.WaitFor([&] { return work_.heartbeats.size() >= 3; }));
    return Digest("abc");
  });
  ASSERT_TRUE(work_.WaitFor([&] { return work_.completes.size() == 1; }));
  EXPECT_TRUE(Finish().ok());
  EXPECT_EQ(work_.heartbeats[0].fence(), 7u);
  EXPECT_EQ(work_.heartbeats[2].progress().phase(), "unlearning");
  EXPECT_EQ(work_.heartbeats[2].progress().step(), 12);
  EXPECT_EQ(work_.heartbeats[2].progress().figures().at("loss"), 0.5);
}

TEST_F(LeaseLoopTest, CancelEndsTheWorkAndSendsNothing) {
  work_.on_heartbeat = [](const v1::HeartbeatRequest&, v1::HeartbeatResponse* response) {
    response->set_directive(v1::DIRECTIVE_CANCEL);
    return grpc::Status::OK;
  };
  Offer(7);
  StartLoop(UntilCancelled);
  ASSERT_TRUE(recorder_.Wait(&Recorder::Ended));
  EXPECT_TRUE(Finish().ok());
  EXPECT_THAT(recorder_.ends(), ElementsAre(LeaseEnd::kCancelled));
  EXPECT_THAT(work_.completes, SizeIs(0));
  EXPECT_THAT(work_.fails, SizeIs(0));
  EXPECT_THAT(runner_->discarded, ElementsAre(7));
}

TEST_F(LeaseLoopTest, ALostLeaseDropsTheWorkAndTheNextJobIsAcquired) {
  work_.on_heartbeat = [](const v1::HeartbeatRequest& request, v1::HeartbeatResponse*) {
    return request.fence() == 7 ? WireError(grpc::StatusCode::ABORTED, "LEASE_LOST")
                                : grpc::Status::OK;
  };
  Offer(7);
  Offer(8);
  StartLoop([](const v1::Job& job, JobControl* control) {
    return job.fence() == 7 ? UntilCancelled(job, control) : Digest("second");
  });
  ASSERT_TRUE(work_.WaitFor([&] { return work_.completes.size() == 1; }));
  EXPECT_TRUE(Finish().ok());
  EXPECT_EQ(work_.completes[0].fence(), 8u);
  EXPECT_THAT(recorder_.ends(), ElementsAre(LeaseEnd::kLost, LeaseEnd::kCompleted));
  EXPECT_THAT(runner_->discarded, ElementsAre(7));
}

TEST_F(LeaseLoopTest, AResultUnderAStaleFenceIsDropped) {
  work_.on_complete = [](const v1::CompleteJobRequest&) {
    return WireError(grpc::StatusCode::ABORTED, "LEASE_LOST");
  };
  Offer(7);
  StartLoop([](const v1::Job&, JobControl*) { return Digest("late"); });
  ASSERT_TRUE(recorder_.Wait(&Recorder::Ended));
  EXPECT_TRUE(Finish().ok());
  EXPECT_THAT(recorder_.ends(), ElementsAre(LeaseEnd::kLost));
  EXPECT_THAT(work_.completes, SizeIs(1));
  EXPECT_THAT(work_.fails, SizeIs(0));
  EXPECT_THAT(runner_->discarded, ElementsAre(7));
}

TEST_F(LeaseLoopTest, TheResultIsRepeatedUnchangedUntilItIsAnswered) {
  // UNAVAILABLE, and the CANCELLED of a server that is shutting down.
  work_.on_complete = [&](const v1::CompleteJobRequest&) {
    if (work_.completes.size() == 1)
      return WireError(grpc::StatusCode::UNAVAILABLE, "SERVER_DRAINING");
    if (work_.completes.size() == 2) return grpc::Status(grpc::StatusCode::CANCELLED, "");
    return grpc::Status::OK;
  };
  Offer();
  StartLoop([](const v1::Job&, JobControl*) { return Digest("abc"); });
  ASSERT_TRUE(recorder_.Wait(&Recorder::Ended));
  EXPECT_TRUE(Finish().ok());
  EXPECT_THAT(recorder_.ends(), ElementsAre(LeaseEnd::kCompleted));
  ASSERT_THAT(work_.completes, SizeIs(3));
  EXPECT_EQ(work_.completes[0].SerializeAsString(), work_.completes[2].SerializeAsString());
}

TEST_F(LeaseLoopTest, AnAcceptedResultWhoseAnswerWasLostIsNotDiscarded) {
  // The server accepted the result and died before it could say so. Back again, it refuses
  // heartbeats, since a finished job has no lease, and says OK to the repeat.
  bool refused = false;  // under the service's mutex
  work_.on_heartbeat = [&](const v1::HeartbeatRequest&, v1::HeartbeatResponse*) {
    if (work_.completes.empty()) return grpc::Status::OK;
    refused = true;
    return WireError(grpc::StatusCode::ABORTED, "LEASE_LOST");
  };
  work_.on_complete = [&](const v1::CompleteJobRequest&) {
    return refused && recorder_.failing() ? grpc::Status::OK
                                          : grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
  };
  Offer(7);
  StartLoop([](const v1::Job&, JobControl*) { return Digest("abc"); });
  ASSERT_TRUE(recorder_.Wait(&Recorder::Ended));
  EXPECT_TRUE(Finish().ok());
  EXPECT_THAT(recorder_.ends(), ElementsAre(LeaseEnd::kCompleted));
  EXPECT_THAT(runner_->discarded, SizeIs(0));
}

TEST_F(LeaseLoopTest, ARefusedResultBecomesAFailure) {
  const std::pair<const char*, v1::FailureCause> kCases[] = {
      {"ARTEFACT_MISMATCH", v1::FAILURE_CAUSE_INFRASTRUCTURE},
      {"RESULT_MALFORMED", v1::FAILURE_CAUSE_METHOD},
  };
  work_.on_complete = [&](const v1::CompleteJobRequest&) {
    const bool first = work_.completes.size() == 1;
    return WireError(
        first ? grpc::StatusCode::FAILED_PRECONDITION : grpc::StatusCode::INVALID_ARGUMENT,
        kCases[first ? 0 : 1].first);
  };
  Offer(1);
  Offer(2);
  StartLoop([](const v1::Job&, JobControl*) { return Digest("abc"); });
  ASSERT_TRUE(work_.WaitFor([&] { return work_.fails.size() == 2; }));
  EXPECT_TRUE(Finish().ok());
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(work_.fails[i].reason(), kCases[i].first);
    EXPECT_EQ(work_.fails[i].cause(), kCases[i].second);
  }
  EXPECT_THAT(runner_->discarded, ElementsAre(1, 2));
}

TEST_F(LeaseLoopTest, AFailureOfTheWorkIsReported) {
  Offer(7);
  StartLoop([](const v1::Job&, JobControl*) -> JobOutcome {
    return JobFailure{.cause = v1::FAILURE_CAUSE_METHOD,
                      .reason = "METHOD_DIVERGED",
                      .message = std::string(2000, 'x'),
                      .line = 17,
                      .source = 2};
  });
  ASSERT_TRUE(work_.WaitFor([&] { return work_.fails.size() == 1; }));
  EXPECT_TRUE(Finish().ok());
  EXPECT_EQ(work_.fails[0].cause(), v1::FAILURE_CAUSE_METHOD);
  EXPECT_EQ(work_.fails[0].reason(), "METHOD_DIVERGED");
  EXPECT_EQ(work_.fails[0].line(), 17);
  EXPECT_EQ(work_.fails[0].source(), 2);
  EXPECT_THAT(recorder_.ends(), ElementsAre(LeaseEnd::kFailed));
}

TEST_F(LeaseLoopTest, AnIdleLoopDrainsAtOnce) {
  StartLoop([](const v1::Job&, JobControl*) { return Digest(""); });
  // The long poll of 20 s is open; the test's patience is its own proof.
  ASSERT_TRUE(work_.WaitFor([&] { return work_.acquires.size() == 1; }));
  const absl::Time before = absl::Now();
  EXPECT_TRUE(Finish().ok());
  EXPECT_LT(absl::Now() - before, absl::Seconds(10));
}

TEST_F(LeaseLoopTest, ADrainLetsTheJobFinishWithinItsGrace) {
  Offer();
  StartLoop([&](const v1::Job&, JobControl* control) {
    loop_->Drain();
    EXPECT_TRUE(work_.WaitFor([&] { return work_.heartbeats.size() >= 2; }));
    EXPECT_FALSE(control->cancelled());
    return Digest("abc");
  });
  thread_.join();
  EXPECT_TRUE(result_.ok());
  EXPECT_THAT(recorder_.ends(), ElementsAre(LeaseEnd::kCompleted));
  EXPECT_THAT(work_.acquires, SizeIs(1));
}

TEST_F(LeaseLoopTest, AfterTheGraceTheJobIsGivenBack) {
  Offer(7);
  StartLoop([&](const v1::Job& job, JobControl* control) {
    loop_->Drain();
    EXPECT_TRUE(work_.WaitFor([&] { return work_.heartbeats.size() >= 1; }));
    clock_.Advance(absl::Seconds(61));
    return UntilCancelled(job, control);
  });
  thread_.join();
  EXPECT_TRUE(result_.ok());
  ASSERT_THAT(work_.fails, SizeIs(1));
  EXPECT_EQ(work_.fails[0].cause(), v1::FAILURE_CAUSE_DRAINED);
  EXPECT_EQ(work_.fails[0].fence(), 7u);
  EXPECT_THAT(recorder_.ends(), ElementsAre(LeaseEnd::kDrained));
  EXPECT_THAT(runner_->discarded, ElementsAre(7));
}

TEST_F(LeaseLoopTest, TheServersDrainFinishesTheJobAndThenTheLoop) {
  work_.on_heartbeat = [](const v1::HeartbeatRequest&, v1::HeartbeatResponse* response) {
    response->set_directive(v1::DIRECTIVE_DRAIN);
    return grpc::Status::OK;
  };
  Offer(7);
  Offer(8);  // nobody takes it
  StartLoop([&](const v1::Job&, JobControl* control) {
    EXPECT_TRUE(work_.WaitFor([&] { return work_.heartbeats.size() >= 3; }));
    EXPECT_FALSE(control->cancelled());
    return Digest("abc");
  });
  thread_.join();
  EXPECT_TRUE(result_.ok());
  EXPECT_THAT(work_.completes, SizeIs(1));
  EXPECT_THAT(work_.acquires, SizeIs(1));
}

TEST_F(LeaseLoopTest, TheWorkOutlivesAServersRestart) {
  Offer(7);
  StartLoop([&](const v1::Job&, JobControl* control) {
    EXPECT_TRUE(recorder_.Wait(&Recorder::Failing));
    EXPECT_FALSE(control->cancelled());
    // The server is back (below): a heartbeat of this fence arrives again.
    EXPECT_TRUE(work_.WaitFor([&] { return !work_.heartbeats.empty(); }));
    return Digest("abc");
  });
  ASSERT_TRUE(recorder_.Wait(&Recorder::Acquired));
  server_.Stop();
  ASSERT_TRUE(recorder_.Wait(&Recorder::Failing));
  work_.Do([&] { work_.heartbeats.clear(); });
  server_.Start();
  ASSERT_TRUE(work_.WaitFor([&] { return work_.completes.size() == 1; }));
  EXPECT_TRUE(Finish().ok());
  EXPECT_EQ(work_.completes[0].fence(), 7u);
  EXPECT_THAT(recorder_.ends(), ElementsAre(LeaseEnd::kCompleted));
}

TEST_F(LeaseLoopTest, WithoutAServerTheWorkEndsWithItsLease) {
  Offer(7);
  StartLoop([&](const v1::Job& job, JobControl* control) {
    EXPECT_TRUE(recorder_.Wait(&Recorder::Failing));
    EXPECT_FALSE(control->cancelled());  // the fake clock stands still: the lease is not over
    clock_.Advance(4 * kBeat + absl::Milliseconds(1));
    return UntilCancelled(job, control);
  });
  ASSERT_TRUE(recorder_.Wait(&Recorder::Acquired));
  server_.Stop();
  ASSERT_TRUE(recorder_.Wait(&Recorder::Ended));
  ASSERT_TRUE(recorder_.Wait(&Recorder::CannotAcquire));  // it goes on asking
  EXPECT_TRUE(Finish().ok());
  EXPECT_THAT(recorder_.ends(), ElementsAre(LeaseEnd::kUnreachable));
  // Whether a result was accepted is not known here: nothing may be removed.
  EXPECT_THAT(runner_->discarded, SizeIs(0));
}

TEST_F(LeaseLoopTest, EndsWhenTheServerWillNeverGiveAJob) {
  work_.acquire_answer = WireError(grpc::StatusCode::INVALID_ARGUMENT, "WORKER_ID_MALFORMED");
  StartLoop([](const v1::Job&, JobControl*) { return Digest(""); });
  thread_.join();
  EXPECT_EQ(result_.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ErrorReason(result_), "WORKER_ID_MALFORMED");
}

}  // namespace
}  // namespace lethe
