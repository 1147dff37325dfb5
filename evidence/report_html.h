// A report as one HTML page that stands alone: style and plots inline, no
// script, no link, light and dark, fit for print.
//
//   LETHE_ASSIGN_OR_RETURN(std::string page, ReportToHtml(report));
//   page = *ReportToHtml(report, {.revealed = targets});   // with the forgotten text, where at hand
//
// Verdict and reason come first, in plain language; then what was tried, a row a family of attempts,
// and why it failed. Then the pictures (chances, queries, ROC, relearning, rounding), other text and
// tickets; a card for each attack on the model as it is, tables for rounded and taught models; what
// was left out, what it cost, every gate, the method, the policy, and how to recompute the verdict
// without us. Sentences of gates stand in folds that print opens. Everything shown is recomputed from
// measurements and policy; a report that claims otherwise is headed by its differences. All text is
// escaped.
//
// Privacy    a report holds no text, so neither does its page. Only who has the text can have it
//            shown: `revealed`, in the order of the forgotten sequences. Such a page says so.
// Errors     those of CheckReport; INVALID_ARGUMENT/REVEAL_MISMATCH.
// Threads    pure; any.
#ifndef LETHE_EVIDENCE_REPORT_HTML_H_
#define LETHE_EVIDENCE_REPORT_HTML_H_

#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "lethe/v1/report.pb.h"
#include "lethe/v1/ticket.pb.h"

namespace lethe {

struct HtmlOptions {
  std::span<const v1::Target> revealed;  // the forgotten text, a target a sequence; empty: none
};

absl::StatusOr<std::string> ReportToHtml(const v1::VerificationReport& report,
                                         const HtmlOptions& options = {});

}  // namespace lethe

#endif  // LETHE_EVIDENCE_REPORT_HTML_H_
