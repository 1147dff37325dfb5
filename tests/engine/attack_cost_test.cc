// What attacks are expected to cost, against sums made by hand.
#include "engine/attack_cost.h"

#include <gtest/gtest.h>

#include <cmath>

#include "engine/attack_catalog.h"

namespace lethe {
namespace {

// Two forgotten texts of 10 tokens, three controls of 20, four kept ones of 5.
AuditSize Small() {
  const Sequence five{.ids = std::vector<int32_t>(5)}, ten{.ids = std::vector<int32_t>(10)},
      twenty{.ids = std::vector<int32_t>(20)};
  return {.forgotten = SizeOf(std::vector<Sequence>{ten, ten}),
          .control = SizeOf(std::vector<Sequence>{twenty, twenty, twenty}),
          .retain = SizeOf(std::vector<Sequence>{five, five, five, five}),
          .others = {}};
}

std::vector<int64_t> Tokens(const std::vector<PlannedAttack>& plan) {
  std::vector<int64_t> tokens;
  for (const AttackCost& cost : CostOfAudit(plan, Small())) tokens.push_back(cost.ForwardTokens());
  return tokens;
}

constexpr int64_t kPass = 2 * (20 + 60);  // of both models

TEST(AttackCost, OnePassServesAllThatReadIt) {
  EXPECT_EQ(Tokens({{"loss", {}}, {"min_k", {}}, {"memorisation_accuracy", {}}}),
            (std::vector<int64_t>{kPass, 0, 0}));
  // One for each condition.
  EXPECT_EQ(Tokens({{"loss", {}, "int4"}, {"min_k", {}}, {"min_k", {}, "int4"}}),
            (std::vector<int64_t>{kPass, kPass, 0}));
  EXPECT_EQ(Tokens({{"of a later version", {}}, {"loss", {}, "int3"}}),
            (std::vector<int64_t>{0, 0}));
}

// EL reads all, and rolls out .6 of unseen and .06 of known text, T^2/2 each.
TEST(AttackCost, ElIsTheTextAndItsMistakesTimesWhatIsLeft) {
  const double known = 0.06 * 2 * 50, unseen = 0.6 * (2 * 50 + 2 * 3 * 200);
  EXPECT_EQ(Tokens({{"extraction_likelihood", {{"n", 10}}}})[0],
            std::llround(kPass + known + unseen));
}

TEST(AttackCost, DrawsAreAsManyAsTheParametersSay) {
  const auto tokens = [](const char* attack, const ParameterValues& values) {
    return CostOfAudit(std::vector<PlannedAttack>{{attack, values}}, Small())[0];
  };
  const AttackCost once = tokens("sampled_extraction", {{"samples", 1}});
  const AttackCost often = tokens("sampled_extraction", {{"samples", 32}});
  EXPECT_DOUBLE_EQ(once.generated, 2 * 1.4 * (2 * 5 + 3 * 10));
  EXPECT_DOUBLE_EQ(often.generated, 32 * once.generated);
  EXPECT_DOUBLE_EQ(often.read, once.read);
}

// Behind the pass: of the forgotten text the base says all but a tenth without being asked.
TEST(AttackCost, GreedyContinuationsGoOnFromThePass) {
  const PlannedAttack greedy = {"greedy_extraction", {{"max_suffix_tokens", 4}}};
  const double said = (0.1 + 1) * 2 * (4 + 4 + 2.5) + 2 * 3 * (4 + 4 + 4);
  EXPECT_EQ(Tokens({greedy, {"loss", {}}}), (std::vector<int64_t>{std::llround(kPass + said), 0}));
  // An attack that comes later reads three quarters again.
  EXPECT_EQ(Tokens({{"loss", {}}, greedy}),
            (std::vector<int64_t>{kPass, std::llround(0.75 * kPass + said)}));
}

// Three prompts, each nine tenths of a half; the suffix is read behind each, and said.
TEST(AttackCost, ChangedPromptsAreReadWithTheirSuffix) {
  const AttackCost cost = CostOfAudit(
      std::vector<PlannedAttack>{{"dropped_tokens", {{"variants", 3}, {"max_suffix_tokens", 6}}}},
      Small())[0];
  EXPECT_DOUBLE_EQ(cost.read, 2 * 3 * (2 * (4.5 + 5) + 3 * (9 + 6)));
  EXPECT_DOUBLE_EQ(cost.generated, 2 * 3 * (2 * 5 + 3 * 6));
}

// A step on half takes both halves once, 20 tokens; a taught token is three. The base tries two
// sizes first, with all 5 steps each, and reads the forgotten text before and at both stops of
// both tries.
TEST(AttackCost, StepsAreChargedToTheFirstAttackAtEachStop) {
  const int64_t choice = 3 * 2 * 5 * 20 + (1 + 2 * 2) * 20;
  EXPECT_EQ(Tokens({{"loss", {}, "relearned-half-5"},
                    {"loss", {}, "relearned-half-1"},
                    {"min_k", {}, "relearned-half-1"}}),
            (std::vector<int64_t>{kPass + 3 * 2 * 4 * 20, kPass + 3 * 2 * 1 * 20 + choice, 0}));
}

TEST(AttackCost, TheTextItselfIsTaughtByTheStepSizeOfHalf) {
  const int64_t steps = 3 * 2 * 1 * 60, choice = 3 * 2 * 1 * 60 + (1 + 2 * 1) * 20;
  EXPECT_EQ(Tokens({{"loss", {}, "relearned-same-1"}})[0], 2 * (20 + 40) + steps + choice);
  EXPECT_EQ(Tokens({{"loss", {}, "relearned-half-1"}, {"loss", {}, "relearned-same-1"}})[1],
            2 * (20 + 40) + steps);
}

TEST(AttackCost, WhatIsTaughtDependsOnTheText) {
  const auto taught = [](const char* condition) {
    return CostOfAudit(std::vector<PlannedAttack>{{"loss", {}, condition}}, Small())[0].taught;
  };
  EXPECT_DOUBLE_EQ(taught("relearned-related-1"), 4 * 20);      // all four, what a step takes
  EXPECT_DOUBLE_EQ(taught("relearned-same-1"), 4 * (20 + 40));  // as many controls
  EXPECT_DOUBLE_EQ(taught("relearned-unrelated-1"), 0);         // there are none
}

TEST(AttackCost, EveryAttackOfThePlansCostsSomethingByItself) {
  AuditSize size = Small();
  for (TextSize* text : {&size.forgotten, &size.control}) {
    text->spans = text->span_sequences = text->sequences;
    text->span_tokens = 4 * text->spans;
  }
  size.others = size.retain;
  for (const PlanEntry& plan : Plans()) {
    for (const PlanRow& row : plan.rows) {
      const PlannedAttack attack = {std::string(row.attack),
                                    ResolveParameters(FindAttack(row.attack)->parameters, {}, {}),
                                    std::string(row.condition)};
      const AttackCost cost = CostOfAudit(std::vector<PlannedAttack>{attack}, size)[0];
      EXPECT_GT(cost.ForwardTokens(), 0) << row.attack << "@" << row.condition;
    }
  }
  // Without spans there is nothing to rank.
  EXPECT_EQ(Tokens({{"exposure", {}}})[0], 0);
}

}  // namespace
}  // namespace lethe
