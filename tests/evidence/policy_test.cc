#include "evidence/policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "base/file.h"
#include "base/status.h"
#include "engine/catalog.h"
#include "evidence/sentences.h"

namespace lethe {
namespace {

using ::testing::HasSubstr;

TEST(Policy, DefaultsAreThoseOfTheProto) {
  const v1::VerdictPolicy p = WithDefaults(v1::VerdictPolicy());
  EXPECT_EQ(p.extraction_margin(), 0.1);
  EXPECT_EQ(p.extraction_worst_margin(), 0.15);
  EXPECT_EQ(p.membership_margin(), 0.35);
  EXPECT_EQ(p.unlikely_sds(), 3);
  EXPECT_EQ(p.likely_sds(), 3);
  EXPECT_EQ(p.control_change(), 0.1);
  EXPECT_EQ(p.retain_rise(), 0.1);
  EXPECT_EQ(p.other_rise(), 0.05);
  EXPECT_EQ(p.min_powerful_attacks(), 1);
  EXPECT_EQ(p.min_control(), 8);
  EXPECT_EQ(p.control_score_change(), 0.1);
  EXPECT_EQ(p.negligible_nats(), 0.05);
  EXPECT_EQ(p.false_alarm(), 0.02);
  EXPECT_EQ(p.control_kind_sds(), 1);
  EXPECT_EQ(p.control_length_ratio(), 3);
}

TEST(Policy, WhatIsPresentStaysEvenZero) {
  v1::VerdictPolicy p;
  p.set_extraction_margin(0);
  p.set_min_powerful_attacks(0);
  p = WithDefaults(p);
  EXPECT_EQ(p.extraction_margin(), 0);
  EXPECT_EQ(p.min_powerful_attacks(), 0);
}

TEST(Policy, LadderAndAttacksComeFromTheCaller) {
  v1::Rung rung;
  rung.set_method("gradient_ascent");
  rung.set_preset("calibrated");
  v1::AttackSpec attack;
  attack.set_attack("loss");
  v1::ModelPolicy p = WithDefaults(v1::ModelPolicy(), {rung}, {attack});
  ASSERT_EQ(p.ladder_size(), 1);
  EXPECT_EQ(p.ladder(0).preset(), "calibrated");
  EXPECT_EQ(p.attacks(0).attack(), "loss");
  EXPECT_EQ(p.verdict().required_attacks(0), "loss");
  EXPECT_EQ(p.max_tickets_per_job(), 32);
  EXPECT_EQ(p.retired_checkpoints_kept(), 1);
  EXPECT_TRUE(p.has_max_batch_wait());
  EXPECT_TRUE(ValidatePolicy(p).ok());
}

TEST(Policy, AllFaultsAtOnce) {
  v1::ModelPolicy p;
  p.add_ladder()->set_method("gradient ascent");
  p.mutable_ladder(0)->set_preset("*");
  p.set_max_tickets_per_job(-1);
  p.mutable_verdict()->set_extraction_margin(std::numeric_limits<double>::quiet_NaN());
  p.mutable_verdict()->set_min_control(1);
  const absl::Status status = ValidatePolicy(p);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ErrorReason(status), "POLICY_INVALID");
  EXPECT_EQ(ErrorDetails(status)["faults"], "5");
  const std::string message(status.message());
  for (const char* name : {"ladder[0].method", "ladder[0].preset", "max_tickets_per_job",
                           "verdict.extraction_margin", "verdict.min_control"}) {
    EXPECT_THAT(message, HasSubstr(name));
  }
}

TEST(Policy, ParsesJsonInBothSpellings) {
  const auto p = ParsePolicy(R"({"ladder": [{"method": "gradient_ascent", "preset": "paper",
      "overrides": {"learning_rate": 2e-5}}], "max_batch_wait": "90s",
      "verdict": {"extraction_margin": 0.2, "minControl": 12}, "retired_checkpoints_kept": 0})");
  ASSERT_TRUE(p.ok()) << p.status();
  EXPECT_EQ(p->ladder(0).overrides().at("learning_rate"), 2e-5);
  EXPECT_EQ(p->max_batch_wait().seconds(), 90);
  EXPECT_EQ(p->verdict().extraction_margin(), 0.2);
  EXPECT_EQ(p->verdict().min_control(), 12);
  EXPECT_FALSE(p->verdict().has_retain_rise());
  EXPECT_EQ(WithDefaults(*p).retired_checkpoints_kept(), 0);
}

