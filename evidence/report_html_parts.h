// The sections of the report's page, each a string of HTML. report_html.h puts them together.
//
// Threads    pure; any.
#ifndef LETHE_EVIDENCE_REPORT_HTML_PARTS_H_
#define LETHE_EVIDENCE_REPORT_HTML_PARTS_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "evidence/report_view.h"
#include "lethe/v1/ticket.pb.h"

namespace lethe::evidence {

// A word in the colour of the result.
std::string Tag(const char* css, std::string_view word);
std::string ResultTag(v1::GateResult result);
std::string StandingTag(Standing standing);

// The sentences of gates, a list item each.
std::string GateList(const std::vector<GateRow>& rows);
// What only those read who want to: closed on the screen, open in print. No script.
std::string Fold(const std::string& summary, const std::string& html, bool open = false);
// What the four colours are.
std::string Legend();

// The parts of the page, from its top.
std::string VerdictBox(const ReportView& view);
std::string Tiles(const ReportView& view);        // the figures that say most
std::string FamilyTable(const ReportView& view);  // what was tried, a row a family
std::string WhyItFailed(const ReportView& view);  // the failed gates; empty after a pass
// The forgotten text, a row a sequence; empty without targets.
std::string RevealedText(const ReportView& view, std::span<const v1::Target> targets);
std::string Pictures(const ReportView& view);         // chances, queries, ROC, rounding, relearning
std::string OtherText(const ReportView& view);        // bars of likelihood
std::string TicketTable(const ReportView& view);      // each ticket judged alone
std::string AttackCards(const ReportView& view);      // the model as it is: a card an attack
std::string ConditionTables(const ReportView& view);  // rounded and taught models
std::string LeftOutTable(const ReportView& view);
std::string CostTable(const ReportView& view);
std::string GateTable(const ReportView& view);  // every gate with value and limit
std::string MethodTables(
    const ReportView& view);  // how candidate and figures were made, and under which policy
std::string Recompute(const v1::VerificationReport& report, const ReportView& view, bool revealed);

}  // namespace lethe::evidence

#endif  // LETHE_EVIDENCE_REPORT_HTML_PARTS_H_
