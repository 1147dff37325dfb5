// The sections with tables: tickets, gates, method, policy, how to recompute.
#include <google/protobuf/descriptor.h>

#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "evidence/report_html_parts.h"
#include "evidence/svg_plot.h"

namespace lethe::evidence {
namespace {

std::string Tag(const char* css, std::string_view word) {
  return absl::StrCat("<span class=\"tag ", css, "\">", std::string(word), "</span>");
}

std::string Row(const std::string& key, const std::string& text) {
  if (text.empty()) return "";
  return absl::StrCat("<tr><th>", Escape(key), "</th><td>", Escape(text), "</td></tr>");
}

template <typename Map, typename Show>
std::string Listed(const Map& map, Show show) {
  std::vector<std::string> parts;
  for (const auto& [name, value] : Sorted(map))
    parts.push_back(absl::StrCat(name, " ", show(value)));
  return absl::StrJoin(parts, " · ");
}

std::string RunTable(const std::string& title, const v1::RunRecord& run) {
  const auto number = [](double value) { return Parameter(value); };
  const auto text = [](const std::string& value) { return value; };
  return absl::StrCat(
      "<div><table class=\"facts\"><thead><tr><th colspan=\"2\">", title,
      "</th></tr></thead><tbody>",
      Row("Method", absl::StrCat(run.method(), run.preset().empty() ? "" : " / ", run.preset())),
      Row("Hyperparameters", Listed(run.hyperparameters(), number)),
      Row("Stopped", run.stop_reason().empty()
                         ? ""
                         : absl::StrCat(run.stop_reason(), " after ", run.steps(), " steps")),
      Row("Seed", absl::StrCat(run.seed())), Row("Data digest", run.data_digest()),
      Row("Device",
          absl::StrCat(run.device(),
                       run.threads() > 0 ? absl::StrCat(", ", run.threads(), " threads") : "",
                       run.precision().empty() ? "" : ", ", run.precision())),
      Row("Libraries", Listed(run.libraries(), text)), Row("Lethe", run.lethe_version()),
      Row("Time", absl::StrFormat("%.1f s", run.seconds())), "</tbody></table></div>");
}

// Every field of the policy by its own name: a field added to policy.proto shows up here by itself.
std::string PolicyRows(const v1::VerdictPolicy& policy) {
  std::string out;
  const auto* reflection = v1::VerdictPolicy::GetReflection();
  const auto* descriptor = v1::VerdictPolicy::GetDescriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const auto* field = descriptor->field(i);
    if (field->is_repeated()) continue;
    const bool whole = field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_INT32;
    absl::StrAppend(&out, "<tr><th>", Escape(field->name()), "</th><td>",
                    whole ? absl::StrCat(reflection->GetInt32(policy, field))
                          : Parameter(reflection->GetDouble(policy, field)),
                    "</td></tr>");
  }
  return out + Row("required_attacks", absl::StrJoin(policy.required_attacks(), " · "));
}

// Gates of these kinds count, the others measure.
std::string Found(const v1::Gate& gate, double figure) {
  const bool counts =
      gate.name().rfind("measured.", 0) == 0 || gate.name().rfind("tickets.", 0) == 0;
  return counts ? absl::StrFormat("%.0f", figure) : Figure(figure);
}

int64_t ForwardTokens(const v1::Measurements& m) {
  int64_t tokens = 0;
  for (const v1::AttackResult& attack : m.attacks()) tokens += attack.forward_tokens();
  return tokens;
}

}  // namespace

std::string ResultTag(v1::GateResult result) {
  switch (result) {
    case v1::GATE_RESULT_PASS:
      return Tag("pass", "pass");
    case v1::GATE_RESULT_FAIL:
      return Tag("fail", "fail");
    default:
      return Tag("warn", "no power");
  }
}

