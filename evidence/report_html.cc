#include "evidence/report_html.h"

#include "absl/strings/str_cat.h"
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

std::string Page(const v1::VerificationReport& report, const ReportView& view,
                 std::span<const v1::Target> revealed) {
  std::string out = absl::StrCat(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'\"><title>",
      Escape(Title(view)), "</title><style>", evidence::kReportStyle,
      "</style></head><body><main>");
  absl::StrAppend(&out, Header(view), Unsound(view), evidence::VerdictBox(view),
                  evidence::Tiles(view), evidence::FamilyTable(view), evidence::WhyItFailed(view),
                  Tested(report, view), evidence::RevealedText(view, revealed));
  absl::StrAppend(&out, evidence::Pictures(view), evidence::OtherText(view),
                  evidence::TicketTable(view), evidence::AttackCards(view),
                  evidence::ConditionTables(view));
  absl::StrAppend(&out, evidence::LeftOutTable(view), evidence::CostTable(view),
                  evidence::GateTable(view), evidence::MethodTables(view),
                  evidence::Recompute(report, view, !revealed.empty()));
  return out + "</main></body></html>\n";
}

}  // namespace

absl::StatusOr<std::string> ReportToHtml(const v1::VerificationReport& report,
                                         const HtmlOptions& options) {
  LETHE_ASSIGN_OR_RETURN(const ReportView view, evidence::ViewOf(report));
  const size_t sequences = static_cast<size_t>(view.m().forgotten_size());
  if (!options.revealed.empty() && options.revealed.size() != sequences) {
    return Error(absl::StatusCode::kInvalidArgument, "REVEAL_MISMATCH",
                 absl::StrCat("the report is of ", Count(sequences, "sequence", "sequences"),
                              ", and ", options.revealed.size(),
                              " were brought to be shown; bring those that it is of, in their "
                              "order"));
  }
  return Page(report, view, options.revealed);
}

}  // namespace lethe
