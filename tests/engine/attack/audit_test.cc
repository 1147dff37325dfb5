// The harness around the attacks, with attacks that say what they were given.
#include "engine/attack/audit.h"

#include <gtest/gtest.h>

#include "engine/attack/audit_side.h"
#include "engine/attack/conditioned_model.h"
#include "engine/metric/ngram_reference.h"
#include "tests/engine/random_models.h"
#include "tests/engine/unlearn/tiny_people.h"

namespace lethe {
namespace {

AttackRequest Request() {
  return {.base_folder = Tiny().model,
          .candidate_folder = Tiny().model,
          .forgotten = Tiny().forget,
          .control = Tiny().holdout,
          .texts = {{"control", Tiny().holdout}, {"retain", Tiny().retain}},
          .plan = {{"loss", {}}, {"min_k", {}}},
          .seed = 3};
}

int64_t Tokens(const std::vector<Sequence>& sequences) {
  int64_t tokens = 0;
  for (const Sequence& s : sequences) tokens += static_cast<int64_t>(s.ids.size());
  return tokens;
}

// Reads the shared pass: its NLL is the score.
absl::StatusOr<AttackScores> Reader(const AttackInput& input) {
  LETHE_ASSIGN_OR_RETURN(const auto tokens, input.forced.Tokens());
  AttackScores out;
  for (const TokenStatistics& t : tokens) out.scores.push_back(t.score.total_nll);
  return out;
}

absl::StatusOr<AttackScores> Counter(const AttackInput& input) {
  AttackScores out;
  out.scores.assign(input.sequences.size(), 1);
  out.forward_tokens = static_cast<int64_t>(input.sequences.size());
  return out;
}

// Cannot do with fewer than 32 sequences, as the last part of 40 controls has.
absl::StatusOr<AttackScores> Choosy(const AttackInput& input) {
  AttackScores out;
  if (input.sequences.size() == 8) out.not_applicable = "eight are not enough";
  out.scores.assign(input.sequences.size(), 1);
  return out;
}

TEST(ConditionedModel, ThePassIsChargedToItsFirstReader) {
  const AttackRequest request = Request();
  auto audit = MakeAudit(request);
  ASSERT_TRUE(audit.ok()) << audit.status();
  const Decoder model = RandomModel({.vocab = 64, .context = 64}, 3);
  int64_t charged = 0;
  const auto forward_tokens = [&](ConditionedModel& target, AttackFunction attack) {
    audit->rows[0].attack = attack;
    const auto part = target.Attack(audit->rows[0], charged, nullptr);
    EXPECT_TRUE(part.ok()) << part.status();
    charged += part->shared_tokens;
    return part->forward_tokens;
  };
  ConditionedModel target(model, *audit, WholeAim(request));
  const int64_t sequences = 3 + 40, tokens = Tokens(request.forgotten) + Tokens(request.control);
  EXPECT_EQ(forward_tokens(target, Counter), sequences);
  const int64_t pass = forward_tokens(target, Reader);
  EXPECT_EQ(pass % tokens, 0);
  EXPECT_GE(pass, tokens);
  EXPECT_EQ(forward_tokens(target, Reader), 0);
  EXPECT_EQ(forward_tokens(target, Counter), sequences);
  // What an earlier run charged is not charged again.
  ConditionedModel resumed(model, *audit, WholeAim(request));
  EXPECT_EQ(forward_tokens(resumed, Reader), 0);
}

TEST(ConditionedModel, FiguresAreThoseOfTheAim) {
  const AttackRequest request = Request();
  auto audit = MakeAudit(request);
  ASSERT_TRUE(audit.ok()) << audit.status();
  audit->rows[0].attack = Reader;
  const Decoder model = RandomModel({.vocab = 64, .context = 64}, 3);
  const Aim aim = {.forgotten = {2, 0}, .control = {5, 39, 7}};
  ConditionedModel all(model, *audit, WholeAim(request)), some(model, *audit, aim);
  const auto whole = all.Attack(audit->rows[0], 0, nullptr),
             part = some.Attack(audit->rows[0], 0, nullptr);
  ASSERT_TRUE(whole.ok() && part.ok());
  ASSERT_EQ(whole->control.size(), 40U);
  EXPECT_NEAR(part->forgotten[0], whole->forgotten[2], 1e-4);
  EXPECT_NEAR(part->control[1], whole->control[39], 1e-4);
  EXPECT_NEAR(part->control[2], whole->control[7], 1e-4);

  AuditRow row = audit->rows[0];
  Place(*part, aim, Side::kAfter, request, row);
  EXPECT_EQ(row.outcome.forgotten.after.size(), 3U);
  EXPECT_EQ(row.outcome.forgotten.after[2], part->forgotten[0]);
  EXPECT_EQ(row.outcome.control.after[39], part->control[1]);
  row.outcome.control_indexes = aim.control;
  Place(*part, aim, Side::kBefore, request, row);
  EXPECT_EQ(row.outcome.control.before, part->control);
}

// One part of one side cannot be attacked: nothing of that attack is reported, and the others are.
TEST(Audit, WhatIsNotApplicableSomewhereIsLeftOutAsAWhole) {
  for (const bool candidate_alone : {false, true}) {
    SCOPED_TRACE(candidate_alone);
    const AttackRequest request = Request();
    auto audit = MakeAudit(request);
    ASSERT_TRUE(audit.ok()) << audit.status();
    audit->rows[0].attack = candidate_alone ? Counter : Choosy;
    const ResumeFolder none({}, "");
    ASSERT_TRUE(RunSide(*audit, Side::kBefore, none, nullptr).ok());
    audit->rows[0].attack = Choosy;
    ASSERT_TRUE(RunSide(*audit, Side::kAfter, none, nullptr).ok());
    const AttackReport report = TakeReport(*std::move(audit));
    ASSERT_EQ(report.attacks.size(), 1U);
    EXPECT_EQ(report.attacks[0].attack, "min_k");
    ASSERT_EQ(report.left_out.size(), 1U);
    EXPECT_EQ(report.left_out[0].attack, "loss");
    EXPECT_EQ(report.left_out[0].reason, "eight are not enough");
    EXPECT_EQ(report.forgotten_nll.before.size(), 3U);
    EXPECT_EQ(report.control_nll.after.size(), 40U);
  }
}

// Each row says its cost before it runs; what would go beyond the budget is left out from the end.
TEST(Audit, ABudgetCutsThePlansEnd) {
  AttackRequest request = Request();
  request.plan = {{.attack = "loss"},
                  {.attack = "greedy_extraction"},
                  {.attack = "min_k"},
                  {.attack = "extraction_likelihood"}};
  const auto costs = [&] {
    auto audit = MakeAudit(request);
    EXPECT_TRUE(audit.ok()) << audit.status();
    SetBudget(*audit);
    std::vector<int64_t> expected;
    for (const AuditRow& row : audit->rows) {
      if (row.left_out.empty()) expected.push_back(row.outcome.expected_forward_tokens);
    }
    return expected;
  };
  const std::vector<int64_t> all = costs();
  ASSERT_EQ(all.size(), 4U);
  EXPECT_EQ(all[0], 2 * (Tokens(request.forgotten) + Tokens(request.control)));
  EXPECT_EQ(all[2], 0);  // the pass is charged to the first
  request.max_forward_tokens = all[0] + all[1] + all[2] + all[3];
  EXPECT_EQ(costs().size(), 4U);
  --request.max_forward_tokens;
  EXPECT_EQ(costs().size(), 3U);
  const auto report = RunAttacks(request);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->attacks.size(), 3U);
  ASSERT_EQ(report->left_out.size(), 1U);
  EXPECT_EQ(report->left_out[0].attack, "extraction_likelihood");
  EXPECT_EQ(report->left_out[0].reason, "BUDGET");
  EXPECT_EQ(report->left_out[0].expected_forward_tokens, all[3]);
  request.max_forward_tokens = 1;
  EXPECT_TRUE(costs().empty());
}

TEST(RunAttacks, AReferenceOfTheRetainTextSaysWhetherItIsOneKind) {
  AttackRequest request = Request();
  request.plan = {{.attack = "loss"}};
  const auto report = RunAttacks(request);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_TRUE(report->on_spans);
  ASSERT_EQ(report->forgotten_reference_nll.size(), 3U);
  ASSERT_EQ(report->control_reference_nll.size(), 40U);
  const NgramReference reference(Tiny().retain, 64);
  EXPECT_EQ(report->control_reference_nll[7], reference.MeanNll(Tiny().holdout[7], true));
  request.texts.clear();
  const auto without = RunAttacks(request);
  ASSERT_TRUE(without.ok());
  EXPECT_TRUE(without->forgotten_reference_nll.empty());
}

TEST(Audit, TheContextIsTheSameForAllParts) {
  const AttackRequest request = Request();
  const auto audit = MakeAudit(request);
  ASSERT_TRUE(audit.ok()) << audit.status();
  const AttackContext context = ContextOf(*audit);
  EXPECT_EQ(context.tokenizer, nullptr);  // the folder has none
  EXPECT_EQ(context.kept.size(), 400U);
  EXPECT_EQ(context.forgotten.size(), 3U);
  EXPECT_EQ(context.control.size(), 40U);
}

}  // namespace
}  // namespace lethe
