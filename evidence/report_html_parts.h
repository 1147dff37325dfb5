// The sections of the report's page, each a string of HTML. report_html.h puts them together.
//
// Threads    pure; any.
#ifndef LETHE_EVIDENCE_REPORT_HTML_PARTS_H_
#define LETHE_EVIDENCE_REPORT_HTML_PARTS_H_

#include <string>

#include "evidence/report_view.h"

namespace lethe::evidence {

std::string ResultTag(v1::GateResult result);
std::string AttackCards(const ReportView& view);  // a card with plot and gates an attack
std::string OtherText(const ReportView& view);    // bars of likelihood
std::string TicketTable(const ReportView& view);  // each ticket judged alone
std::string GateTable(const ReportView& view);    // every gate with value and limit
std::string MethodTables(
    const ReportView& view);  // how candidate and figures were made, and under which policy
std::string Recompute(const v1::VerificationReport& report, const ReportView& view);

}  // namespace lethe::evidence

#endif  // LETHE_EVIDENCE_REPORT_HTML_PARTS_H_
