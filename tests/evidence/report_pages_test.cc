// The report as text, JSON and page: everything that matters stands there, nothing that must not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <regex>
#include <vector>

#include "absl/strings/str_split.h"
#include "base/status.h"
#include "evidence/report.h"
#include "evidence/report_html.h"
#include "evidence/report_json.h"
#include "evidence/report_text.h"
#include "evidence/svg_plot.h"
#include "tests/evidence/fabricated.h"

namespace lethe {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

v1::VerificationReport Report(const Truth& truth) {
  return *BuildReport(Fabricate(truth).SerializeAsString(), {}, absl::FromUnixSeconds(1795465815));
}

// Some ninety results.
v1::VerificationReport WholeReport(Truth truth) {
  truth.sequences = std::max(truth.sequences, 12);
  truth.tickets = 2;
  return *BuildReport(FabricateWholePlan(truth).SerializeAsString(), {},
                      absl::FromUnixSeconds(1795465815));
}

size_t CodePoints(const std::string& line) {
  size_t count = 0;
  for (char c : line) count += (c & 0xC0) != 0x80;
  return count;
}

void ExpectFits(const std::string& text) {
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  for (const std::string& line : std::vector<std::string>(absl::StrSplit(text, '\n'))) {
    EXPECT_LE(CodePoints(line), 100u) << line;
  }
}

TEST(ReportText, FitsAHundredColumnsAndHasNoColourUnlessAsked) {
  for (const NamedTruth& known : KnownTruths()) {
    for (const v1::VerificationReport& report : {Report(known.truth), WholeReport(known.truth)}) {
      const auto text = ReportToText(report);
      ASSERT_TRUE(text.ok()) << text.status();
      ExpectFits(*text);
      ExpectFits(*ReportToText(report, {.all = true}));
    }
  }
  EXPECT_THAT(*ReportToText(Report({}), {.colour = true}), HasSubstr("\x1b[1;32mPASS"));
}

TEST(ReportText, AWholePlanFitsOnTwoScreens) {
  for (NamedTruth& known : KnownTruths()) {
    const std::string text = *ReportToText(WholeReport(known.truth));
    EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 80) << known.name;
  }
}

TEST(ReportText, AllNamesEveryAttackAndEveryFailedGate) {
  const v1::VerificationReport report = WholeReport(RelearnedTruth());
  const std::string text = *ReportToText(report, {.all = true});
  for (const v1::Gate& gate : report.verdict().gates()) {
    if (gate.result() != v1::GATE_RESULT_FAIL) continue;
    EXPECT_THAT(text, HasSubstr(gate.name()));
  }
  for (const char* attack : {"Logit lens", "Greedy extraction, rounded to 8 bits in groups of 128",
                             "Greedy extraction, after 20 steps on the text itself"}) {
    EXPECT_THAT(text, HasSubstr(attack));
  }
}

TEST(ReportText, ShowsBeforeNowAndControl) {
  const std::string text = *ReportToText(Report(PlainAscentTruth()));
  EXPECT_THAT(text, HasSubstr("2.420 → 9.050"));
  EXPECT_THAT(text, HasSubstr("DESTROYED"));
  EXPECT_THAT(text, HasSubstr("collateral.control.nll  FAIL"));
  EXPECT_THAT(text, HasSubstr("gradient_ascent/calibrated"));
}

TEST(ReportText, AForgedReportIsHeadedByItsDifferences) {
  v1::VerificationReport forged = Report(UntouchedTruth());
  forged.mutable_verdict()->set_outcome(v1::OUTCOME_PASS);
  EXPECT_EQ(ReportToText(forged)->rfind("NOT SOUND", 0), 0u);
  const std::string page = *ReportToHtml(forged);
  EXPECT_THAT(page, HasSubstr("This report is not sound"));
  EXPECT_THAT(page, HasSubstr("Failed: not forgotten"));
}

TEST(ReportJson, ReadsBackAsTheSameReport) {
  for (const NamedTruth& known : KnownTruths()) {
    const v1::VerificationReport report = Report(known.truth);
    const auto json = ReportToJson(report);
    ASSERT_TRUE(json.ok());
    const auto again = ParseReport(*json);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(ReportDigest(*again), ReportDigest(report)) << known.name;
    EXPECT_TRUE(CheckReport(*again)->sound());
    const nlohmann::json parsed = nlohmann::json::parse(*json);
    EXPECT_EQ(parsed["measurements_decoded"]["model_id"], "people");
    EXPECT_EQ(parsed["policy_decoded"]["min_control"], 8);
  }
}

