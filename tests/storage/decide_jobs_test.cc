// Commands about jobs: leases, results, failures, the ladder.
#include <gmock/gmock.h>

#include "base/model_layout.h"
#include "evidence/report.h"
#include "evidence/verdict.h"
#include "lethe/v1/ticket.pb.h"
#include "tests/support/store_fixture.h"

namespace lethe::storage {
namespace {

using Jobs = StoreTest;

FailJob Failure(const JobRecord& job, FailureCause cause, const std::string& reason = "BROKEN") {
  return {"w", JobId{job.job_id()}, Fence{job.fence()}, cause, reason};
}
JobState StateOf(const JobRecord& job) { return static_cast<JobState>(job.state()); }

TEST_F(Jobs, TheWholeWay) {
  const ModelId model = world_->ReadyModel("m");
  const TicketId a = world_->File(model), b = world_->File(model);
  const ModelRecord before = world_->Model(model);
  const JobRecord formed = world_->Form(model, {a, b});
  EXPECT_EQ(world_->State(a), TicketState::kUnlearning);
  EXPECT_EQ(formed.base_checkpoint_id(), before.current_checkpoint_id());
  EXPECT_EQ(formed.base_generation(), 1u);
  const JobRecord leased = world_->Lease(formed);
  EXPECT_EQ(leased.candidate_checkpoint_id(),
            CheckpointOfLease(JobId{leased.job_id()}, Fence{leased.fence()}).value);
  const JobRecord verify = world_->Unlearn(leased);
  EXPECT_EQ(verify.kind(), static_cast<int>(JobKind::kVerify));
  EXPECT_EQ(verify.candidate_checkpoint_id(), leased.candidate_checkpoint_id());
  EXPECT_EQ(world_->State(b), TicketState::kVerifying);
  EXPECT_EQ(world_->Model(model).active_job_id(), verify.job_id());

  const Receipt done = world_->Verify(world_->Lease(verify), {});
  const ModelRecord after = world_->Model(model);
  EXPECT_EQ(after.generation(), 2u);
  EXPECT_EQ(after.current_checkpoint_id(), leased.candidate_checkpoint_id());
  EXPECT_EQ(after.active_job_id(), "");
  EXPECT_EQ(
      static_cast<CheckpointState>(world_->Checkpoint(before.current_checkpoint_id()).state()),
      CheckpointState::kRetired);
  for (const TicketId& id : {a, b}) {
    const TicketRecord t = world_->Ticket(id);
    EXPECT_EQ(static_cast<TicketState>(t.state()), TicketState::kCompleted);
    EXPECT_EQ(t.reason(), lethe::v1::TICKET_REASON_FORGOTTEN);
    EXPECT_EQ(t.checkpoint_id(), after.current_checkpoint_id());
    ASSERT_EQ(t.report_ids_size(), 1);
    EXPECT_TRUE(store_->Snapshot()->GetReport(t.report_ids(0)).ok());
    EXPECT_FALSE(HasPayload(id));
  }
  EXPECT_EQ(done.tickets.size(), 2u);
}

// With the real judge: what is stored is a report that a third party finds sound.
TEST_F(Jobs, TheStoredReportSaysWhatFollowsFromIt) {
  StoreOptions options = Options();
  options.rules.judge = ComputeVerdict;
  store_ = OpenMemoryStore(options);
  world_ = std::make_unique<World>(store_.get(), vault_.get(), &clock_, 1);
  const ModelId model = world_->ReadyModel("m");
  const TicketId id = world_->File(model);
  const JobRecord verify = world_->Lease(world_->Unlearn(world_->Lease(world_->Form(model, {id}))));
  CompleteVerify command = world_->VerifyCommand(verify, {});
  EXPECT_EQ(Refusal(command), "REPORT_MALFORMED");  // the world's measurements name no attack
  lethe::v1::Measurements m;
  ASSERT_TRUE(m.ParseFromString(command.measurements));
  const auto fill = [](lethe::v1::BeforeAfter* figures, int count, double before, double after) {
    figures->Clear();
    for (int i = 0; i < count; ++i) {
      figures->add_before(before + 0.01 * i);
      figures->add_after(after + 0.01 * i);
    }
  };
  for (auto& sequence : *m.mutable_forgotten()) sequence.set_tokens(20);
  for (int i = 0; i < 12; ++i) m.add_control_tokens(20);
  lethe::v1::AttackResult* attack = m.add_attacks();
  attack->set_attack("greedy_extraction");
  attack->set_family(lethe::v1::ATTACK_FAMILY_EXTRACTION);
  fill(attack->mutable_forgotten(), 2, 0.9, 0.05);
  fill(attack->mutable_control(), 12, 0.05, 0.05);
  fill(m.mutable_forgotten_nll(), 2, 0.1, 3.0);
  fill(m.mutable_control_nll(), 12, 3.0, 3.0);
  m.clear_utility();
  for (auto [name, role] : {std::pair("retain", lethe::v1::TEXT_ROLE_RETAIN),
                            std::pair("control", lethe::v1::TEXT_ROLE_CONTROL)}) {
    lethe::v1::TextUtility* u = m.add_utility();
    u->set_name(name);
    u->set_role(role);
    u->set_sequences(12);
    u->set_tokens(240);
    u->set_nll_before(2.0);
    u->set_nll_after(2.0);
  }
  command.measurements = m.SerializeAsString();
  world_->Must(command);
  EXPECT_EQ(world_->State(id), TicketState::kCompleted);
  lethe::v1::VerificationReport report;
  ASSERT_TRUE(report.ParseFromString(
      store_->Snapshot()->GetReport(world_->Ticket(id).report_ids(0))->report()));
  const absl::StatusOr<ReportCheck> check = CheckReport(report);
  ASSERT_TRUE(check.ok()) << check.status();
  EXPECT_THAT(check->differences, testing::IsEmpty());
  EXPECT_EQ(check->verdict.outcome(), lethe::v1::OUTCOME_PASS);
}

TEST_F(Jobs, OneJobAModel) {
  const ModelId model = world_->ReadyModel("m"), other = world_->ReadyModel("n");
  const TicketId a = world_->File(model), b = world_->File(model), c = world_->File(other);
  world_->Form(model, {a});
  EXPECT_EQ(Refusal(world_->FormCommand(model, {b})), "JOB_ACTIVE");
  world_->Form(other, {c});
}

TEST_F(Jobs, WhatMayBeInAJob) {
  const ModelId model = world_->ReadyModel("m", World::Policy(2, /*max_tickets=*/2));
  const ModelId other = world_->ReadyModel("n");
  const TicketId a = world_->File(model), b = world_->File(model), c = world_->File(model);
  const TicketId foreign = world_->File(other);
  EXPECT_EQ(Refusal(world_->FormCommand(model, {a, b, c})), "BATCH_TOO_LARGE");
  EXPECT_EQ(Refusal(world_->FormCommand(model, {a, a})), "COMMAND_MALFORMED");
  EXPECT_EQ(Refusal(world_->FormCommand(model, {})), "COMMAND_MALFORMED");
  EXPECT_EQ(Refusal(world_->FormCommand(model, {a, foreign})), "COMMAND_MALFORMED");
  EXPECT_EQ(Refusal(world_->FormCommand(model, {a}, /*rung=*/1)), "RUNG_MISMATCH");
  EXPECT_EQ(Refusal(world_->FormCommand(model, {a}, /*rung=*/2)), "RUNG_MISMATCH");
  FormUnlearnJob old = world_->FormCommand(model, {a});
  old.expected_generation = Generation{0};
  EXPECT_EQ(Refusal(old), "GENERATION_MISMATCH");
  world_->Must(CancelTicket{"x", b});
  EXPECT_EQ(Refusal(world_->FormCommand(model, {a, b})), "WRONG_STATE");
}

TEST_F(Jobs, EachLeaseHasANewFenceAndItsOwnCheckpoint) {
  const ModelId model = world_->ReadyModel("m");
  const JobRecord formed = world_->Form(model, {world_->File(model)});
  const JobRecord first = world_->Lease(formed);
  EXPECT_EQ(Refusal(LeaseJob{"w", JobId{formed.job_id()}, "w2", absl::Seconds(60)}), "WRONG_STATE");
  clock_.Advance(absl::Seconds(60));
  world_->Must(ExpireLeases{"server"});
  const JobRecord second = world_->Lease(formed);
  EXPECT_GT(second.fence(), first.fence());
  EXPECT_NE(second.candidate_checkpoint_id(), first.candidate_checkpoint_id());
  // The first worker wakes up: nothing that it says counts any more.
  EXPECT_EQ(Refusal(world_->UnlearnCommand(first)), "LEASE_LOST");
  EXPECT_EQ(Refusal(Failure(first, FailureCause::kMethod)), "LEASE_LOST");
  EXPECT_EQ(Refusal(Heartbeat{"w", JobId{first.job_id()}, Fence{first.fence()}, absl::Seconds(9)}),
            "LEASE_LOST");
  world_->Unlearn(second);
}

TEST_F(Jobs, AHeartbeatExtendsALease) {
  const ModelId model = world_->ReadyModel("m");
  const JobRecord job =
      world_->Lease(world_->Form(model, {world_->File(model)}), absl::Seconds(60));
  clock_.Advance(absl::Seconds(50));
  const Receipt beat =
      world_->Must(Heartbeat{"w", JobId{job.job_id()}, Fence{job.fence()}, absl::Seconds(60)});
  EXPECT_EQ(beat.directive, Directive::kContinue);
  clock_.Advance(absl::Seconds(50));
  EXPECT_TRUE(world_->Must(ExpireLeases{"server"}).jobs.empty());
  clock_.Advance(absl::Seconds(10));
  EXPECT_EQ(world_->Must(ExpireLeases{"server"}).jobs.size(), 1u);
}

TEST_F(Jobs, ARestartGivesEveryLeaseAFullTerm) {
  const ModelId model = world_->ReadyModel("m");
  world_->Lease(world_->Form(model, {world_->File(model)}), absl::Seconds(60));
  clock_.Advance(absl::Hours(5));  // the server was down
  EXPECT_EQ(world_->Must(RestartLeases{"server", absl::Seconds(60)}).jobs.size(), 1u);
  EXPECT_TRUE(world_->Must(ExpireLeases{"server"}).jobs.empty());
}

TEST_F(Jobs, ARepeatedResultIsOkAndChangesNothing) {
  const ModelId model = world_->ReadyModel("m");
  const JobRecord job = world_->Lease(world_->Form(model, {world_->File(model)}));
  CompleteUnlearn result = world_->UnlearnCommand(job);
  const JobRecord verify = *world_->Must(result).job;
  const uint64_t leaves = Leaves();
  result.verify_job = JobId{NewId(world_->random(), 'j')};  // the server draws a new one each time
  EXPECT_TRUE(world_->Must(result).repeated);
  EXPECT_EQ(Leaves(), leaves);
  result.digest = "another";
  EXPECT_EQ(Refusal(result), "LEASE_LOST");

  const JobRecord leased = world_->Lease(verify);
  const CompleteVerify report = world_->VerifyCommand(leased, {});
  world_->Must(report);
  EXPECT_TRUE(world_->Must(report).repeated);
  EXPECT_EQ(world_->Model(model).generation(), 2u);
}

TEST_F(Jobs, WrongResultsAreRefused) {
  const ModelId model = world_->ReadyModel("m");
  const TicketId a = world_->File(model);
  const JobRecord job = world_->Lease(world_->Form(model, {a}));
  CompleteVerify wrong_kind{"v", JobId{job.job_id()}, Fence{job.fence()}, ""};
  EXPECT_EQ(Refusal(wrong_kind), "RESULT_MISMATCH");
  const JobRecord verify = world_->Lease(world_->Unlearn(job));
  CompleteVerify garbage = world_->VerifyCommand(verify, {});
  garbage.measurements = "\xff\xff";
  EXPECT_EQ(Refusal(garbage), "RESULT_MALFORMED");
  const auto with = [&](auto change) {
    CompleteVerify command = world_->VerifyCommand(verify, {});
    lethe::v1::Measurements m;
    m.ParseFromString(command.measurements);
    change(m);
    command.measurements = m.SerializeAsString();
    return Refusal(command);
  };
  EXPECT_EQ(with([](auto& m) { m.set_fence(m.fence() + 1); }), "RESULT_MISMATCH");
  EXPECT_EQ(with([](auto& m) { m.set_job_id("j"); }), "RESULT_MISMATCH");
  EXPECT_EQ(with([](auto& m) { m.set_candidate_digest("d"); }), "RESULT_MISMATCH");
  EXPECT_EQ(with([](auto& m) { m.set_base_digest("d"); }), "RESULT_MISMATCH");
  EXPECT_EQ(with([](auto& m) { m.set_base_generation(9); }), "RESULT_MISMATCH");
  // A verifier that leaves out a sequence, or a whole ticket, must not get a PASS for it.
  EXPECT_EQ(with([](auto& m) { m.mutable_forgotten()->RemoveLast(); }), "RESULT_MISMATCH");
  EXPECT_EQ(with([](auto& m) { m.clear_forgotten(); }), "RESULT_MISMATCH");
  EXPECT_EQ(with([](auto& m) { m.mutable_forgotten(1)->set_index(0); }), "RESULT_MISMATCH");
  EXPECT_EQ(with([](auto& m) { m.mutable_forgotten(1)->set_index(2); }), "RESULT_MISMATCH");
  EXPECT_EQ(with([](auto& m) { m.mutable_forgotten(0)->set_ticket_id("t"); }), "RESULT_MISMATCH");
  EXPECT_EQ(world_->State(a), TicketState::kVerifying);
}

TEST_F(Jobs, NotForgottenClimbsTheLadderThenFails) {
  const ModelId model = world_->ReadyModel("m", World::Policy(/*rungs=*/2));
  const TicketId id = world_->File(model);
  for (int rung : {0, 1}) {
    EXPECT_EQ(world_->Ticket(id).rung(), rung);
    const JobRecord verify =
        world_->Lease(world_->Unlearn(world_->Lease(world_->Form(model, {id}, rung))));
    world_->Verify(verify, {.not_forgotten = {id}});
    EXPECT_EQ(
        static_cast<CheckpointState>(world_->Checkpoint(verify.candidate_checkpoint_id()).state()),
        CheckpointState::kRejected);
  }
  const TicketRecord t = world_->Ticket(id);
  EXPECT_EQ(static_cast<TicketState>(t.state()), TicketState::kFailed);
  EXPECT_EQ(t.reason(), lethe::v1::TICKET_REASON_VERIFICATION_FAILED);
  EXPECT_EQ(t.report_ids_size(), 2);
  EXPECT_EQ(world_->Model(model).generation(), 1u);
  EXPECT_TRUE(HasPayload(id));
}

TEST_F(Jobs, OnlyTheTicketThatFailedBurnsARung) {
  const ModelId model = world_->ReadyModel("m", World::Policy(/*rungs=*/3));
  const TicketId good = world_->File(model), bad = world_->File(model);
  const JobRecord verify =
      world_->Lease(world_->Unlearn(world_->Lease(world_->Form(model, {good, bad}))));
  world_->Verify(verify, {.not_forgotten = {bad}});
  EXPECT_EQ(world_->Ticket(good).rung(), 0);
  EXPECT_EQ(world_->Ticket(bad).rung(), 1);
  EXPECT_EQ(world_->Ticket(good).reason(), lethe::v1::TICKET_REASON_NEXT_ATTEMPT);
}

TEST_F(Jobs, CollateralDamageBurnsARungOfAll) {
  const ModelId model = world_->ReadyModel("m", World::Policy(/*rungs=*/3));
  const TicketId a = world_->File(model), b = world_->File(model);
  const JobRecord verify =
      world_->Lease(world_->Unlearn(world_->Lease(world_->Form(model, {a, b}))));
  world_->Verify(verify, {.collateral = true});
  EXPECT_EQ(world_->Ticket(a).rung(), 1);
  EXPECT_EQ(world_->Ticket(b).rung(), 1);
}

// At the last rung a batch is halved until the bad ticket stands alone: 8 tickets, one bad.
TEST_F(Jobs, TheLastRungHalvesTheBatch) {
  const ModelId model = world_->ReadyModel("m", World::Policy(/*rungs=*/1, 8));
  std::vector<TicketId> tickets;
  for (int i = 0; i < 8; ++i) tickets.push_back(world_->File(model));
  const TicketId bad = tickets[3];
  int jobs = 0;
  for (std::vector<TicketId> batch = tickets; world_->State(bad) != TicketState::kFailed; ++jobs) {
    ASSERT_LT(jobs, 8);
    const JobRecord verify =
        world_->Lease(world_->Unlearn(world_->Lease(world_->Form(model, batch))));
    world_->Verify(verify, {.not_forgotten = {bad}});
    const int cap = world_->Ticket(bad).batch_cap();
    if (batch.size() > 1) {
      EXPECT_EQ(cap, static_cast<int>(batch.size()) / 2);
      EXPECT_EQ(Refusal(world_->FormCommand(model, batch)), "BATCH_TOO_LARGE");
    }
    batch.assign({bad});
    for (const TicketId& id : tickets) {
      if (id != bad && static_cast<int>(batch.size()) < cap) batch.push_back(id);
    }
  }
  EXPECT_EQ(jobs, 4);  // 8, 4, 2, 1
  EXPECT_EQ(world_->Ticket(bad).reason(), lethe::v1::TICKET_REASON_VERIFICATION_FAILED);
  for (const TicketId& id : tickets) {
    EXPECT_EQ(world_->State(id), id == bad ? TicketState::kFailed : TicketState::kQueued);
  }
}

TEST_F(Jobs, InfrastructureBurnsNothingAndBacksOff) {
  const ModelId model = world_->ReadyModel("m");
  const TicketId id = world_->File(model);
  const JobRecord formed = world_->Form(model, {id});
  absl::Duration before = absl::ZeroDuration();
  for (int i = 1; i <= 3; ++i) {
    const JobRecord leased = world_->Lease(formed);
    const FailJob failure = Failure(leased, FailureCause::kInfrastructure, "OUT_OF_MEMORY");
    const JobRecord failed = *world_->Must(failure).job;
    EXPECT_TRUE(world_->Must(failure).repeated);
    EXPECT_EQ(StateOf(failed), JobState::kReady);
    EXPECT_EQ(failed.attempts(), 0);
    EXPECT_EQ(failed.retries(), i);
    const absl::Duration pause = absl::FromUnixMicros(failed.not_before_us()) - clock_.Now();
    const absl::Duration whole = absl::Seconds(5) * (1 << (i - 1));
    EXPECT_GE(pause, whole / 2);
    EXPECT_LE(pause, whole);
    EXPECT_NE(pause, before);
    before = pause;
    EXPECT_EQ(Refusal(LeaseJob{"w", JobId{formed.job_id()}, "w", absl::Seconds(60)}),
              "JOB_NOT_DUE");
    clock_.Advance(pause);
  }
  EXPECT_EQ(world_->State(id), TicketState::kUnlearning);
  const JobRecord drained =
      *world_->Must(Failure(world_->Lease(formed), FailureCause::kDrained)).job;
  EXPECT_EQ(drained.not_before_us(), 0);  // at once
}

// Fails the job until it is not given again; how often it was.
class RetryLimit : public Jobs {
 protected:
  int FailUntilOver(const JobRecord& job) {
    for (int failed = 1; failed <= 20; ++failed) {
      const JobRecord after =
          *world_->Must(Failure(world_->Lease(job), FailureCause::kInfrastructure, "DISK_FULL"))
               .job;
      EXPECT_EQ(after.attempts(), 0);
      EXPECT_EQ(after.retries(), failed);
      EXPECT_EQ(after.failure_reason(), "DISK_FULL");
      if (StateOf(after) == JobState::kFailed) return failed;
      clock_.Advance(absl::Minutes(5));
    }
    return -1;
  }
};

TEST_F(RetryLimit, TicketsFailWithAReasonAndAnOperatorRetriesThem) {
  const ModelId model = world_->ReadyModel("m", World::Policy(/*rungs=*/3));
  const TicketId a = world_->File(model), b = world_->File(model);
  const JobRecord job = world_->Form(model, {a, b});
  EXPECT_EQ(FailUntilOver(job), 4);  // Rules::max_retries of the fixture
  for (const TicketId& id : {a, b}) {
    EXPECT_EQ(world_->State(id), TicketState::kFailed);
    EXPECT_EQ(world_->Ticket(id).reason(), lethe::v1::TICKET_REASON_INFRASTRUCTURE_FAILED);
    EXPECT_EQ(world_->Ticket(id).rung(), 0);  // no method was tried, so no rung is burnt
  }
  EXPECT_EQ(world_->Model(model).active_job_id(), "");
  EXPECT_EQ(world_->Fsck(), "");
  world_->Must(RetryTicket{"operator", a});
  EXPECT_EQ(world_->State(a), TicketState::kQueued);
  EXPECT_EQ(FailUntilOver(world_->Form(model, {a})), 4);  // a new job counts from nought
}

TEST_F(RetryLimit, ACandidateThatCannotBeVerifiedIsRejected) {
  const ModelId model = world_->ReadyModel("m");
  const TicketId id = world_->File(model);
  const JobRecord verify = world_->Unlearn(world_->Lease(world_->Form(model, {id})));
  EXPECT_EQ(FailUntilOver(verify), 4);
  EXPECT_EQ(world_->State(id), TicketState::kFailed);
  EXPECT_EQ(
      static_cast<CheckpointState>(world_->Checkpoint(verify.candidate_checkpoint_id()).state()),
      CheckpointState::kRejected);
  EXPECT_EQ(world_->Fsck(), "");
}

TEST_F(RetryLimit, AModelThatCannotBePreparedFails) {
  const ModelId model{"m"};
  const JobId job{NewId(world_->random(), 'j')};
  world_->Must(RegisterModel{
      .actor = "a", .model = model, .job = job, .policy = World::Policy().SerializeAsString()});
  EXPECT_EQ(FailUntilOver(world_->Job(job.value)), 4);
  EXPECT_EQ(static_cast<ModelState>(world_->Model(model).state()), ModelState::kFailed);
  EXPECT_EQ(world_->Model(model).failure_reason(), "DISK_FULL");
}

TEST_F(Jobs, LostWorkersBurnNothingUntilTheyAreTooMany) {
  const ModelId model = world_->ReadyModel("m", World::Policy(/*rungs=*/1));
  const TicketId id = world_->File(model);
  const JobRecord formed = world_->Form(model, {id});
  for (int lost = 1; lost <= 3; ++lost) {  // Rules::max_losses of the fixture
    EXPECT_EQ(world_->Ticket(id).rung(), 0);
    EXPECT_EQ(world_->State(id), TicketState::kUnlearning);
    world_->Lease(formed);
    clock_.Advance(absl::Seconds(61));
    world_->Must(ExpireLeases{"server"});
    EXPECT_EQ(world_->Job(formed.job_id()).losses(), lost);
  }
  EXPECT_EQ(world_->State(id), TicketState::kFailed);
  EXPECT_EQ(world_->Ticket(id).reason(), lethe::v1::TICKET_REASON_WORKERS_LOST);
}

TEST_F(Jobs, BadInputFailsAtOnce) {
  const ModelId model = world_->ReadyModel("m", World::Policy(/*rungs=*/3));
  const TicketId a = world_->File(model), b = world_->File(model);
  world_->Must(Failure(world_->Lease(world_->Form(model, {a, b})), FailureCause::kInput));
  EXPECT_EQ(world_->State(a), TicketState::kFailed);
  EXPECT_EQ(world_->State(b), TicketState::kFailed);
  EXPECT_EQ(world_->Model(model).active_job_id(), "");
}

TEST_F(Jobs, AVerifierThatFailsByItselfRejectsTheCandidate) {
  const ModelId model = world_->ReadyModel("m");
  const TicketId id = world_->File(model);
  const JobRecord verify = world_->Lease(world_->Unlearn(world_->Lease(world_->Form(model, {id}))));
  world_->Must(Failure(verify, FailureCause::kMethod));
  EXPECT_EQ(world_->Ticket(id).rung(), 1);
  EXPECT_EQ(
      static_cast<CheckpointState>(world_->Checkpoint(verify.candidate_checkpoint_id()).state()),
      CheckpointState::kRejected);
}

TEST_F(Jobs, AFailureNeedsACauseAndAReason) {
  const ModelId model = world_->ReadyModel("m");
  const JobRecord job = world_->Lease(world_->Form(model, {world_->File(model)}));
  EXPECT_EQ(Refusal(Failure(job, FailureCause::kMethod, "Mr Smith's text")), "COMMAND_MALFORMED");
  EXPECT_EQ(Refusal(Failure(job, static_cast<FailureCause>(0))), "COMMAND_MALFORMED");
  EXPECT_EQ(Refusal(LeaseJob{"w", JobId{"j"}, "w", absl::Seconds(1)}), "JOB_NOT_FOUND");
  EXPECT_EQ(Refusal(LeaseJob{"w", JobId{job.job_id()}, "w", absl::ZeroDuration()}),
            "COMMAND_MALFORMED");
}

}  // namespace
}  // namespace lethe::storage
