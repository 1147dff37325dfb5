// lethe report show, html, check
#include <fstream>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/text_table.h"
#include "evidence/report.h"

namespace lethe {
namespace {

struct ReportOptions {
  std::string what;  // a ticket's id, or a file
  std::string report_id, html_file;
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

absl::StatusOr<int> Check(Cli& cli, const ReportOptions& options) {
  LETHE_ASSIGN_OR_RETURN(const v1::VerificationReport report, Fetch(cli, options));
  LETHE_ASSIGN_OR_RETURN(const ReportCheck check, CheckReport(report));
  const std::string outcome = ShortName(v1::Outcome_Name(check.verdict.outcome()), "OUTCOME_");
  cli.out() << "report:   " << report.report_id() << "\n"
            << "verdict:  " << outcome << ", recomputed here from the figures and the policy\n"
            << "digest:   " << ReportDigest(report) << "\n";
  if (check.sound()) {
    cli.out() << "sound:    the report says what follows from its figures\n";
    return kExitOk;
  }
  cli.out() << "UNSOUND:\n";
  for (const std::string& difference : check.differences) cli.out() << "  " << difference << "\n";
  return kExitUnsound;
}

}  // namespace

void AddReportCommands(Cli& cli, CLI::App* group) {
  CLI::App* check =
      cli.Add(group, "check", "Recomputes the verdict of a report; trusts no server",
              "  lethe report check t-…\n  lethe report check report.json   # on any machine\n");
  auto options = std::make_shared<ReportOptions>();
  check
      ->add_option("TICKET|FILE", options->what,
                   "A ticket's id, or a file that `show --output json` wrote")
      ->required();
  check->add_option("--report", options->report_id,
                    "One of the ticket's reports; default: the newest");
  cli.OnRun(check, [options](Cli& cli) { return Check(cli, *options); });
}

}  // namespace lethe
