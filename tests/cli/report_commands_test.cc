// lethe report show, html, check: from the server and from a file, sound and tampered with.
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "cli/exit_code.h"
#include "evidence/report.h"
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/cli/cli_harness.h"
#include "tests/evidence/fabricated.h"
#include "tests/support/temp_folder.h"

namespace lethe {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr char kTicket[] = "t-00000000000000000000000000000001";

v1::VerificationReport ReportOf(const v1::Measurements& measurements) {
  return *BuildReport(measurements.SerializeAsString(), {}, absl::FromUnixSeconds(1795465815));
}

class Reports : public CliHarness {
 protected:
  Reports() { tickets_.report = ReportOf(Fabricate(IdealTruth())); }
  std::string File(const std::string& name) const { return (folder_ / name).string(); }
  // A file as `show --output json` writes it.
  std::string Kept(const v1::VerificationReport& report, const std::string& name = "kept.json") {
    tickets_.report = report;
    EXPECT_EQ(Lethe({"report", "show", kTicket, "--output", "json"}), 0) << err_;
    std::ofstream(File(name)) << out_;
    return File(name);
  }
  TempFolder folder_;
};

TEST_F(Reports, ShowIsVerdictAndWhatWasTried) {
  EXPECT_EQ(Lethe({"report", "show", kTicket}), 0) << err_;
  EXPECT_THAT(out_, StartsWith("PASS\n"));
  EXPECT_THAT(out_, ContainsRegex(
                        "\nAsked once +2 +Greedy extraction +0\\.9.. → 0\\.... +0\\.... +pass\n"));
  EXPECT_THAT(out_, ContainsRegex("\nOther prompts +not tried\n"));
  EXPECT_THAT(out_, Not(HasSubstr("worst / 95th pct")));
}

TEST_F(Reports, ShowAllIsATableOfEveryAttackBeforeNowAndControl) {
  EXPECT_EQ(Lethe({"report", "show", kTicket, "--all"}), 0) << err_;
  EXPECT_THAT(out_, HasSubstr("PASS"));
  // One line: an attack, its figure, the forgotten and unseen control before and now, the gate.
  EXPECT_THAT(out_, ContainsRegex("forgotten +unseen control\n"));
  for (const char* attack : {"Greedy extraction", "Sampled extraction", "Memorisation accuracy"}) {
    EXPECT_THAT(out_, ContainsRegex(absl::StrCat("\n", attack,
                                                 " +mean +0\\.9.. → 0\\.... +0\\.... → 0\\.... "
                                                 "+≤ 0\\.... +pass\n")));
  }
  EXPECT_THAT(out_, Not(HasSubstr("\x1b")));  // colours only where a terminal is
}

TEST_F(Reports, HtmlStandsAlone) {
  EXPECT_EQ(Lethe({"report", "html", kTicket}), 0) << err_;
  EXPECT_THAT(out_, StartsWith("<!doctype html>"));
  std::string rest = out_;
  const std::string kNamespace = "http://www.w3.org/2000/svg";  // a name that nobody fetches
  for (size_t at; (at = rest.find(kNamespace)) != std::string::npos;) {
    rest.erase(at, kNamespace.size());
  }
  for (const char* outside : {"://", "src=", "href=", "url(", "@import", "<script", "<link"}) {
    EXPECT_THAT(rest, Not(HasSubstr(outside)));
  }
  const std::string page = out_;
  EXPECT_EQ(Lethe({"report", "html", kTicket, "--file", File("a.html")}), 0) << err_;
  EXPECT_EQ(out_, "");
  EXPECT_EQ(*ReadFile(File("a.html")), page);
  EXPECT_EQ(Lethe({"report", "show", kTicket, "--html", File("b.html")}), 0) << err_;
  EXPECT_EQ(*ReadFile(File("b.html")), page);
  EXPECT_EQ(Lethe({"report", "html", kTicket, "--file", File("no/such/folder/c.html")}), 2);
  EXPECT_THAT(err_, HasSubstr("cannot write"));
}

TEST_F(Reports, HtmlEscapesWhatAVerifierSays) {
  v1::Measurements measurements = Fabricate({});
  measurements.set_model_id("<img src=x onerror=alert(1)>");
  measurements.mutable_verify_run()->set_device("\"><script>alert(1)</script>");
  tickets_.report = ReportOf(measurements);
  EXPECT_EQ(Lethe({"report", "html", kTicket}), 0) << err_;
  EXPECT_THAT(out_, Not(HasSubstr("<img")));
  EXPECT_THAT(out_, Not(HasSubstr("<script")));
  EXPECT_THAT(out_, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt;"));
}

TEST_F(Reports, JsonIsReadAgainWithoutAServer) {
  const v1::VerificationReport report = tickets_.report;
  const std::string file = Kept(report);
  EXPECT_EQ(nlohmann::json::parse(out_)["report_id"], report.report_id());
  tickets_.answer = grpc::Status(grpc::StatusCode::UNAVAILABLE, "gone");
  EXPECT_EQ(Lethe({"report", "check", file}), 0) << err_;
  EXPECT_THAT(out_, HasSubstr("PASS, recomputed here"));
  EXPECT_THAT(out_, HasSubstr(report.report_id()));
  EXPECT_THAT(out_, HasSubstr(ReportDigest(report)));
  std::ofstream(File("kept.pb"), std::ios::binary) << report.SerializeAsString();
  EXPECT_EQ(Lethe({"report", "check", File("kept.pb")}), 0) << err_;
}

// What somebody with the file could change; each must show.
TEST_F(Reports, CheckFindsWhatWasTamperedWith) {
  const v1::VerificationReport failed = ReportOf(Fabricate(UntouchedTruth()));
  ASSERT_NE(failed.verdict().outcome(), v1::OUTCOME_PASS);
  const auto expect_unsound = [&](const std::string& what, v1::VerificationReport report) {
    SCOPED_TRACE(what);
    EXPECT_EQ(Lethe({"report", "check", Kept(report)}), kExitUnsound) << err_;
    EXPECT_THAT(out_, HasSubstr("sound:"));
    EXPECT_THAT(out_, HasSubstr("NO"));
    EXPECT_THAT(out_, HasSubstr("NOT_FORGOTTEN, recomputed here"));  // not what the file claims
  };
  v1::VerificationReport forged = failed;
  forged.mutable_verdict()->set_outcome(v1::OUTCOME_PASS);
  expect_unsound("the outcome", forged);

  forged = failed;
  for (v1::Gate& gate : *forged.mutable_verdict()->mutable_gates()) {
    gate.set_result(v1::GATE_RESULT_PASS);
  }
  expect_unsound("the gates", forged);

  forged = failed;
  forged.set_report_id(std::string(64, 'a'));
  expect_unsound("the id", forged);

  forged = failed;
  v1::Measurements other = Fabricate(UntouchedTruth());
  other.set_model_id("another");
  forged.set_measurements(other.SerializeAsString());
  expect_unsound("the measurements", forged);
}

TEST_F(Reports, ARefusalSaysWhatToGive) {
  std::ofstream(File("noise")) << "not a report";
  EXPECT_EQ(Lethe({"report", "check", File("noise")}), kExitRefused);
  EXPECT_THAT(err_, HasSubstr("REPORT_MALFORMED"));
  EXPECT_EQ(Lethe({"report", "check", File("absent")}), 2);
  EXPECT_THAT(err_, HasSubstr("neither a ticket's id (t-…) nor a file"));
}

}  // namespace
}  // namespace lethe