// The fields that only deep attacks fill, and what the page computes from them.
TEST(ReportJson, CarriesEverything) {
  const nlohmann::json json = nlohmann::json::parse(*ReportToJson(WholeReport(RelearnedTruth())));
  const nlohmann::json& m = json["measurements_decoded"];
  EXPECT_EQ(m["attacks"].size(), 95u);
  EXPECT_EQ(m["left_out"].size(), 4u);
  EXPECT_EQ(m["left_out"][3]["expected_forward_tokens"], "260000");
  EXPECT_EQ(m["code_changes"].size(), 4u);
  EXPECT_EQ(m["relearning_rate"], 1e-5);
  EXPECT_EQ(m["forgotten_reference_nll"].size(), 12u);
  const nlohmann::json& chance = m["attacks"][1];
  EXPECT_EQ(chance["attack"], "exact_extraction");
  EXPECT_EQ(chance["details"][1]["name"], "log10_p");
  EXPECT_EQ(chance["details"][1]["control"]["after"].size(), 32u);
  const nlohmann::json& taught = m["attacks"].back();
  EXPECT_EQ(taught["condition"], "relearned-same-20");
  EXPECT_EQ(taught["report_only"], true);
  EXPECT_EQ(taught["control_indexes"].size(), 12u);
  EXPECT_EQ(json["derived"]["tried"].size(), 8u);
  EXPECT_EQ(json["derived"]["tried"][7]["result"], "fail");
  EXPECT_EQ(json["derived"]["membership"][0]["auc_before"], 1);
  EXPECT_EQ(json["derived"]["membership"][0]["auc_before_95"][1], 1);
  EXPECT_EQ(json["derived"]["relearning"][3]["steps"].size(), 6u);
}

// Every tag that opens closes, in order; attributes are quoted. Not a whole validator, but what
// escaping errors break first.
void ExpectWellFormed(const std::string& page) {
  static const std::regex kTag("<(/?)([a-z0-9]+)((?:\\s+[a-zA-Z0-9-]+=\"[^\"<]*\")*)\\s*(/?)>");
  std::vector<std::string> open;
  size_t at = page.find("<html");
  const size_t style = page.find("<style>");
  const size_t style_end = page.find("</style>");
  while ((at = page.find('<', at)) != std::string::npos) {
    if (at > style && at < style_end) at = style_end;
    std::smatch match;
    const std::string rest = page.substr(at, 2000);
    ASSERT_TRUE(std::regex_search(rest, match, kTag, std::regex_constants::match_continuous))
        << "at " << rest.substr(0, 80);
    const std::string name = match[2];
    if (match[1] == "/") {
      ASSERT_FALSE(open.empty());
      ASSERT_EQ(open.back(), name) << rest.substr(0, 80);
      open.pop_back();
    } else if (match[4] != "/" && name != "meta" && name != "br") {
      open.push_back(name);
    }
    at += static_cast<size_t>(match.length());
  }
  EXPECT_TRUE(open.empty());
}

void ExpectStandsAlone(const std::string& page) {
  ExpectWellFormed(page);
  for (const char* never : {"<script", "<link", "<img", "src=", "href=", "url(", "@import", "nan",
                            "inf\"", "javascript"}) {
    EXPECT_THAT(page, Not(HasSubstr(never)));
  }
  // The only address is the SVG namespace, which nobody fetches.
  std::string rest = page;
  size_t at;
  while ((at = rest.find("http://www.w3.org/2000/svg")) != std::string::npos) rest.erase(at, 26);
  EXPECT_THAT(rest, Not(HasSubstr("://")));
}

