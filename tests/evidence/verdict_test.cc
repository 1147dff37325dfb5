// The verdict on models whose truth is known, and gates computed by hand.
#include "evidence/verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "tests/evidence/fabricated.h"

namespace lethe {
namespace {

using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;

v1::Verdict Judge(const v1::Measurements& m, const v1::VerdictPolicy& policy = {}) {
  auto verdict = ComputeVerdict(m, policy);
  EXPECT_TRUE(verdict.ok()) << verdict.status();
  return verdict.ok() ? *verdict : v1::Verdict();
}

const v1::Gate& GateNamed(const v1::Verdict& verdict, const std::string& name) {
  for (const v1::Gate& gate : verdict.gates()) {
    if (gate.name() == name) return gate;
  }
  ADD_FAILURE() << "no gate " << name;
  static const v1::Gate none;
  return none;
}

std::set<std::string> Failed(const v1::Verdict& verdict) {
  std::set<std::string> names;
  for (const v1::Gate& gate : verdict.gates()) {
    if (gate.result() == v1::GATE_RESULT_FAIL) names.insert(gate.name());
  }
  return names;
}

std::string Explain(const v1::Verdict& verdict) {
  std::string text = verdict.summary();
  for (const std::string& name : Failed(verdict)) absl::StrAppend(&text, "\n  failed: ", name);
  return text;
}

TEST(KnownTruths, EachGetsItsOutcome) {
  for (const NamedTruth& known : KnownTruths()) {
    SCOPED_TRACE(known.name);
    const v1::Verdict verdict = Judge(Fabricate(known.truth));
    EXPECT_EQ(v1::Outcome_Name(verdict.outcome()), v1::Outcome_Name(known.outcome))
        << Explain(verdict);
  }
}

// With one sequence and one ticket, too: there the AUC can say
// nothing, likelihood and extraction must.
TEST(KnownTruths, EachGetsItsOutcomeWithOneSequence) {
  for (NamedTruth known : KnownTruths()) {
    SCOPED_TRACE(known.name);
    known.truth.sequences = 1;
    const v1::Verdict verdict = Judge(Fabricate(known.truth));
    EXPECT_EQ(v1::Outcome_Name(verdict.outcome()), v1::Outcome_Name(known.outcome))
        << Explain(verdict);
  }
}

TEST(KnownTruths, EachGetsItsOutcomeWithManyTickets) {
  for (NamedTruth known : KnownTruths()) {
    SCOPED_TRACE(known.name);
    known.truth.sequences = 32;
    known.truth.tickets = 16;
    const v1::Verdict verdict = Judge(Fabricate(known.truth));
    EXPECT_EQ(v1::Outcome_Name(verdict.outcome()), v1::Outcome_Name(known.outcome))
        << Explain(verdict);
    EXPECT_EQ(verdict.tickets_size(), 16);
  }
}

TEST(KnownTruths, UntouchedFailsByEveryKindOfAttack) {
  const v1::Verdict verdict = Judge(Fabricate(UntouchedTruth()));
  EXPECT_THAT(
      Failed(verdict),
      IsSupersetOf({"extraction.greedy_extraction.mean", "extraction.greedy_extraction.worst",
                    "memorisation.memorisation_accuracy.mean", "membership.loss.above",
                    "likelihood.forgotten.likely"}));
  EXPECT_EQ(verdict.tickets(0).outcome(), v1::OUTCOME_NOT_FORGOTTEN);
}

// Plain ascent: extraction is gone, the wide text set sees nothing, and yet unseen text of the kind
// went from 2.42 to 9.05 nats.
TEST(KnownTruths, PlainAscentIsCaughtByItsKindAlone) {
  const v1::Verdict verdict = Judge(Fabricate(PlainAscentTruth()));
  EXPECT_THAT(Failed(verdict),
              ::testing::UnorderedElementsAre("collateral.control.nll",
                                              "collateral.control.memorisation_accuracy"))
      << Explain(verdict);
  const v1::Gate& gate = GateNamed(verdict, "collateral.control.nll");
  EXPECT_NEAR(gate.value(), 9.05 - 2.42, 1e-9);
  EXPECT_NEAR(gate.limit(), 0.242, 1e-9);
  EXPECT_NEAR(GateNamed(verdict, "collateral.control.memorisation_accuracy").value(), 0.103, 1e-9);
  EXPECT_EQ(GateNamed(verdict, "collateral.text.wikitext").result(), v1::GATE_RESULT_PASS);
}

TEST(KnownTruths, OverUnlearningAloneIsCaught) {
  const v1::Verdict verdict = Judge(Fabricate(OverUnlearnedTruth()));
  EXPECT_THAT(Failed(verdict), IsSupersetOf({"likelihood.forgotten.unlikely",
                                             "membership.loss.below", "membership.min_k.below"}));
  EXPECT_EQ(verdict.tickets(0).outcome(), v1::OUTCOME_DESTROYED);
}

TEST(KnownTruths, DamageLeavesTheTicketsOwnOutcomeAlone) {
  const v1::Verdict verdict = Judge(Fabricate(RetainDamagedTruth()));
  EXPECT_THAT(Failed(verdict), ::testing::ElementsAre("collateral.text.retain"));
  EXPECT_EQ(verdict.tickets(0).outcome(), v1::OUTCOME_PASS);
}

TEST(KnownTruths, NothingToForgetSaysSo) {
  const v1::Verdict verdict = Judge(Fabricate(NeverMemorisedTruth()));
  EXPECT_EQ(GateNamed(verdict, "measured.power").result(), v1::GATE_RESULT_NO_POWER);
  EXPECT_EQ(GateNamed(verdict, "extraction.greedy_extraction.mean").result(),
            v1::GATE_RESULT_NO_POWER);
  EXPECT_THAT(verdict.summary(), HasSubstr("nothing to forget"));
}

// Short text comes out whole more easily, so control of another length decides nothing: neither a
// model that would pass nor one that would not.
TEST(KnownTruths, ControlOfAnotherLengthIsInconclusive) {
  for (const Truth& truth : {IdealTruth(), UntouchedTruth()}) {
    for (const int tokens : {1, 2000}) {
      v1::Measurements m = Fabricate(truth);
      double mean = 0;
      for (v1::ForgottenSequence& s : *m.mutable_forgotten()) {
        s.set_sensitive_tokens(0);
        mean += static_cast<double>(s.tokens()) / m.forgotten_size();
      }
      for (int& control : *m.mutable_control_tokens()) control = tokens;
      // Who does not say what control was chosen from is not judged by it.
      EXPECT_EQ(Judge(m).outcome(), Judge(Fabricate(truth)).outcome());
      m.set_holdout_sequences(m.control_tokens_size());
      const v1::Verdict verdict = Judge(m);
      EXPECT_EQ(verdict.outcome(), v1::OUTCOME_INCONCLUSIVE) << Explain(verdict);
      EXPECT_EQ(Failed(verdict), (std::set<std::string>{"measured.control_length"}));
      EXPECT_NEAR(GateNamed(verdict, "measured.control_length").value(),
                  std::max(mean, 1.0 * tokens) / std::min(mean, 1.0 * tokens), 1e-9);
      EXPECT_THAT(verdict.summary(), HasSubstr("differ in length by a factor of"));
      v1::VerdictPolicy wide;
      wide.set_control_length_ratio(1000);
      EXPECT_EQ(Judge(m, wide).outcome(), Judge(Fabricate(truth)).outcome());
    }
  }
}

TEST(KnownTruths, TheReportSaysWhatControlWasChosenFrom) {
  v1::Measurements m = Fabricate(CalibratedTruth());
  EXPECT_THAT(GateNamed(Judge(m), "measured.control").sentence(), Not(HasSubstr("held out")));
  m.set_holdout_sequences(m.control_tokens_size() + 300);
  EXPECT_THAT(GateNamed(Judge(m), "measured.control").sentence(),
              HasSubstr(absl::StrCat("those of ", m.control_tokens_size() + 300, " held out")));
  m.set_holdout_sequences(m.control_tokens_size() - 1);
  EXPECT_EQ(ErrorReason(ComputeVerdict(m, {}).status()), "REPORT_MALFORMED");
}

TEST(KnownTruths, WithoutPowerTicketsAreUndecided) {
  for (const Truth& truth : {NoPowerTruth(), SmallControlTruth()}) {
    EXPECT_EQ(Judge(Fabricate(truth)).tickets(0).outcome(), v1::OUTCOME_INCONCLUSIVE);
  }
}

// The first measurement of calibrated ascent cost the control .68 of 2.42 nats, 28 %:
// a policy that allows 30 % lets it pass.
TEST(Policy, MarginsDecide) {
  v1::VerdictPolicy policy;
  policy.set_control_change(0.3);
  const v1::Verdict verdict = Judge(Fabricate(CalibratedTruth()), policy);
  EXPECT_EQ(verdict.outcome(), v1::OUTCOME_PASS) << Explain(verdict);
}

// Four control scores 0, .1, .2, .3 (mean .15, sd .129099) and two forgotten.
v1::Measurements ByHand() {
  Truth t;
  t.sequences = 2;
  t.control = 4;
  v1::Measurements m = Fabricate(t);
  while (m.attacks_size() > 1) m.mutable_attacks()->RemoveLast();
  v1::AttackResult* a = m.mutable_attacks(0);
  const auto set = [](v1::BeforeAfter* out, std::vector<double> before, std::vector<double> after) {
    out->mutable_before()->Assign(before.begin(), before.end());
    out->mutable_after()->Assign(after.begin(), after.end());
  };
  set(a->mutable_control(), {0, .1, .2, .3}, {0, .1, .2, .3});
  set(a->mutable_forgotten(), {1, .9}, {.5, .1});
  set(m.mutable_control_nll(), {2, 2.2, 2.4, 2.6}, {2, 2.2, 2.4, 2.6});
  set(m.mutable_forgotten_nll(), {.1, .2}, {2.1, 2.9});
  return m;
}

v1::VerdictPolicy SmallPolicy() {
  v1::VerdictPolicy policy;
  policy.set_min_control(4);
  policy.set_false_alarm(1);  // margins alone
  return policy;
}

// One attack and the likelihoods: 4 comparisons share .4, each may fail by noise once in ten. t
// with 3 degrees of freedom is exceeded once in ten at 1.637744 (tables), so mean .3 is held
// against .15 + 1.637744 x .129099 x sqrt(1/2 + 1/4) = .333103.
TEST(ByHand, MeanGateAllowsForChance) {
  v1::VerdictPolicy policy = SmallPolicy();
  policy.set_false_alarm(0.4);
  v1::Measurements m = ByHand();
  m.mutable_attacks(0)->mutable_forgotten()->set_after(0, .4);
  m.mutable_attacks(0)->mutable_forgotten()->set_after(1, .2);
  const v1::Gate gate = GateNamed(Judge(m, policy), "extraction.greedy_extraction.mean");
  EXPECT_NEAR(gate.value(), 0.3, 1e-12);
  EXPECT_NEAR(gate.limit(), 0.15 + 1.637744 * 0.1290994449 * 0.8660254038, 1e-6);
  EXPECT_EQ(gate.result(), v1::GATE_RESULT_PASS);
  EXPECT_FALSE(gate.at_least());
  EXPECT_THAT(gate.sentence(), HasSubstr("chance alone"));
}

// The same with .5 and .1: the worst gate (.5 against .435) fails, so two comparisons about too
// little forgetting share what three had, .3: at .15 t is 1.249778 (tables), and .289727 is less
// than .3. The mean fails too, as it would not have alone; the last one left has .3, where chance
// reaches less than the margin.
TEST(ByHand, WhatFailedLeavesItsShareToTheOthers) {
  v1::VerdictPolicy policy = SmallPolicy();
  policy.set_false_alarm(0.4);
  const v1::Verdict verdict = Judge(ByHand(), policy);
  EXPECT_EQ(GateNamed(verdict, "extraction.greedy_extraction.worst").result(),
            v1::GATE_RESULT_FAIL);
  const v1::Gate mean = GateNamed(verdict, "extraction.greedy_extraction.mean");
  EXPECT_EQ(mean.result(), v1::GATE_RESULT_FAIL);
  EXPECT_NEAR(mean.limit(), 0.25, 1e-12);
}

// At once in a hundred, 4.540703, chance would reach .6577:
// further than half way from .285 to 1, .6425.
TEST(ByHand, ChanceReachesNoFurtherThanHalfWay) {
  v1::VerdictPolicy policy = SmallPolicy();
  policy.set_false_alarm(0.04);
  EXPECT_NEAR(GateNamed(Judge(ByHand(), policy), "extraction.greedy_extraction.mean").limit(),
              0.6425, 1e-12);
}

TEST(ByHand, MeanGateWithoutChanceIsTheMargin) {
  const v1::Gate gate =
      GateNamed(Judge(ByHand(), SmallPolicy()), "extraction.greedy_extraction.mean");
  EXPECT_NEAR(gate.limit(), 0.25, 1e-12);
  EXPECT_EQ(gate.result(), v1::GATE_RESULT_FAIL);
}

// 95th percentile at place .95 x 3 = 2.85: .2 + .85 x .1 = .285, and the margin .15.
TEST(ByHand, WorstGate) {
  const v1::Gate gate =
      GateNamed(Judge(ByHand(), SmallPolicy()), "extraction.greedy_extraction.worst");
  EXPECT_NEAR(gate.value(), 0.5, 1e-12);
  EXPECT_NEAR(gate.limit(), 0.435, 1e-12);
  EXPECT_EQ(gate.result(), v1::GATE_RESULT_FAIL);
}

// .04 shared by 4 comparisons and 2 sequences: once in two hundred. The tail thins from .05 to .005
// in ln 10 = 2.302585 deviations of .129099, to .582262: less than half way from .285 to 1, .6425.
TEST(ByHand, WorstGateAllowsForChance) {
  v1::VerdictPolicy policy = SmallPolicy();
  policy.set_false_alarm(0.04);
  const v1::Gate gate = GateNamed(Judge(ByHand(), policy), "extraction.greedy_extraction.worst");
  EXPECT_NEAR(gate.limit(), 0.285 + 2.302585 * 0.1290994449, 1e-6);
  policy.set_false_alarm(0.004);  // ln 100 deviations would be .8795: too far
  EXPECT_NEAR(GateNamed(Judge(ByHand(), policy), "extraction.greedy_extraction.worst").limit(),
              0.6425, 1e-12);
}

// Control NLL: mean 2.3, sd .258199; sqrt(1 + 1/4) = 1.118034; three of them .866025.
TEST(ByHand, LikelihoodGates) {
  const v1::Verdict verdict = Judge(ByHand(), SmallPolicy());
  const v1::Gate& likely = GateNamed(verdict, "likelihood.forgotten.likely");
  EXPECT_NEAR(likely.value(), 2.1, 1e-12);
  EXPECT_NEAR(likely.limit(), 2.3 - 0.8660254038, 1e-9);
  EXPECT_TRUE(likely.at_least());
  EXPECT_EQ(likely.result(), v1::GATE_RESULT_PASS);
  const v1::Gate& unlikely = GateNamed(verdict, "likelihood.forgotten.unlikely");
  EXPECT_NEAR(unlikely.value(), 2.9, 1e-12);
  EXPECT_NEAR(unlikely.limit(), 2.3 + 0.8660254038, 1e-9);
  EXPECT_EQ(unlikely.failure(), v1::OUTCOME_DESTROYED);
}

// Three sequences above all of 32: of 6,545 orders one, so chance does not explain it
// whatever the number of comparisons; 84 of 96 pairs (.875) chance does explain; one sequence
// above all 32 says little (one in 33).
TEST(ByHand, MembershipOfFewSequences) {
  v1::Measurements m = Fabricate(IdealTruth());
  v1::AttackResult* loss = m.mutable_attacks(3);
  for (int i = 0; i < 32; ++i) loss->mutable_control()->set_after(i, i);
  const auto gate = [&](double a, double b, double c) {
    loss->mutable_forgotten()->set_after(0, a);
    loss->mutable_forgotten()->set_after(1, b);
    loss->mutable_forgotten()->set_after(2, c);
    return GateNamed(Judge(m), "membership.loss.above");
  };
  EXPECT_NEAR(gate(9.5, 15.5, 21.5).value(), (10 + 16 + 22) / 96.0, 1e-12);
  EXPECT_EQ(gate(26.5, 27.5, 28.5).result(), v1::GATE_RESULT_PASS);
  EXPECT_EQ(gate(40, 41, 42).result(), v1::GATE_RESULT_FAIL);
  EXPECT_EQ(gate(-1, -2, -3).value(), 0);
  EXPECT_EQ(GateNamed(Judge(m), "membership.loss.below").result(), v1::GATE_RESULT_FAIL);
  Truth one = UntouchedTruth();
  one.sequences = 1;
  EXPECT_EQ(GateNamed(Judge(Fabricate(one)), "membership.loss.above").result(),
            v1::GATE_RESULT_NO_POWER);
}

TEST(Membership, TiesCountHalf) {
  v1::Measurements m = Fabricate(IdealTruth());
  v1::AttackResult* loss = m.mutable_attacks(3);
  for (double& x : *loss->mutable_control()->mutable_after()) x = 1;
  for (double& x : *loss->mutable_forgotten()->mutable_after()) x = 1;
  EXPECT_EQ(GateNamed(Judge(m), "membership.loss.above").value(), 0.5);
}

// A tenth of a tiny likelihood is nothing: 0.20 to 0.24 nats is
// a rise of 20 %, and of 4 % in perplexity.
TEST(Collateral, NegligibleMovesDoNotCount) {
  Truth t;
  t.retain_before = 0.20;
  t.retain_after = 0.24;
  EXPECT_EQ(Judge(Fabricate(t)).outcome(), v1::OUTCOME_PASS);
  t.retain_after = 0.26;
  EXPECT_EQ(Judge(Fabricate(t)).outcome(), v1::OUTCOME_DESTROYED);
}

TEST(Collateral, ControlIsTwoSidedRetainIsNot) {
  Truth t;
  t.retain_after = 1.2;
  EXPECT_EQ(Judge(Fabricate(t)).outcome(), v1::OUTCOME_PASS);
  t.control_nll.after = 2.1;  // control was learned: 13 % down
  const v1::Verdict verdict = Judge(Fabricate(t));
  EXPECT_EQ(GateNamed(verdict, "collateral.control.nll").result(), v1::GATE_RESULT_FAIL);
  EXPECT_EQ(verdict.outcome(), v1::OUTCOME_DESTROYED);
}

TEST(Collateral, RetainNotMeasuredIsNeverAPass) {
  v1::Measurements m = Fabricate(IdealTruth());
  m.mutable_utility()->DeleteSubrange(0, 1);
  EXPECT_EQ(Judge(m).outcome(), v1::OUTCOME_INCONCLUSIVE);
}

TEST(Control, NoneAtAllIsInconclusiveAndDamageIsStillSeen) {
  Truth t;
  t.control = 0;
  EXPECT_EQ(Judge(Fabricate(t)).outcome(), v1::OUTCOME_INCONCLUSIVE);
  t.other_after = 4;
  EXPECT_EQ(Judge(Fabricate(t)).outcome(), v1::OUTCOME_DESTROYED);
}

TEST(Precedence, DamageBeforeMemory) {
  Truth t = UntouchedTruth();
  t.retain_after = 5;
  const v1::Verdict verdict = Judge(Fabricate(t));
  EXPECT_EQ(verdict.outcome(), v1::OUTCOME_DESTROYED);
  EXPECT_THAT(verdict.summary(), HasSubstr("still stands out"));
}

// One ticket of many keeps its text: everyone's mean hides it, its
// own outcome and the worst sequence do not.
TEST(Tickets, OneOfManyIsNamed) {
  Truth t;
  t.sequences = 32;
  t.tickets = 32;
  v1::Measurements m = Fabricate(t);
  m.mutable_attacks(0)->mutable_forgotten()->set_after(9, 1.0);
  const v1::Verdict verdict = Judge(m);
  EXPECT_EQ(verdict.outcome(), v1::OUTCOME_NOT_FORGOTTEN);
  EXPECT_EQ(GateNamed(verdict, "extraction.greedy_extraction.mean").result(), v1::GATE_RESULT_PASS);
  EXPECT_EQ(GateNamed(verdict, "tickets.forgotten").value(), 1);
  for (const v1::TicketOutcome& ticket : verdict.tickets()) {
    const bool kept = ticket.ticket_id() == m.forgotten(9).ticket_id();
    EXPECT_EQ(ticket.outcome(), kept ? v1::OUTCOME_NOT_FORGOTTEN : v1::OUTCOME_PASS);
  }
}

// A ticket's mean too high, no sequence alone above the worst limit: the candidate must not pass,
// since it would complete the ticket.
TEST(Tickets, OneTicketsMeanIsEnough) {
  Truth t;
  t.sequences = 32;
  t.tickets = 2;
  t.forgotten_extracted = {.before = 1, .after = 0.05, .spread = 0.01};
  t.control_extracted = {.before = 0.1, .after = 0.05, .spread = 0.02};
  v1::Measurements m = Fabricate(t);
  m.mutable_forgotten(0)->set_ticket_id("t-lonely");
  m.mutable_forgotten(1)->set_ticket_id("t-lonely");
  m.mutable_forgotten(1)->set_index(1);
  for (int i : {0, 1}) m.mutable_attacks(0)->mutable_forgotten()->set_after(i, 0.2);
  const v1::Verdict verdict = Judge(m);
  EXPECT_THAT(Failed(verdict), ::testing::ElementsAre("tickets.forgotten")) << Explain(verdict);
  EXPECT_EQ(verdict.outcome(), v1::OUTCOME_NOT_FORGOTTEN);
}

TEST(Attacks, TheSameTwiceHaveNamesOfTheirOwn) {
  v1::Measurements m = Fabricate(IdealTruth());
  *m.add_attacks() = m.attacks(0);
  const v1::Verdict verdict = Judge(m);
  GateNamed(verdict, "extraction.greedy_extraction.mean");
  GateNamed(verdict, "extraction.greedy_extraction#2.mean");
}

TEST(Malformed, EachFaultIsRefused) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<std::pair<const char*, std::function<void(v1::Measurements&)>>> faults = {
      {"no attack", [](auto& m) { m.clear_attacks(); }},
      {"no sequence", [](auto& m) { m.clear_forgotten(); }},
      {"a score short",
       [](auto& m) { m.mutable_attacks(0)->mutable_forgotten()->mutable_after()->RemoveLast(); }},
      {"a control score more",
       [](auto& m) { m.mutable_attacks(1)->mutable_control()->add_before(0); }},
      {"NaN score", [&](auto& m) { m.mutable_attacks(0)->mutable_forgotten()->set_after(1, nan); }},
      {"infinite score",
       [&](auto& m) { m.mutable_attacks(3)->mutable_control()->set_after(1, -inf); }},
      {"share above 1",
       [](auto& m) { m.mutable_attacks(0)->mutable_control()->set_after(1, 1.01); }},
      {"negative share",
       [](auto& m) { m.mutable_attacks(2)->mutable_control()->set_after(1, -.01); }},
      {"huge score", [](auto& m) { m.mutable_attacks(3)->mutable_control()->set_after(1, 1e200); }},
      {"NaN likelihood", [&](auto& m) { m.mutable_forgotten_nll()->set_after(0, nan); }},
      {"negative likelihood", [](auto& m) { m.mutable_control_nll()->set_before(0, -1); }},
      {"no likelihoods", [](auto& m) { m.clear_control_nll(); }},
      {"family unset", [](auto& m) { m.mutable_attacks(0)->clear_family(); }},
      {"role unset", [](auto& m) { m.mutable_utility(0)->clear_role(); }},
      {"NaN utility", [&](auto& m) { m.mutable_utility(0)->set_nll_after(nan); }},
      {"nothing measured", [](auto& m) { m.mutable_utility(0)->set_tokens(0); }},
      {"a set twice", [](auto& m) { m.mutable_utility(1)->set_name("retain"); }},
      {"a sequence twice", [](auto& m) { *m.mutable_forgotten(1) = m.forgotten(0); }},
      {"text as a name", [](auto& m) { m.mutable_attacks(0)->set_attack("call 555 0100"); }},
      {"text as a ticket", [](auto& m) { m.mutable_forgotten(0)->set_ticket_id("Ann B."); }},
      {"queries short",
       [](auto& m) {
         m.mutable_attacks(1)->mutable_details(0)->mutable_forgotten()->clear_after();
       }},
      {"NaN parameter", [&](auto& m) { (*m.mutable_attacks(0)->mutable_parameters())["x"] = nan; }},
      {"NaN cost", [&](auto& m) { m.mutable_attacks(0)->set_seconds(nan); }},
  };
  for (const auto& [what, spoil] : faults) {
    v1::Measurements m = Fabricate(IdealTruth());
    ASSERT_TRUE(ComputeVerdict(m, {}).ok());
    spoil(m);
    const auto verdict = ComputeVerdict(m, {});
    EXPECT_EQ(verdict.status().code(), absl::StatusCode::kInvalidArgument) << what;
    EXPECT_EQ(ErrorReason(verdict.status()), "REPORT_MALFORMED") << what;
    EXPECT_EQ(std::string(verdict.status().message()).find("555"), std::string::npos);
  }
}

TEST(Malformed, ARequiredAttackIsMissing) {
  v1::VerdictPolicy policy;
  policy.add_required_attacks("loss");
  EXPECT_TRUE(ComputeVerdict(Fabricate(IdealTruth()), policy).ok());
  policy.add_required_attacks("beam_extraction");
  const auto verdict = ComputeVerdict(Fabricate(IdealTruth()), policy);
  EXPECT_EQ(ErrorReason(verdict.status()), "REPORT_MALFORMED");
  EXPECT_EQ(ErrorDetails(verdict.status())["missing"], "beam_extraction");
}

TEST(Malformed, ABadPolicyIsRefused) {
  v1::VerdictPolicy policy;
  policy.set_min_control(0);
  EXPECT_EQ(ErrorReason(ComputeVerdict(Fabricate(IdealTruth()), policy).status()),
            "POLICY_INVALID");
}

}  // namespace
}  // namespace lethe