std::string TicketTable(const ReportView& view) {
  std::string out =
      "<h2>Tickets</h2><p class=\"lead\">Each ticket judged by its own sequences alone, whatever "
      "else "
      "suffered.</p><table><thead><tr><th>Ticket</th><th>Outcome</th><th>Why</th></tr></"
      "thead><tbody>";
  for (const v1::TicketOutcome& t : view.check.verdict.tickets()) {
    const char* css = t.outcome() == v1::OUTCOME_PASS           ? "pass"
                      : t.outcome() == v1::OUTCOME_INCONCLUSIVE ? "warn"
                                                                : "fail";
    absl::StrAppend(&out, "<tr><td class=\"id\"><code>", Escape(t.ticket_id()), "</code></td><td>",
                    Tag(css, OutcomeWord(t.outcome())), "</td><td>", Escape(t.sentence()),
                    "</td></tr>");
  }
  return out + "</tbody></table>";
}

std::string GateTable(const ReportView& view) {
  std::string out =
      "<h2>Every gate</h2><p class=\"lead\">The verdict follows from these alone. <em>No "
      "power</em>: the "
      "gate would have held before unlearning too, so it counts for nothing.</p><table><thead><tr>"
      "<th>Gate</th><th class=\"num\">Found</th><th class=\"num\">Wanted</th><th>Result</th><th>If "
      "it "
      "fails</th></tr></thead><tbody>";
  for (const v1::Gate& gate : view.check.verdict.gates()) {
    absl::StrAppend(&out, "<tr><td class=\"id\"><code>", Escape(gate.name()),
                    "</code></td><td class=\"num\">", Found(gate, gate.value()),
                    "</td><td class=\"num\">", gate.at_least() ? "≥ " : "≤ ",
                    Found(gate, gate.limit()), "</td><td>", ResultTag(gate.result()), "</td><td>",
                    std::string(OutcomeWord(gate.failure())), "</td></tr>");
  }
  absl::StrAppend(&out, "</tbody></table>");
  std::string sentences;
  for (const std::vector<GateRow>* rows : {&view.measured, &view.ticket_gates}) {
    for (const GateRow& row : *rows) {
      absl::StrAppend(&sentences, "<p>", ResultTag(row.gate.result()), " ",
                      Escape(row.gate.sentence()), "</p>");
    }
  }
  return absl::StrCat(out, sentences);
}

std::string MethodTables(const ReportView& view) {
  return absl::StrCat(
      "<h2>How it was made</h2><p class=\"lead\">Enough to make candidate and figures again on the "
      "same "
      "kind of device. The attacks took ",
      ForwardTokens(view.m()), " tokens forward through a model.</p><div class=\"grid\">",
      RunTable("Unlearning", view.m().unlearn_run()),
      RunTable("Verification", view.m().verify_run()), "</div>",
      "<h2>Policy</h2><p class=\"lead\">The margins that judged, as policy.proto names them.</p>"
      "<table class=\"facts\"><tbody>",
      PolicyRows(view.check.policy), "</tbody></table>");
}

std::string Recompute(const v1::VerificationReport& report, const ReportView& view) {
  return absl::StrCat(
      "<h2>Check it yourself</h2><p class=\"lead\">The verdict is a pure function of the "
      "measurements and "
      "the policy, both of which the report file carries as bytes. Whoever holds the file can "
      "recompute "
      "it offline, and compare the checkpoint's folder with the digest above.</p><pre>",
      "lethe report check report.pb        # recomputes verdict and report id, names any "
      "difference\n"
      "lethe report show report.pb         # the same as a table\n",
      "# report id: SHA-256 of the measurement bytes\n", Escape(report.report_id()), "\n",
      "# candidate: SHA-256 over the sorted lines of sha256sum of its files (lethe.json left "
      "out)\n",
      Escape(view.m().candidate_digest()), "</pre><footer>Made by Lethe from report version ",
      report.version(),
      ". The page holds no text of any ticket, no token and no name of a person; it loads nothing "
      "and "
      "runs nothing.</footer>");
}

}  // namespace lethe::evidence
