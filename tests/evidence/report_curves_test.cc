// What the report computes beside the gates: rows of the table, curves, plots. Expected values by
// hand, as each test says.
#include "evidence/report_curves.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "evidence/report.h"
#include "evidence/report_families.h"
#include "evidence/svg_curve.h"
#include "tests/evidence/fabricated.h"

namespace lethe::evidence {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

ReportView View(const v1::Measurements& m) {
  return *ViewOf(*BuildReport(m.SerializeAsString(), {}, absl::UnixEpoch()));
}

v1::Measurements WholePlan(Truth truth) {
  truth.sequences = 12;
  truth.tickets = 2;
  return FabricateWholePlan(truth);
}

const FamilyRow& RowOf(const std::vector<FamilyRow>& rows, Family family) {
  for (const FamilyRow& row : rows) {
    if (row.family == family) return row;
  }
  ADD_FAILURE() << "no such row";
  return rows[0];
}

v1::AttackResult Attack(const char* name, v1::AttackFamily family, v1::AttackReach reach,
                        const char* condition = "") {
  v1::AttackResult a;
  a.set_attack(name);
  a.set_family(family);
  a.set_reach(reach);
  a.set_condition(condition);
  return a;
}

TEST(Families, AnAttackBelongsByConditionNameAndScore) {
  constexpr auto kExtraction = v1::ATTACK_FAMILY_EXTRACTION;
  constexpr auto kMembership = v1::ATTACK_FAMILY_MEMBERSHIP;
  constexpr auto kGreedy = v1::ATTACK_REACH_GREEDY;
  constexpr auto kDeeper = v1::ATTACK_REACH_DEEPER;
  EXPECT_EQ(FamilyOf(Attack("greedy_extraction", kExtraction, kGreedy)), Family::kAsked);
  EXPECT_EQ(FamilyOf(Attack("extraction_likelihood", v1::ATTACK_FAMILY_MEMORISATION, kGreedy)),
            Family::kAsked);
  EXPECT_EQ(FamilyOf(Attack("beam_extraction", kExtraction, kDeeper)), Family::kSampled);
  EXPECT_EQ(FamilyOf(Attack("few_shot", kExtraction, kDeeper)), Family::kPrompts);
  EXPECT_EQ(FamilyOf(Attack("min_k", kMembership, kDeeper)), Family::kLikelihood);
  EXPECT_EQ(FamilyOf(Attack("exposure", kMembership, kDeeper)), Family::kLikelihood);
  EXPECT_EQ(FamilyOf(Attack("logit_lens", kExtraction, kDeeper)), Family::kInside);
  EXPECT_EQ(FamilyOf(Attack("few_shot", kExtraction, kDeeper, "int8-g128")), Family::kRounded8);
  EXPECT_EQ(FamilyOf(Attack("loss", kMembership, kDeeper, "int4")), Family::kRounded4);
  EXPECT_EQ(FamilyOf(Attack("loss", kMembership, kDeeper, "relearned-same-5")), Family::kTaught);
  // What a later catalogue may hold.
  EXPECT_EQ(FamilyOf(Attack("new_one", kExtraction, kDeeper)), Family::kSampled);
  EXPECT_EQ(FamilyOf(Attack("new_one", v1::ATTACK_FAMILY_DIAGNOSTIC, kDeeper)), Family::kInside);
}

TEST(Families, EveryResultStandsInOneRow) {
  const ReportView view = View(WholePlan(IdealTruth()));
  size_t in_rows = 0;
  for (const FamilyRow& row : FamilyRows(view)) in_rows += row.attacks.size();
  EXPECT_EQ(in_rows, static_cast<size_t>(view.m().attacks_size()) + 1);  // and the likelihoods
}

// Two roundings to 4 bits, three extraction attacks each: six failed, of ten.
TEST(Families, ARowShowsWhatFailedMost) {
  const std::vector<FamilyRow> rows = FamilyRows(View(WholePlan(RoundedBackTruth())));
  const FamilyRow& four = RowOf(rows, Family::kRounded4);
  EXPECT_EQ(four.standing, Standing::kFail);
  EXPECT_EQ(four.shown, "Greedy extraction, 4 bits");
  EXPECT_EQ(four.after, four.before);
  EXPECT_THAT(four.sentence, HasSubstr("6 of 10 attempts still tell the forgotten text"));
  for (const Family other : {Family::kAsked, Family::kSampled, Family::kRounded8}) {
    EXPECT_EQ(RowOf(rows, other).standing, Standing::kPass);
  }
}

TEST(Families, AGapIsSeen) {
  const std::vector<FamilyRow> rows = FamilyRows(View(Fabricate(IdealTruth())));
  EXPECT_EQ(RowOf(rows, Family::kPrompts).standing, Standing::kNotTried);
  EXPECT_THAT(RowOf(rows, Family::kPrompts).sentence, HasSubstr("asked for nothing"));
  const std::vector<FamilyRow> poor = FamilyRows(View(Fabricate(SmallControlTruth())));
  EXPECT_EQ(RowOf(poor, Family::kAsked).standing, Standing::kNotJudged);
  EXPECT_THAT(RowOf(poor, Family::kAsked).sentence, HasSubstr("without a control that fits"));
  const std::vector<FamilyRow> weak = FamilyRows(View(Fabricate(NeverMemorisedTruth())));
  EXPECT_EQ(RowOf(weak, Family::kAsked).standing, Standing::kNoPower);
}

TEST(Families, OverdoneIsNotCalledFound) {
  Truth truth = OverUnlearnedTruth();
  const FamilyRow row = RowOf(FamilyRows(View(WholePlan(truth))), Family::kLikelihood);
  EXPECT_EQ(row.standing, Standing::kFail);
  EXPECT_THAT(row.sentence, HasSubstr("by how unlikely it became"));
}

// From 0.3 at step 2 to 0.7 at step 4: 0.5 at step 3.
TEST(Curves, StepsToIsLinearBetweenStops) {
  EXPECT_DOUBLE_EQ(*StepsTo({0, 2, 4}, {0.1, 0.3, 0.7}, 0.5), 3);
  EXPECT_EQ(*StepsTo({0, 2, 4}, {0.6, 0.3, 0.7}, 0.5), 0);
  EXPECT_EQ(*StepsTo({0, 2}, {0.1, 0.5}, 0.5), 2);
  EXPECT_FALSE(StepsTo({0, 2, 4}, {0.1, 0.3, 0.49}, 0.5).has_value());
  EXPECT_FALSE(StepsTo({}, {}, 0.5).has_value());
}

TEST(Curves, TheLeadIsToldInSteps) {
  RelearnCurve curve;
  curve.steps = {0, 2, 4, 12};
  curve.forgotten_now = {0.1, 0.3, 0.7, 0.9};  // half at 3
  curve.control_now = {0.1, 0.1, 0.2, 1.0};    // half at 4 + 8 * 3/8 = 7
  EXPECT_THAT(RelearningLead(curve), HasSubstr("It needs 4.0 steps fewer than never-seen text."));
  std::swap(curve.forgotten_now, curve.control_now);
  EXPECT_THAT(RelearningLead(curve), HasSubstr("It needs 4.0 steps more than never-seen text."));
  curve.control_now = curve.forgotten_now;
  EXPECT_THAT(RelearningLead(curve), HasSubstr("as many steps as never-seen text"));
  curve.control_now = {0, 0, 0, 0};
  EXPECT_THAT(RelearningLead(curve), HasSubstr("at least 5.0 steps fewer"));
  curve.forgotten_now = {0, 0, 0, 0};
  EXPECT_THAT(RelearningLead(curve), HasSubstr("Too few steps"));
}

// Two sequences and three controls, of which taught ones are 0 and 2.
TEST(Curves, StepZeroIsAboutTheSameControl) {
  v1::Measurements m;
  const auto fill = [](std::initializer_list<double> values, auto* list) {
    for (const double v : values) list->Add(v);
  };
  v1::AttackResult* as_it_is = m.add_attacks();
  *as_it_is = Attack("greedy_extraction", v1::ATTACK_FAMILY_EXTRACTION, v1::ATTACK_REACH_GREEDY);
  fill({1, 1}, as_it_is->mutable_forgotten()->mutable_before());
  fill({0.1, 0.3}, as_it_is->mutable_forgotten()->mutable_after());
  fill({0, 0.9, 0.2}, as_it_is->mutable_control()->mutable_before());
  fill({0.2, 0.9, 0.4}, as_it_is->mutable_control()->mutable_after());
  for (const int steps : {5, 1}) {  // in any order
    v1::AttackResult* a = m.add_attacks();
    *a = *as_it_is;
    a->set_condition(absl::StrCat("relearned-same-", steps));
    a->set_report_only(true);
    a->add_control_indexes(0);
    a->add_control_indexes(2);
    a->clear_control();
    fill({0.5, 0.5}, a->mutable_control()->mutable_before());
    fill({steps * 0.1, steps * 0.1}, a->mutable_control()->mutable_after());
  }
  const std::vector<RelearnCurve> curves = RelearnCurves(m);
  ASSERT_EQ(curves.size(), 1u);
  EXPECT_EQ(curves[0].text, Relearned::kSame);
  EXPECT_FALSE(curves[0].judged);
  EXPECT_THAT(curves[0].steps, ElementsAre(0, 1, 5));
  EXPECT_NEAR(curves[0].control_now[0], 0.3, 1e-15);  // of 0.2 and 0.4
  EXPECT_NEAR(curves[0].control_before[0], 0.1, 1e-15);
  EXPECT_NEAR(curves[0].control_now[1], 0.1, 1e-15);
  EXPECT_NEAR(curves[0].forgotten_now[0], 0.2, 1e-15);
}

TEST(Curves, RoundingsNameWhatSurvives) {
  const RoundingTable table = Roundings(WholePlan(RoundedBackTruth()));
  EXPECT_EQ(table.attack, "Greedy extraction");
  ASSERT_EQ(table.rows.size(), 5u);
  EXPECT_EQ(table.rows[0].title, "as it is");
  EXPECT_FALSE(table.rows[0].changed.has_value());
  EXPECT_EQ(table.rows[4].title, "4 bits, by 128");
  EXPECT_NEAR(*table.rows[4].changed, 0.0004, 1e-15);
  EXPECT_EQ(table.rows[4].now, table.rows[4].before);
  EXPECT_TRUE(Roundings(v1::Measurements()).rows.empty());
}

TEST(Curves, TheBestMembershipAttackIsTheOneThatTellsNow) {
  const MembershipRow weak{.title = "a", .before = 1, .now = 0.5};
  const MembershipRow strong{.title = "b", .before = 0.9, .now = 0.7};
  const std::vector<MembershipRow> rows = {weak, strong};
  EXPECT_EQ(BestMembership(rows)->title, "b");
  EXPECT_EQ(BestMembership({}), nullptr);
}

// Two of four values at 1, one at 3, one never: steps to a half, then to three quarters.
TEST(Plot, CumulativeStepsLeaveOutWhatNeverComes) {
  EXPECT_THAT(CumulativeSteps({3, 1, 1}, 4, 0, 6),
              ElementsAre(Pair(0, 0), Pair(1, 0), Pair(1, 0.5), Pair(3, 0.5), Pair(3, 0.75),
                          Pair(6, 0.75)));
  EXPECT_THAT(CumulativeSteps({}, 4, 0, 6), ElementsAre(Pair(0, 0), Pair(6, 0)));
}

TEST(Plot, ChanceAxisEndsAtOne) {
  for (const double lowest : {0.0, -2.5, -23.4, -1e6}) {
    const Axis axis = ChanceAxis(lowest);
    EXPECT_EQ(axis.high, 0);
    EXPECT_GE(axis.low, -60);
    EXPECT_LE(axis.low, std::max(lowest, -60.0));
    EXPECT_EQ(axis.ticks.back().label, "1");
    EXPECT_LE(axis.ticks.size(), 8u);
  }
  EXPECT_EQ(ChanceAxis(-1e6).ticks[0].label, "≤1e-60");
}

}  // namespace
}  // namespace lethe::evidence
