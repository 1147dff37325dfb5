// What the verifier hands in: the engine's figures, the job's names, and nothing of the text.
#include "verifier/verify_job.h"

#include "base/file.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_folder.h"

namespace lethe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

v1::Job VerifyJob() {
  v1::Job job;
  job.set_job_id("j-1");
  job.set_fence(7);
  job.set_model_id("m");
  job.set_kind(v1::JOB_KIND_VERIFY);
  v1::VerifyWork* work = job.mutable_verify();
  work->set_candidate_checkpoint_id("c-2");
  work->set_candidate_folder("m/checkpoints/c-2");
  work->set_candidate_digest("dd");
  work->set_base_checkpoint_id("c-1");
  work->set_base_folder("m/checkpoints/c-1");
  work->set_base_digest("bb");
  work->set_base_generation(4);
  work->set_data_folder("m/data/c-1");
  work->mutable_unlearn_run()->set_method("gradient_ascent");
  for (const char* id : {"t-1", "t-2"}) {
    v1::TicketPayload* ticket = work->add_tickets();
    ticket->set_ticket_id(id);
    for (int i = 0; i < 2; ++i) {
      v1::TokenSequence* sequence = ticket->add_sequences();
      for (int n = 0; n < 5 + i; ++n) sequence->add_ids(40'000 + n);
      sequence->add_sensitive()->set_end(2);
      sequence->add_sensitive()->set_begin(3);
      sequence->mutable_sensitive(1)->set_end(4);
    }
  }
  return job;
}

AttackReport Found() {
  AttackReport report;
  AttackOutcome& greedy = report.attacks.emplace_back();
  greedy.attack = "greedy_extraction";
  greedy.parameters = {{"prefix", 8}};
  greedy.family = AttackFamily::kExtraction;
  greedy.forgotten = {{0.9, 0.8}, {0.1, 0.2}};
  greedy.control = {{0.05}, {0.06}};
  greedy.condition = "int4";
  greedy.reach = AttackReach::kDeeper;
  greedy.details = {
      {.name = "queries_needed", .forgotten = {{1, 2}, {0, 4}}, .control = {{0}, {9}}}};
  greedy.forward_tokens = 123;
  greedy.seconds = 0.5;
  report.left_out = {{.attack = "beams", .reason = "BUDGET", .expected_forward_tokens = 900}};
  report.attacks.emplace_back().family = AttackFamily::kMembership;
  report.attacks.emplace_back().family = AttackFamily::kMemorisation;
  for (const char* name : {"control", "retain", "news"}) {
    report.utility.push_back(
        {.name = name, .sequences = 3, .tokens = 30, .nll_before = 2.0, .nll_after = 2.5});
  }
  report.forgotten_nll = {{0.1}, {2.1}};
  report.control_nll = {{2.2}, {2.3}};
  report.run.method = "attacks";
  report.run.seed = 9;
  return report;
}

v1::Measurements Measured() {
  AttackRequest request;
  request.control = {{.ids = {1, 2, 3}}, {.ids = {4, 5}}};
  return MeasurementsOf(VerifyJob(), request, Found());
}

TEST(Measurements, NameTheLeaseAndBothCheckpoints) {
  const v1::Measurements m = Measured();
  EXPECT_EQ(m.model_id(), "m");
  EXPECT_EQ(m.job_id(), "j-1");
  EXPECT_EQ(m.fence(), 7u);
  EXPECT_EQ(m.candidate_checkpoint_id(), "c-2");
  EXPECT_EQ(m.candidate_digest(), "dd");
  EXPECT_EQ(m.base_checkpoint_id(), "c-1");
  EXPECT_EQ(m.base_digest(), "bb");
  EXPECT_EQ(m.base_generation(), 4u);
  EXPECT_EQ(m.unlearn_run().method(), "gradient_ascent");
  EXPECT_EQ(m.verify_run().method(), "attacks");
  EXPECT_EQ(m.verify_run().seed(), 9u);
}

TEST(Measurements, HoldLengthsInsteadOfText) {
  const v1::Measurements m = Measured();
  ASSERT_EQ(m.forgotten_size(), 4);
  EXPECT_EQ(m.forgotten(0).ticket_id(), "t-1");
  EXPECT_EQ(m.forgotten(3).ticket_id(), "t-2");
  EXPECT_EQ(m.forgotten(3).index(), 1);
  EXPECT_EQ(m.forgotten(3).tokens(), 6);
  EXPECT_EQ(m.forgotten(3).sensitive_tokens(), 3);  // 0..2 and 3..4
  EXPECT_THAT(m.control_tokens(), ElementsAre(3, 2));
  EXPECT_THAT(m.DebugString(), Not(HasSubstr("4000")));  // the ids
}

TEST(Measurements, HaveEveryFigureOfTheEngine) {
  const v1::Measurements m = Measured();
  ASSERT_EQ(m.attacks_size(), 3);
  const v1::AttackResult& greedy = m.attacks(0);
  EXPECT_EQ(greedy.attack(), "greedy_extraction");
  EXPECT_EQ(greedy.parameters().at("prefix"), 8);
  EXPECT_EQ(greedy.family(), v1::ATTACK_FAMILY_EXTRACTION);
  EXPECT_THAT(greedy.forgotten().before(), ElementsAre(0.9, 0.8));
  EXPECT_THAT(greedy.forgotten().after(), ElementsAre(0.1, 0.2));
  EXPECT_THAT(greedy.control().before(), ElementsAre(0.05));
  EXPECT_THAT(greedy.control().after(), ElementsAre(0.06));
  EXPECT_EQ(greedy.condition(), "int4");
  EXPECT_EQ(greedy.reach(), v1::ATTACK_REACH_DEEPER);
  ASSERT_EQ(greedy.details_size(), 1);
  EXPECT_EQ(greedy.details(0).name(), "queries_needed");
  EXPECT_THAT(greedy.details(0).forgotten().after(), ElementsAre(0, 4));
  EXPECT_THAT(greedy.details(0).control().after(), ElementsAre(9));
  EXPECT_EQ(greedy.forward_tokens(), 123);
  EXPECT_EQ(greedy.seconds(), 0.5);
  EXPECT_EQ(m.attacks(1).family(), v1::ATTACK_FAMILY_MEMBERSHIP);
  EXPECT_EQ(m.attacks(2).family(), v1::ATTACK_FAMILY_MEMORISATION);
  EXPECT_EQ(m.attacks(1).details_size(), 0);
  ASSERT_EQ(m.left_out_size(), 1);
  EXPECT_EQ(m.left_out(0).attack(), "beams");
  EXPECT_EQ(m.left_out(0).reason(), "BUDGET");
  EXPECT_EQ(m.left_out(0).expected_forward_tokens(), 900);
  ASSERT_EQ(m.utility_size(), 3);
  EXPECT_EQ(m.utility(0).role(), v1::TEXT_ROLE_CONTROL);
  EXPECT_EQ(m.utility(1).role(), v1::TEXT_ROLE_RETAIN);
  EXPECT_EQ(m.utility(2).role(), v1::TEXT_ROLE_OTHER);
  EXPECT_EQ(m.utility(2).name(), "news");
  EXPECT_EQ(m.utility(2).sequences(), 3);
  EXPECT_EQ(m.utility(2).tokens(), 30);
  EXPECT_EQ(m.utility(2).nll_before(), 2.0);
  EXPECT_EQ(m.utility(2).nll_after(), 2.5);
  EXPECT_THAT(m.forgotten_nll().after(), ElementsAre(2.1));
  EXPECT_THAT(m.control_nll().before(), ElementsAre(2.2));
}

// The digest of the bytes names the report: maps must not decide it.
TEST(Measurements, TheSameFiguresAreTheSameBytes) {
  v1::RunRecord there, back;
  for (int i = 0; i < 50; ++i) {
    (*there.mutable_hyperparameters())[std::to_string(i)] = i;
    (*back.mutable_hyperparameters())[std::to_string(49 - i)] = 49 - i;
  }
  EXPECT_EQ(DeterministicBytes(there), DeterministicBytes(back));
  v1::RunRecord read;
  ASSERT_TRUE(read.ParseFromString(DeterministicBytes(there)));
  EXPECT_EQ(read.hyperparameters_size(), 50);
  (*back.mutable_hyperparameters())["0"] = 1;
  EXPECT_NE(DeterministicBytes(there), DeterministicBytes(back));
}

class SilentControl : public JobControl {
 public:
  const std::atomic<bool>& cancelled() const override { return cancelled_; }
  void Report(const v1::Progress&) override {}

 private:
  std::atomic<bool> cancelled_ = false;
};

class Runner : public ::testing::Test {
 protected:
  JobFailure Refusal(const v1::Job& job) {
    VerifyRunner runner(folder_.path(), Device{}, {}, &metrics_);
    const JobOutcome outcome = runner.Run(job, &control_);
    const auto* failure = std::get_if<JobFailure>(&outcome);
    return failure == nullptr ? JobFailure{} : *failure;
  }
  TempFolder folder_;
  HostMetrics metrics_{"lethe-verifier", {v1::JOB_KIND_VERIFY}};
  SilentControl control_;
};

TEST_F(Runner, RefusesWhatItCannotDoByWhoseFaultItIs) {
  EXPECT_EQ(Refusal(v1::Job()).reason, "KIND_UNKNOWN");
  v1::Job job = VerifyJob();
  job.mutable_verify()->set_candidate_folder("../elsewhere");
  EXPECT_EQ(Refusal(job).reason, "PATH_OUTSIDE");
  EXPECT_EQ(Refusal(job).cause, v1::FAILURE_CAUSE_INFRASTRUCTURE);
  // The sets are not there: this machine does not see the shared folder.
  EXPECT_EQ(Refusal(VerifyJob()).reason, "FILE_ERROR");
  EXPECT_EQ(Refusal(VerifyJob()).cause, v1::FAILURE_CAUSE_INFRASTRUCTURE);
  EXPECT_THAT(Refusal(VerifyJob()).message, Not(HasSubstr("4000")));
}

}  // namespace
}  // namespace lethe
