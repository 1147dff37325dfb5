// lethe report show, html, check
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/text_table.h"
#include "evidence/report.h"
#include "evidence/report_html.h"
#include "evidence/report_json.h"
#include "evidence/report_text.h"

namespace lethe {
namespace {

struct ReportOptions {
  std::string what;  // a ticket's id, or a file
  std::string report_id, html_file;
  bool all = false;  // every attack
};

// From the server when `what` is a ticket's id, else from a file.
absl::StatusOr<v1::VerificationReport> Fetch(Cli& cli, const ReportOptions& options) {
  if (options.what.compare(0, 2, "t-") == 0) {
    LETHE_ASSIGN_OR_RETURN(v1::DeletionService::StubInterface * stub, cli.Tickets());
    v1::GetTicketReportRequest request;
    request.set_ticket_id(options.what);
    request.set_report_id(options.report_id);
    return cli.Call(stub, &v1::DeletionService::StubInterface::GetTicketReport, request);
  }
  absl::StatusOr<std::string> content = ReadFile(options.what, 256 << 20);
  if (!content.ok()) {
    return UsageError(
        absl::StrCat(options.what, " is neither a ticket's id (t-…) nor a file that can be read"));
  }
  return ParseReport(*content);
}

absl::Status WriteHtml(const v1::VerificationReport& report, const std::string& file) {
  LETHE_ASSIGN_OR_RETURN(const std::string page, ReportToHtml(report));
  const absl::Status written = WriteFileAtomically(file, page);
  return written.ok() ? written : NotWritten(file, written);
}

absl::StatusOr<int> Show(Cli& cli, const ReportOptions& options) {
  LETHE_ASSIGN_OR_RETURN(const v1::VerificationReport report, Fetch(cli, options));
  if (!options.html_file.empty()) {
    LETHE_RETURN_IF_ERROR(WriteHtml(report, options.html_file));
    cli.err() << "page written to " << options.html_file << "\n";
  }
  if (cli.json()) {
    LETHE_ASSIGN_OR_RETURN(const std::string json, ReportToJson(report));
    cli.out() << json << (json.empty() || json.back() != '\n' ? "\n" : "");
  } else if (options.html_file.empty()) {
    LETHE_ASSIGN_OR_RETURN(const std::string text,
                           ReportToText(report, {.colour = cli.io().colour, .all = options.all}));
    cli.out() << text;
  }
  return kExitOk;
}

absl::StatusOr<int> Html(Cli& cli, const ReportOptions& options) {
  LETHE_ASSIGN_OR_RETURN(const v1::VerificationReport report, Fetch(cli, options));
  if (!options.html_file.empty()) {
    LETHE_RETURN_IF_ERROR(WriteHtml(report, options.html_file));
    return kExitOk;
  }
  LETHE_ASSIGN_OR_RETURN(const std::string page, ReportToHtml(report));
  cli.out() << page;
  return kExitOk;
}

absl::StatusOr<int> Check(Cli& cli, const ReportOptions& options) {
  LETHE_ASSIGN_OR_RETURN(const v1::VerificationReport report, Fetch(cli, options));
  LETHE_ASSIGN_OR_RETURN(const ReportCheck check, CheckReport(report));
  const std::string outcome = ShortName(v1::Outcome_Name(check.verdict.outcome()), "OUTCOME_");
  PrintFields(
      cli.out(),
      {{"report", report.report_id()},
       {"verdict", absl::StrCat(outcome, ", recomputed here from the figures and the policy")},
       {"digest", ReportDigest(report)},
       {"sound", check.sound() ? "the report says what follows from its figures" : "NO"}});
  for (const std::string& difference : check.differences) cli.out() << "  " << difference << "\n";
  return check.sound() ? kExitOk : kExitUnsound;
}

std::shared_ptr<ReportOptions> AddWhat(CLI::App* command) {
  auto options = std::make_shared<ReportOptions>();
  command
      ->add_option("TICKET|FILE", options->what,
                   "A ticket's id, or a file that `show --output json` wrote")
      ->required();
  command->add_option("--report", options->report_id,
                      "One of the ticket's reports; default: the newest");
  return options;
}

}  // namespace

void AddReportCommands(Cli& cli, CLI::App* group) {
  CLI::App* show =
      cli.Add(group, "show", "Shows a report: verdict, what was tried, what failed",
              "  lethe report show t-…\n"
              "  lethe report show t-… --all   # every attack, before and after, against control\n"
              "  lethe report show t-… --html report.html\n"
              "  lethe report show t-… --output json > report.json   # to keep, or to hand on\n");
  auto options = AddWhat(show);
  show->add_option("--html", options->html_file, "Write a page with plots that stands alone");
  show->add_flag("--all", options->all, "Every attack, ticket and failed gate");
  cli.OnRun(show, [options](Cli& cli) { return Show(cli, *options); });

  CLI::App* html = cli.Add(group, "html", "Prints a report as a page with plots that stands alone",
                           "  lethe report html t-… > report.html\n");
  options = AddWhat(html);
  html->add_option("--file", options->html_file, "Write it there instead");
  cli.OnRun(html, [options](Cli& cli) { return Html(cli, *options); });

  CLI::App* check =
      cli.Add(group, "check", "Recomputes the verdict of a report; trusts no server",
              "  lethe report check t-…\n"
              "  lethe report check report.json   # on any machine, without a server\n");
  options = AddWhat(check);
  cli.OnRun(check, [options](Cli& cli) { return Check(cli, *options); });
}

}  // namespace lethe