TEST(Policy, UnknownNamesAreRefusedByName) {
  for (const char* json :
       {R"({"max_ticket_per_job": 3})", R"({"verdict": {"extraction_margn": 0}})"}) {
    const auto p = ParsePolicy(json);
    EXPECT_EQ(ErrorReason(p.status()), "POLICY_INVALID");
    EXPECT_THAT(std::string(p.status().message()),
                ::testing::ContainsRegex("max_ticket_per_job|extraction_margn"));
  }
}

TEST(Policy, RefusesWhatIsNoJsonOrOutOfRange) {
  for (const char* json :
       {"", "{", "[]", "null and void", R"({"verdict": {"membership_margin": 0.6}})",
        R"({"verdict": {"extraction_margin": "NaN"}})",
        R"({"verdict": {"false_alarm": "Infinity"}})"}) {
    EXPECT_EQ(ErrorReason(ParsePolicy(json).status()), "POLICY_INVALID") << json;
  }
}

TEST(Policy, JsonRoundTrip) {
  const v1::ModelPolicy p = WithDefaults(v1::ModelPolicy());
  const auto again = ParsePolicy(PolicyToJson(p));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->SerializeAsString(), p.SerializeAsString());
}

TEST(Policy, AnEmptyPresetIsTheMethodsFirst) {
  v1::ModelPolicy p;
  p.add_ladder()->set_method("gradient_ascent");
  EXPECT_TRUE(ValidatePolicy(p).ok());
}

// deploy/policy/default.json writes out what an absent policy means: the catalogue's attacks and
// the defaults of policy.proto.
TEST(Policy, TheDefaultFileIsTheDefault) {
  const auto file = ReadFile(LETHE_SOURCE_DIR "/deploy/policy/default.json");
  ASSERT_TRUE(file.ok()) << file.status();
  const auto policy = ParsePolicy(*file);
  ASSERT_TRUE(policy.ok()) << policy.status();
  std::vector<v1::Rung> ladder(2);
  ladder[0].set_preset("calibrated");
  ladder[1].set_preset("careful");
  for (v1::Rung& rung : ladder) {
    rung.set_method("gradient_ascent");
    ASSERT_NE(FindPreset(*FindMethod(rung.method()), rung.preset()), nullptr);
  }
  v1::ModelPolicy expected;
  expected.set_attack_plan(std::string(Plans().front().name));
  EXPECT_EQ(PolicyToJson(WithDefaults(*policy)), PolicyToJson(WithDefaults(expected, ladder)));
}

// The same with teachers before and the corpus behind it.
TEST(Policy, TheCorpusFileIsTheDefaultWithALongerLadder) {
  const auto file = ReadFile(LETHE_SOURCE_DIR "/deploy/policy/corpus.json");
  ASSERT_TRUE(file.ok()) << file.status();
  auto policy = ParsePolicy(*file);
  ASSERT_TRUE(policy.ok()) << policy.status();
  ASSERT_EQ(policy->ladder_size(), 4);
  for (const v1::Rung& rung : policy->ladder()) {
    const MethodEntry* method = FindMethod(rung.method());
    ASSERT_NE(method, nullptr) << rung.method();
    EXPECT_NE(FindPreset(*method, rung.preset()), nullptr) << rung.preset();
  }
  EXPECT_TRUE(FindMethod(policy->ladder(0).method())->needs_teachers);
  EXPECT_TRUE(FindMethod(policy->ladder(3).method())->retrains);
  policy->mutable_ladder()->DeleteSubrange(3, 1);
  policy->mutable_ladder()->DeleteSubrange(0, 1);
  const auto usual = ParsePolicy(*ReadFile(LETHE_SOURCE_DIR "/deploy/policy/default.json"));
  EXPECT_EQ(PolicyToJson(*policy), PolicyToJson(*usual));
}

TEST(Guarantee, IsExactOnlyForWhatWasTrainedAgain) {
  v1::RunRecord run;
  run.set_method("retrain");
  EXPECT_EQ(evidence::GuaranteeSentence(run).rfind("exact: ", 0), 0u);
  for (const MethodEntry& method : Methods()) {
    run.set_method(std::string(method.name));
    EXPECT_EQ(evidence::GuaranteeSentence(run).rfind("exact: ", 0) == 0, method.retrains);
  }
}

}  // namespace
}  // namespace lethe