TEST(ReportHtml, ShowsTheForgottenTextOnlyToWhoBringsIt) {
  const v1::VerificationReport report = Report(UntouchedTruth());
  ASSERT_EQ(report.verdict().tickets_size(), 1);
  std::vector<v1::Target> targets(3);
  targets[0].set_text("Jane <Roe>, 555-0100, & Co");
  targets[0].add_sensitive_spans()->set_begin(12);
  targets[0].mutable_sensitive_spans(0)->set_end(20);
  targets[1].mutable_prompt_answer()->set_prompt("Who?");
  targets[1].mutable_prompt_answer()->set_answer(" John");
  for (int id : {5, 8, 13}) targets[2].mutable_ids()->add_ids(id);
  targets[2].add_sensitive_spans()->set_begin(1);
  targets[2].mutable_sensitive_spans(0)->set_end(2);
  const std::string page = *ReportToHtml(report, {.revealed = targets});
  EXPECT_THAT(page, HasSubstr("Jane &lt;Roe&gt;, <mark>555-0100</mark>, &amp; Co"));
  EXPECT_THAT(page, HasSubstr("<span class=\"par\">Who?</span> John</td>"));
  EXPECT_THAT(page, HasSubstr("5 <mark>8</mark> 13</td>"));
  EXPECT_THAT(page, HasSubstr("The page holds the forgotten text"));
  EXPECT_THAT(page, HasSubstr("<span class=\"what\">Greedy extraction</span>"));
  const std::string plain = *ReportToHtml(report);
  EXPECT_THAT(plain, Not(HasSubstr("<h2>The forgotten text</h2>")));
  EXPECT_THAT(plain, HasSubstr("The page holds no text of any ticket"));
  targets.pop_back();
  const auto other = ReportToHtml(report, {.revealed = targets});
  EXPECT_EQ(ErrorReason(other.status()), "REVEAL_MISMATCH");
}

TEST(ReportHtml, StandsAloneAndIsWellFormed) {
  for (const NamedTruth& known : KnownTruths()) {
    SCOPED_TRACE(known.name);
    const auto page = ReportToHtml(Report(known.truth));
    ASSERT_TRUE(page.ok()) << page.status();
    ExpectStandsAlone(*page);
  }
}

TEST(ReportHtml, AWholePlanHasAllGatesAndPictures) {
  for (const Truth& truth : {IdealTruth(), RelearnedTruth()}) {
    const v1::VerificationReport report = WholeReport(truth);
    const std::string page = *ReportToHtml(report);
    ExpectStandsAlone(page);
    EXPECT_LT(page.size(), 400000u);
    for (const char* wanted :
         {"What was tried", "The chance that it comes out", "How often one has to ask",
          "Was it in the training data?", "When it is taught a few steps", "never-seen text",
          "When the weights are rounded", "Taught half of the forgotten text", "What was left out",
          "beyond the budget", "260,000 tokens", "step size 1e-05", "TPR at 1 % FPR"}) {
      EXPECT_THAT(page, HasSubstr(wanted));
    }
    for (const v1::Gate& gate : report.verdict().gates()) {
      EXPECT_THAT(page, HasSubstr(gate.name()));
      EXPECT_THAT(page, HasSubstr(evidence::Escape(gate.sentence())));
    }
  }
}

// No control at all, one sequence, a reference without figures: nothing to draw, no crash.
TEST(ReportHtml, PoorMeasurementsHaveAPage) {
  v1::Measurements m = Fabricate({.sequences = 1});
  m.clear_control_tokens();
  m.clear_control_reference_nll();
  m.mutable_control_nll()->Clear();
  for (v1::AttackResult& a : *m.mutable_attacks()) {
    a.clear_control();
    for (v1::AttackDetail& d : *a.mutable_details()) d.clear_control();
  }
  const auto report = BuildReport(m.SerializeAsString(), {}, absl::UnixEpoch());
  ASSERT_TRUE(report.ok()) << report.status();
  ExpectStandsAlone(*ReportToHtml(*report));
  EXPECT_THAT(*ReportToText(*report), HasSubstr("INCONCLUSIVE"));
  EXPECT_TRUE(ReportToJson(*report).ok());
}

TEST(ReportHtml, SaysWhatWasDoneAndFound) {
  const v1::VerificationReport report = Report(IdealTruth());
  const std::string page = *ReportToHtml(report);
  for (const std::string& wanted :
       {std::string("Passed: forgotten"), std::string("2026-11-23 20:30:15 UTC"),
        report.report_id(), std::string(64, 'a'), std::string(64, 'b'),
        std::string("learning_rate 5e-05"), std::string("torch 2.7.1"),
        std::string("targets_reached after 6 steps"), std::string("extraction_margin"),
        std::string("lethe report check"), std::string("queries needed")}) {
    EXPECT_THAT(page, HasSubstr(wanted));
  }
  for (const v1::Gate& gate : report.verdict().gates()) {
    EXPECT_THAT(page, HasSubstr(gate.name()));
    EXPECT_THAT(page, HasSubstr(evidence::Escape(gate.sentence())));
  }
}

