// The scheduling policies: tables of situations and what follows.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"
#include "server/page_token.h"
#include "server/policy/deadline.h"
#include "server/policy/ladder.h"
#include "server/policy/next_job.h"

namespace lethe {
namespace {

using storage::JobKind;
using ::testing::ElementsAre;

const absl::Time kNow = absl::FromUnixSeconds(1'790'000'000);
const std::set<JobKind> kAll = {JobKind::kPrepare, JobKind::kUnlearn, JobKind::kVerify};

storage::JobRecord Ready(const char* id, JobKind kind, int64_t create_us,
                         absl::Time not_before = kNow) {
  storage::JobRecord job;
  job.set_job_id(id);
  job.set_kind(static_cast<int>(kind));
  job.set_create_us(create_us);
  job.set_not_before_us(absl::ToUnixMicros(not_before));
  return job;
}

storage::WaitingTicket Waiting(const char* id, uint64_t seq, absl::Duration due, int rung = 0,
                               int cap = 0) {
  return {.id = TicketId{id},
          .queue_seq = seq,
          .rung = rung,
          .batch_cap = cap,
          .create_time = kNow - absl::Minutes(10),
          .due_time = kNow + due,
          .not_before = absl::InfinitePast()};
}

storage::ModelQueue Queue(const char* model, std::vector<storage::WaitingTicket> head,
                          bool idle = true) {
  return {.model = ModelId{model},
          .idle = idle,
          .generation = Generation{1},
          .waiting = static_cast<int64_t>(head.size()),
          .head = std::move(head)};
}

std::vector<std::string> Ids(const JobPlan& plan) {
  std::vector<std::string> ids;
  for (const TicketId& id : plan.tickets) ids.push_back(id.value);
  return ids;
}

TEST(NextJob, NothingWaits) {
  const NextJob next = ChooseJob({}, kAll, {}, {}, kNow);
  EXPECT_FALSE(next.lease || next.form);
  EXPECT_EQ(next.look_again, absl::InfiniteFuture());
}

TEST(NextJob, ReadyJobsGoByKindThenAge) {
  const storage::WorkView work{
      .ready = {Ready("p", JobKind::kPrepare, 1), Ready("u", JobKind::kUnlearn, 2),
                Ready("v2", JobKind::kVerify, 9), Ready("v1", JobKind::kVerify, 8)}};
  EXPECT_EQ(ChooseJob(work, kAll, {}, {}, kNow).lease, JobId{"v1"});
  EXPECT_EQ(ChooseJob(work, kAll, {}, {.jobs = {JobId{"v1"}}}, kNow).lease, JobId{"v2"});
  EXPECT_EQ(ChooseJob(work, {JobKind::kUnlearn, JobKind::kPrepare}, {}, {}, kNow).lease,
            JobId{"u"});
  EXPECT_EQ(ChooseJob(work, {JobKind::kPrepare}, {}, {}, kNow).lease, JobId{"p"});
}

TEST(NextJob, ErasuresComeBeforeWorkThatCanWaitAndTrainingAfterIt) {
  storage::WorkView work{
      .ready = {Ready("t", JobKind::kTrain, 1), Ready("i", JobKind::kIngest, 2),
                Ready("p", JobKind::kPrepare, 3), Ready("u", JobKind::kUnlearn, 4),
                Ready("r", JobKind::kRetrain, 5), Ready("v", JobKind::kVerify, 6)}};
  const std::set<JobKind> all = {JobKind::kTrain,   JobKind::kIngest,  JobKind::kPrepare,
                                 JobKind::kUnlearn, JobKind::kRetrain, JobKind::kVerify};
  for (const char* next : {"v", "r", "u", "p", "i", "t"}) {
    EXPECT_EQ(ChooseJob(work, all, {}, {}, kNow).lease, JobId{next});
    work.ready.pop_back();
  }
}

TEST(NextJob, BackOffIsWaitedFor) {
  const absl::Time later = kNow + absl::Seconds(3);
  const storage::WorkView work{.ready = {Ready("u", JobKind::kUnlearn, 1, later)}};
  const NextJob next = ChooseJob(work, kAll, {}, {}, kNow);
  EXPECT_FALSE(next.lease);
  EXPECT_EQ(next.look_again, later);
  EXPECT_EQ(ChooseJob(work, kAll, {}, {}, later).lease, JobId{"u"});
}

TEST(NextJob, TheMostUrgentModelComesFirst) {
  const storage::WorkView work{
      .queues = {Queue("a", {Waiting("a1", 1, absl::Hours(50))}),
                 Queue("b", {Waiting("b1", 2, absl::Hours(90)), Waiting("b2", 3, absl::Hours(20))}),
                 Queue("c", {Waiting("c1", 4, absl::Hours(1))}, /*idle=*/false)}};
  const NextJob next = ChooseJob(work, kAll, {}, {}, kNow);
  ASSERT_TRUE(next.form);
  EXPECT_EQ(next.form->model, ModelId{"b"});
  EXPECT_THAT(Ids(*next.form), ElementsAre("b2", "b1"));
  EXPECT_EQ(ChooseJob(work, kAll, {}, {.models = {ModelId{"b"}}}, kNow).form->model, ModelId{"a"});
  EXPECT_FALSE(ChooseJob(work, {JobKind::kVerify}, {}, {}, kNow).form);
}

TEST(NextJob, OneJobHasOneRung) {
  const storage::WorkView work{
      .queues = {Queue("m", {Waiting("t1", 1, absl::Hours(9)), Waiting("t2", 2, absl::Hours(5), 1),
                             Waiting("t3", 3, absl::Hours(7), 1)})}};
  const NextJob next = ChooseJob(work, kAll, {}, {}, kNow);
  EXPECT_EQ(next.form->rung, 1);
  EXPECT_THAT(Ids(*next.form), ElementsAre("t2", "t3"));
}

TEST(NextJob, CapsOfPolicyAndTicketHold) {
  const std::vector<storage::WaitingTicket> four = {
      Waiting("t1", 1, absl::Hours(1)), Waiting("t2", 2, absl::Hours(2)),
      Waiting("t3", 3, absl::Hours(3), 0, 2), Waiting("t4", 4, absl::Hours(4))};
  const storage::WorkView work{.queues = {Queue("m", four)}};
  const QueuePolicies three = {{ModelId{"m"}, {.max_tickets_per_job = 3}}};
  // t3 may only travel in a job of two: with t1 and t2
  // already in, it waits, and t4 takes its place.
  EXPECT_THAT(Ids(*ChooseJob(work, kAll, three, {}, kNow).form), ElementsAre("t1", "t2", "t4"));
  const storage::WorkView capped{.queues = {Queue("m", {Waiting("t1", 1, absl::Hours(1), 0, 1),
                                                        Waiting("t2", 2, absl::Hours(2))})}};
  EXPECT_THAT(Ids(*ChooseJob(capped, kAll, three, {}, kNow).form), ElementsAre("t1"));
}

TEST(NextJob, BatchingWaitsForCompany) {
  const QueuePolicies hour = {
      {ModelId{"m"}, {.max_tickets_per_job = 2, .max_batch_wait = absl::Hours(1)}}};
  // Filed ten minutes ago: fifty to go.
  const storage::WorkView one{.queues = {Queue("m", {Waiting("t1", 1, absl::Hours(100))})}};
  NextJob next = ChooseJob(one, kAll, hour, {}, kNow);
  EXPECT_FALSE(next.form);
  EXPECT_EQ(next.look_again, kNow + absl::Minutes(50));
  EXPECT_TRUE(ChooseJob(one, kAll, hour, {}, next.look_again).form);
  // A full job does not wait.
  const storage::WorkView two{.queues = {Queue("m", {Waiting("t1", 1, absl::Hours(100)),
                                                     Waiting("t2", 2, absl::Hours(100))})}};
  EXPECT_TRUE(ChooseJob(two, kAll, hour, {}, kNow).form);
  // Nor does one whose deadline comes near.
  const storage::WorkView urgent{.queues = {Queue("m", {Waiting("t1", 1, absl::Minutes(59))})}};
  EXPECT_TRUE(ChooseJob(urgent, kAll, hour, {}, kNow).form);
}

TEST(NextJob, TicketsInBackOffStayOut) {
  storage::WaitingTicket resting = Waiting("t1", 1, absl::Hours(1));
  resting.not_before = kNow + absl::Seconds(8);
  const storage::WorkView work{.queues = {Queue("m", {resting, Waiting("t2", 2, absl::Hours(2))})}};
  EXPECT_THAT(Ids(*ChooseJob(work, kAll, {}, {}, kNow).form), ElementsAre("t2"));
  const storage::WorkView only{.queues = {Queue("m", {resting})}};
  EXPECT_EQ(ChooseJob(only, kAll, {}, {}, kNow).look_again, resting.not_before);
}

absl::Time Utc(int year, int month, int day) {
  return absl::FromCivil(absl::CivilDay(year, month, day), absl::UTCTimeZone());
}

TEST(Deadline, Laws) {
  struct Case {
    v1::Regulation regulation;
    absl::Time asked, due, extended;
  };
  for (const Case& c :
       {Case{v1::REGULATION_GDPR, Utc(2027, 1, 31), Utc(2027, 2, 28), Utc(2027, 4, 30)},
        Case{v1::REGULATION_GDPR, Utc(2028, 1, 31), Utc(2028, 2, 29), Utc(2028, 4, 30)},
        Case{v1::REGULATION_GDPR, Utc(2026, 11, 30), Utc(2026, 12, 30), Utc(2027, 2, 28)},
        Case{v1::REGULATION_CCPA, Utc(2026, 1, 1), Utc(2026, 2, 15), Utc(2026, 4, 1)}}) {
    EXPECT_EQ(*DueTime(c.regulation, c.asked, {}, kNow), c.due);
    EXPECT_EQ(*ExtendedDueTime(c.regulation, c.asked, c.due, {}), c.extended);
    EXPECT_EQ(ErrorReason(DueTime(c.regulation, c.asked, kNow + absl::Hours(1), kNow).status()),
              "DUE_TIME_INVALID");
    EXPECT_EQ(
        ErrorReason(ExtendedDueTime(c.regulation, c.asked, c.due, c.due + absl::Hours(1)).status()),
        "DUE_TIME_INVALID");
  }
}

TEST(Deadline, CustomIsTheCallers) {
  const absl::Time due = kNow + absl::Hours(2);
  EXPECT_EQ(*DueTime(v1::REGULATION_CUSTOM, kNow, due, kNow), due);
  EXPECT_FALSE(DueTime(v1::REGULATION_CUSTOM, kNow, {}, kNow).ok());
  EXPECT_FALSE(DueTime(v1::REGULATION_CUSTOM, kNow, kNow, kNow).ok());
  EXPECT_EQ(*ExtendedDueTime(v1::REGULATION_CUSTOM, kNow, due, due + absl::Hours(1)),
            due + absl::Hours(1));
  EXPECT_FALSE(ExtendedDueTime(v1::REGULATION_CUSTOM, kNow, due, due).ok());
  EXPECT_FALSE(DueTime(static_cast<v1::Regulation>(77), kNow, {}, kNow).ok());
}

TEST(Ladder, DefaultsAreFilledIn) {
  const auto policy = ResolvePolicy({}, ServerConfig());
  ASSERT_TRUE(policy.ok()) << policy.status();
  ASSERT_EQ(policy->ladder_size(), 2);
  EXPECT_EQ(RungName(RungOf(*policy, 0)), "gradient_ascent/calibrated");
  EXPECT_EQ(RungName(RungOf(*policy, 1)), "gradient_ascent/careful");
  EXPECT_EQ(RungName(RungOf(*policy, 7)), "gradient_ascent/careful");
  EXPECT_EQ(policy->max_tickets_per_job(), 32);
  EXPECT_GT(policy->attacks_size(), 4);
}

TEST(Ladder, UnknownNamesAreRefused) {
  const auto reason = [](auto change) {
    v1::ModelPolicy policy;
    change(policy);
    return ErrorReason(ResolvePolicy(policy, ServerConfig()).status());
  };
  EXPECT_EQ(reason([](auto& p) { p.add_ladder()->set_method("prayer"); }), "POLICY_INVALID");
  EXPECT_EQ(reason([](auto& p) {
              auto* rung = p.add_ladder();
              rung->set_method("gradient_ascent");
              rung->set_preset("wild");
            }),
            "POLICY_INVALID");
  EXPECT_EQ(reason([](auto& p) {
              auto* rung = p.add_ladder();
              rung->set_method("gradient_ascent");
              (*rung->mutable_overrides())["learning_rate"] = -1;
            }),
            "POLICY_INVALID");
  EXPECT_EQ(reason([](auto& p) { p.add_attacks()->set_attack("asking nicely"); }),
            "POLICY_INVALID");
  EXPECT_EQ(reason([](auto& p) { p.add_ladder()->set_method("gradient_ascent"); }), "");
  EXPECT_EQ(reason([](auto& p) { p.add_ladder()->set_method("leave_one_out"); }), "");
}

TEST(Ladder, WithoutTeachersTheirRungIsPassedOver) {
  v1::ModelPolicy policy;
  policy.add_ladder()->set_method("leave_one_out");
  EXPECT_EQ(FirstRung(policy, /*teachers=*/false), 0) << "there is no other";
  policy.add_ladder()->set_method("gradient_ascent");
  EXPECT_EQ(FirstRung(policy, /*teachers=*/true), 0);
  EXPECT_EQ(FirstRung(policy, /*teachers=*/false), 1);
  EXPECT_EQ(FirstRung({}, /*teachers=*/true), 0);
}

TEST(PageToken, ComesBackOnlyForItsList) {
  const PageTokens tokens("key");
  const std::string token = tokens.Make("tickets/m", "17/t-1");
  EXPECT_EQ(*tokens.Read("tickets/m", token), "17/t-1");
  EXPECT_EQ(*tokens.Read("tickets/m", ""), "");
  EXPECT_FALSE(tokens.Read("tickets/n", token).ok());
  EXPECT_FALSE(PageTokens("other").Read("tickets/m", token).ok());
  for (size_t i = 0; i < token.size(); ++i) {
    std::string changed = token;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_EQ(ErrorReason(tokens.Read("tickets/m", changed).status()), "PAGE_TOKEN_INVALID") << i;
  }
  EXPECT_FALSE(tokens.Read("tickets/m", "!").ok());
  EXPECT_FALSE(tokens.Read("tickets/m", std::string(5000, 'A')).ok());
}

TEST(PageToken, SizesAreCoerced) {
  EXPECT_EQ(*PageSize(0), 50);
  EXPECT_EQ(*PageSize(7), 7);
  EXPECT_EQ(*PageSize(5000), 1000);
  EXPECT_EQ(ErrorReason(PageSize(-1).status()), "PAGE_SIZE_INVALID");
}

}  // namespace
}  // namespace lethe
