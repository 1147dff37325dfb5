#include "evidence/report_html.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "evidence/report_html_parts.h"
#include "evidence/report_style.h"
#include "evidence/report_view.h"
#include "evidence/sentences.h"
#include "evidence/svg_plot.h"

namespace lethe {
namespace {

using evidence::Count;
using evidence::Escape;
using evidence::Figure;
using evidence::GateRow;
using evidence::ReportView;

std::string Title(const ReportView& view) {
  return absl::StrCat("Verification report: ", view.m().model_id());
}

std::string Header(const ReportView& view) {
  return absl::StrCat("<header><div><p class=\"kicker\">Lethe · verification of unlearning</p><h1>",
                      Escape(Title(view)), "</h1></div><div class=\"when\">", Escape(view.created),
                      "<br>replaces generation ", view.m().base_generation(), "</div></header>");
}

std::string Unsound(const ReportView& view) {
  if (view.check.sound()) return "";
  std::string out =
      "<div class=\"unsound\"><h3>This report is not sound</h3><p>What it claims does not follow "
      "from "
      "its own figures. The page below shows what does follow.</p><ul>";
  for (const std::string& d : view.check.differences)
    absl::StrAppend(&out, "<li>", Escape(d), "</li>");
  return out + "</ul></div>";
}

// The summary without the word before its colon, which the page shows larger.
std::string Reason(const std::string& summary) {
  const size_t colon = summary.find(": ");
  std::string reason = colon == std::string::npos ? summary : summary.substr(colon + 2);
  if (!reason.empty() && reason[0] >= 'a' && reason[0] <= 'z') reason[0] += 'A' - 'a';
  return reason;
}

std::string VerdictBox(const ReportView& view) {
  const v1::Verdict& verdict = view.check.verdict;
  const char* css = verdict.outcome() == v1::OUTCOME_PASS           ? "pass"
                    : verdict.outcome() == v1::OUTCOME_INCONCLUSIVE ? "warn"
                                                                    : "fail";
  static constexpr std::string_view kWords[] = {
      "Unknown",           "Passed: forgotten", "Failed: not forgotten",
      "Failed: destroyed", "Inconclusive",      "Failed: hidden, not forgotten"};
  return absl::StrCat("<section class=\"verdict ", css, "\"><div class=\"word\">",
                      std::string(kWords[std::min<int>(verdict.outcome(), 5)]),
                      "</div><p class=\"why\">", Escape(Reason(verdict.summary())),
                      "</p><p class=\"means\">",
                      std::string(evidence::OutcomeMeaning(verdict.outcome())), "</p></section>");
}

std::string Tile(const std::string& key, const std::string& value, const std::string& note) {
  return absl::StrCat("<div class=\"tile\"><div class=\"k\">", Escape(key),
                      "</div><div class=\"v\">", Escape(value), "</div><div class=\"n\">",
                      Escape(note), "</div></div>");
}

std::string Lowered(std::string text) {
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] += 'a' - 'A';
  return text;
}

// The figures that say most: what comes out, how familiar, what it cost
// the kind, what it cost the text to keep.
std::string Tiles(const ReportView& view) {
  std::string out = "<div class=\"tiles\">";
  for (const evidence::AttackView& attack : view.attacks) {
    if (attack.attack < 0 || attack.rows.empty() || attack.rows[0].control_after.empty()) continue;
    const GateRow& row = attack.rows[0];
    absl::StrAppend(&out, Tile(absl::StrCat(attack.title, ", forgotten"),
                               absl::StrCat(row.forgotten_before, " → ", row.forgotten_after),
                               absl::StrCat("unseen text of the kind: ", row.control_after)));
    break;
  }
  const auto mean = [](const auto& list) {
    return evidence::Mean(evidence::Values(list.begin(), list.end()));
  };
  const v1::Measurements& m = view.m();
  absl::StrAppend(&out, Tile("Nats a token, forgotten",
                             absl::StrCat(Figure(mean(m.forgotten_nll().before())), " → ",
                                          Figure(mean(m.forgotten_nll().after()))),
                             m.control_tokens_size() == 0
                                 ? "no control"
                                 : absl::StrCat("unseen text of the kind: ",
                                                Figure(mean(m.control_nll().after())))));
  for (const GateRow& row : view.collateral) {
    if (row.figure != "NLL a token" || row.control_before.empty()) continue;
    absl::StrAppend(&out, Tile(absl::StrCat("Nats a token, ", Lowered(row.subject)),
                               absl::StrCat(row.control_before, " → ", row.control_after),
                               absl::StrCat("may move ", row.limit)));
  }
  return out + "</div>";
}

std::string Fact(const std::string& key, const std::string& html) {
  return absl::StrCat("<tr><th>", key, "</th><td>", html, "</td></tr>");
}

std::string Code(const std::string& text) {
  return text.empty() ? "<span class=\"par\">not recorded</span>"
                      : absl::StrCat("<code>", Escape(text), "</code>");
}

std::string Tested(const v1::VerificationReport& report, const ReportView& view) {
  const v1::Measurements& m = view.m();
  int64_t tokens = 0;
  for (const v1::ForgottenSequence& f : m.forgotten()) tokens += f.tokens();
  int64_t control = 0;
  for (int t : m.control_tokens()) control += t;
  return absl::StrCat(
      "<h2>What was tested</h2><table class=\"facts\"><tbody>",
      Fact("Forgotten text",
           absl::StrCat(
               Count(static_cast<size_t>(m.forgotten_size()), "sequence", "sequences"), " of ",
               Count(static_cast<size_t>(view.check.verdict.tickets_size()), "ticket", "tickets"),
               ", ", tokens, " tokens. Its content does not stand in this report.")),
      Fact(
          "Control",
          absl::StrCat(Count(static_cast<size_t>(m.control_tokens_size()), "sequence", "sequences"),
                       " of the same kind that the model never saw, ", control, " tokens")),
      Fact("Model before",
           absl::StrCat(Code(m.base_checkpoint_id()), " · SHA-256 ", Code(m.base_digest()))),
      Fact("Candidate", absl::StrCat(Code(m.candidate_checkpoint_id()), " · SHA-256 ",
                                     Code(m.candidate_digest()))),
      Fact("Verified by", absl::StrCat("job ", Code(m.job_id()), ", fence ", m.fence())),
      Fact("Report id", Code(report.report_id())), "</tbody></table>");
}

std::string Page(const v1::VerificationReport& report, const ReportView& view) {
  std::string out = absl::StrCat(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\"><title>",
      Escape(Title(view)), "</title><style>", evidence::kReportStyle,
      "</style></head><body><main>");
  absl::StrAppend(&out, Header(view), Unsound(view), VerdictBox(view), Tiles(view),
                  Tested(report, view), evidence::AttackCards(view), evidence::OtherText(view),
                  evidence::TicketTable(view));
  absl::StrAppend(&out, evidence::GateTable(view), evidence::MethodTables(view),
                  evidence::Recompute(report, view));
  return out + "</main></body></html>\n";
}

}  // namespace

absl::StatusOr<std::string> ReportToHtml(const v1::VerificationReport& report) {
  LETHE_ASSIGN_OR_RETURN(const ReportView view, evidence::ViewOf(report));
  return Page(report, view);
}

}  // namespace lethe