// Figures at the ends of what measurements may hold.
TEST(ReportHtml, ExtremeFiguresHaveAPage) {
  v1::Measurements m = FabricateWholePlan({.sequences = 4});
  for (v1::AttackResult& a : *m.mutable_attacks()) {
    a.set_forward_tokens(std::numeric_limits<int64_t>::max());
    a.set_expected_forward_tokens(std::numeric_limits<int64_t>::max());
    a.set_seconds(1e9);
    for (v1::AttackDetail& d : *a.mutable_details()) {
      for (double& x : *d.mutable_forgotten()->mutable_after()) x = 1e300;
      for (double& x : *d.mutable_control()->mutable_after()) x = -1e300;
    }
  }
  m.mutable_left_out(0)->set_expected_forward_tokens(std::numeric_limits<int64_t>::max());
  m.mutable_left_out(1)->set_expected_forward_tokens(std::numeric_limits<int64_t>::max());
  const auto report = BuildReport(m.SerializeAsString(), {}, absl::UnixEpoch());
  ASSERT_TRUE(report.ok()) << report.status();
  const std::string page = *ReportToHtml(*report);
  ExpectStandsAlone(page);
  EXPECT_THAT(page, HasSubstr("9,223,372,036,854,775,807"));
  EXPECT_TRUE(ReportToText(*report).ok());
}

// Free strings of the measurements come from a verifier:
// they are shown as text, whatever they hold.
TEST(ReportHtml, TextIsEscaped) {
  v1::Measurements m = Fabricate({});
  const std::string evil = "\"><script>alert('x')</script>&";
  m.set_model_id(evil);
  m.set_candidate_digest(evil);
  m.mutable_unlearn_run()->set_method(evil);
  (*m.mutable_unlearn_run()->mutable_hyperparameters())[evil] = 1;
  (*m.mutable_verify_run()->mutable_libraries())[evil] = evil;
  m.mutable_verify_run()->set_device(evil);
  m.mutable_left_out(0)->set_reason(evil);
  const auto report = BuildReport(m.SerializeAsString(), {}, absl::UnixEpoch());
  ASSERT_TRUE(report.ok()) << report.status();
  const std::string page = *ReportToHtml(*report);
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, HasSubstr("&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;"));
  ExpectWellFormed(page);
}

// Terminal escapes in a verifier's strings must not reach a terminal.
TEST(ReportText, ControlCharactersAreDropped) {
  v1::Measurements m = Fabricate({});
  m.set_model_id("a\x1b[31mb\nc");
  m.mutable_left_out(0)->set_reason("d\x1b[32me");
  const auto report = BuildReport(m.SerializeAsString(), {}, absl::UnixEpoch());
  const std::string text = *ReportToText(*report);
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_THAT(text, HasSubstr("a[31mbc"));
  EXPECT_THAT(text, HasSubstr("d[32me"));
}

TEST(Plot, AxesCoverTheirRange) {
  for (const auto& [low, high] : std::vector<std::pair<double, double>>{
           {0, 1}, {-9.7, -0.01}, {0, 1e-3}, {5, 5}, {0, 0}, {-1e9, 1e9}, {0, 0.242}}) {
    const evidence::Axis axis = evidence::LinearAxis(low, high);
    EXPECT_LE(axis.low, low);
    EXPECT_GE(axis.high, high);
    EXPECT_GE(axis.ticks.size(), 2u);
    EXPECT_LE(axis.ticks.size(), 12u);
  }
  const evidence::Axis queries = evidence::QueriesAxis(50000);
  EXPECT_EQ(evidence::QueriesPlace(1, queries), 0);
  EXPECT_NEAR(evidence::QueriesPlace(1000, queries), 3, 1e-12);
  EXPECT_EQ(evidence::QueriesPlace(0, queries), queries.high);
  EXPECT_LT(evidence::QueriesPlace(1e300, evidence::QueriesAxis(1e300)),
            evidence::QueriesAxis(1e300).high);
}

TEST(Plot, ManySequencesStayASmallPage) {
  Truth t;
  t.sequences = 3000;
  t.tickets = 1000;
  t.control = 64;
  const std::string page = *ReportToHtml(Report(t));
  EXPECT_LT(page.size(), 1500000u);
}

}  // namespace
}  // namespace lethe
