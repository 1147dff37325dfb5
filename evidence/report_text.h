// A report for a terminal: verdict on top, what was tried in a row a family, the gates that failed,
// other text, tickets. It fits on two screens however many attacks ran; `all` adds every attack with
// forgotten and control before and after, every ticket and every failed gate.
//
//   LETHE_ASSIGN_OR_RETURN(std::string table, ReportToText(report, {.colour = isatty(1) == 1}));
//
// Everything is recomputed; a report that claims otherwise gets its differences printed first.
//
// Errors     those of CheckReport.
// Threads    pure; any.
#ifndef LETHE_EVIDENCE_REPORT_TEXT_H_
#define LETHE_EVIDENCE_REPORT_TEXT_H_

#include <string>

#include "absl/status/statusor.h"
#include "lethe/v1/report.pb.h"

namespace lethe {

struct ReportTextOptions {
  bool colour = false;
  int width = 100;        // for prose; the tables need 100
  bool sentences = true;  // what failed gates mean
  bool all = false;       // every attack, ticket and failed gate
};

absl::StatusOr<std::string> ReportToText(const v1::VerificationReport& report,
                                         const ReportTextOptions& options = {});

}  // namespace lethe

#endif  // LETHE_EVIDENCE_REPORT_TEXT_H_
