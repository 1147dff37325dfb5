#include "evidence/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/digest.h"
#include "base/status.h"
#include "evidence/verdict.h"
#include "tests/evidence/fabricated.h"

namespace lethe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const absl::Time kNow = absl::FromUnixMillis(1795465815250);

v1::VerificationReport Report(const Truth& truth) {
  auto report = BuildReport(Fabricate(truth).SerializeAsString(), {}, kNow);
  EXPECT_TRUE(report.ok()) << report.status();
  return *report;
}

TEST(Report, HoldsTheBytesAndNamesThem) {
  const std::string bytes = Fabricate(IdealTruth()).SerializeAsString();
  const auto report = BuildReport(bytes, {}, kNow);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->measurements(), bytes);
  EXPECT_EQ(report->report_id(), Sha256Hex(bytes));
  EXPECT_EQ(report->version(), 1);
  EXPECT_EQ(report->create_time().seconds(), 1795465815);
  EXPECT_EQ(report->create_time().nanos(), 250000000);
  v1::VerdictPolicy policy;
  ASSERT_TRUE(policy.ParseFromString(report->policy()));
  EXPECT_EQ(policy.extraction_margin(), 0.1) << "defaults are written out";
}

TEST(Report, ASoundOneIsSound) {
  for (const NamedTruth& known : KnownTruths()) {
    const auto check = CheckReport(Report(known.truth));
    ASSERT_TRUE(check.ok()) << check.status();
    EXPECT_THAT(check->differences, ElementsAre()) << known.name;
    EXPECT_EQ(check->verdict.outcome(), known.outcome);
  }
}

TEST(Report, EveryForgeryIsNamed) {
  const v1::VerificationReport honest = Report(UntouchedTruth());
  const auto differences = [](const v1::VerificationReport& r) {
    auto check = CheckReport(r);
    EXPECT_TRUE(check.ok());
    std::string all;
    for (const std::string& d : check->differences) all += d + "\n";
    return all;
  };
  v1::VerificationReport forged = honest;
  forged.mutable_verdict()->set_outcome(v1::OUTCOME_PASS);
  EXPECT_THAT(differences(forged), HasSubstr("claims OUTCOME_PASS, OUTCOME_NOT_FORGOTTEN follows"));
  forged = honest;
  forged.mutable_verdict()->set_summary("all is well");
  EXPECT_THAT(differences(forged), HasSubstr("summary"));
  forged = honest;
  forged.mutable_verdict()->mutable_gates(4)->set_result(v1::GATE_RESULT_PASS);
  EXPECT_THAT(differences(forged), HasSubstr("GATE_RESULT_FAIL follows"));
  forged = honest;
  forged.mutable_verdict()->mutable_gates(4)->set_limit(0.9);
  EXPECT_THAT(differences(forged), HasSubstr("against 0.9"));
  forged = honest;
  forged.mutable_verdict()->mutable_gates()->RemoveLast();
  EXPECT_THAT(differences(forged), HasSubstr("gates"));
  forged = honest;
  forged.mutable_verdict()->mutable_tickets(0)->set_outcome(v1::OUTCOME_PASS);
  EXPECT_THAT(differences(forged), HasSubstr("ticket"));
  forged = honest;
  forged.set_report_id("00");
  EXPECT_THAT(differences(forged), HasSubstr("SHA-256"));
}

// Better figures under the old verdict: the figures no longer give the id, nor the verdict.
TEST(Report, OtherMeasurementsAreNoticed) {
  v1::VerificationReport forged = Report(UntouchedTruth());
  forged.set_measurements(Fabricate(IdealTruth()).SerializeAsString());
  const auto check = CheckReport(forged);
  ASSERT_TRUE(check.ok());
  EXPECT_FALSE(check->sound());
  EXPECT_EQ(check->verdict.outcome(), v1::OUTCOME_PASS);
}

TEST(Report, OtherPolicyIsNoticed) {
  v1::VerificationReport forged = Report(RetainDamagedTruth());
  v1::VerdictPolicy lax;
  lax.set_retain_rise(9);
  forged.set_policy(lax.SerializeAsString());
  const auto check = CheckReport(forged);
  ASSERT_TRUE(check.ok());
  EXPECT_FALSE(check->sound());
}

TEST(Report, WhatCannotBeDecodedIsRefused) {
  EXPECT_EQ(ErrorReason(BuildReport("\xff\xff nonsense", {}, kNow).status()), "REPORT_MALFORMED");
  EXPECT_EQ(ErrorReason(BuildReport("", {}, kNow).status()), "REPORT_MALFORMED");
  v1::VerificationReport report = Report(IdealTruth());
  report.set_version(2);
  EXPECT_EQ(ErrorReason(CheckReport(report).status()), "REPORT_VERSION_UNKNOWN");
  EXPECT_EQ(ErrorReason(CheckReport(v1::VerificationReport()).status()), "REPORT_MALFORMED");
  EXPECT_EQ(ErrorReason(ParseReport("").status()), "REPORT_MALFORMED");
  EXPECT_EQ(ErrorReason(ParseReport("{\"a\": ").status()), "REPORT_MALFORMED");
  EXPECT_EQ(ErrorReason(ParseReport("not a report").status()), "REPORT_MALFORMED");
}

TEST(Report, ParsesItsOwnBytes) {
  const v1::VerificationReport report = Report(IdealTruth());
  const auto again = ParseReport(report.SerializeAsString());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(ReportDigest(*again), ReportDigest(report));
}

}  // namespace
}  // namespace lethe
