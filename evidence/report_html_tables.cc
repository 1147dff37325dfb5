// The sections with tables: tickets, gates, method, policy, how to recompute.
#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "engine/condition.h"
#include "evidence/report_families.h"
#include "evidence/report_html_parts.h"
#include "evidence/sentences.h"
#include "evidence/svg_plot.h"

namespace lethe::evidence {
namespace {

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
      run.method() == "attacks" ? "" : Row("Guarantee", evidence::GuaranteeSentence(run)),
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

// A row for each reason, with the conditions under which the attack was left out.
struct LeftOutRow {
  std::string attack, reason, conditions;
  int64_t tokens = 0;
};

std::vector<LeftOutRow> LeftOutRows(const v1::Measurements& m) {
  std::vector<LeftOutRow> rows;
  for (const v1::LeftOut& left : m.left_out()) {
    const auto condition = ParseCondition(left.condition());
    const std::string where = condition.ok() ? condition->Title() : left.condition();
    auto row = std::find_if(rows.begin(), rows.end(), [&](const LeftOutRow& r) {
      return r.attack == left.attack() && r.reason == left.reason();
    });
    if (row == rows.end()) {
      rows.push_back({left.attack(), left.reason(), "", 0});
      row = rows.end() - 1;
    }
    absl::StrAppend(&row->conditions, row->conditions.empty() ? "" : "; ", where);
    row->tokens = SumOf(row->tokens, left.expected_forward_tokens());
  }
  return rows;
}

std::string SecondsOf(double seconds) {
  return seconds < 120 ? absl::StrFormat("%.1f s", seconds)
                       : absl::StrFormat("%.1f min", seconds / 60);
}

}  // namespace

std::string Tag(const char* css, std::string_view word) {
  return absl::StrCat("<span class=\"tag ", css, "\">", std::string(word), "</span>");
}

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

std::string StandingTag(Standing standing) {
  const char* css = standing == Standing::kFail      ? "fail"
                    : standing == Standing::kPass    ? "pass"
                    : standing == Standing::kNoPower ? "warn"
                                                     : "mute";
  return Tag(css, StandingWord(standing));
}

std::string Fold(const std::string& summary, const std::string& html, bool open) {
  return absl::StrCat("<details", open ? " open=\"open\"" : "", "><summary>", Escape(summary),
                      "</summary><div class=\"inside\">", html, "</div></details>");
}

std::string TicketTable(const ReportView& view) {
  constexpr int kShown = 12;
  const std::string head =
      "<table><thead><tr><th>Ticket</th><th>Outcome</th><th>Why</th></tr></thead><tbody>";
  std::string shown, folded;
  int rows = 0;
  const auto& tickets = view.check.verdict.tickets();
  // Of many, those that failed first.
  for (const bool passed : {false, true}) {
    for (const v1::TicketOutcome& t : tickets) {
      if ((t.outcome() == v1::OUTCOME_PASS) != passed) continue;
      const char* css = passed ? "pass" : t.outcome() == v1::OUTCOME_INCONCLUSIVE ? "warn" : "fail";
      absl::StrAppend(rows < kShown ? &shown : &folded, "<tr><td class=\"id\"><code>",
                      Escape(t.ticket_id()), "</code></td><td>", Tag(css, OutcomeWord(t.outcome())),
                      "</td><td>", Escape(t.sentence()), "</td></tr>");
      ++rows;
    }
  }
  std::string out = absl::StrCat(
      "<h2>Tickets</h2><p class=\"lead\">Each ticket judged by its own sequences alone, whatever "
      "else suffered.</p><div class=\"scroll\">",
      head, shown, "</tbody></table></div>");
  if (!folded.empty()) {
    absl::StrAppend(&out, Fold(absl::StrCat(tickets.size() - kShown, " more tickets"),
                               absl::StrCat(head, folded, "</tbody></table>")));
  }
  return out;
}

std::string LeftOutTable(const ReportView& view) {
  std::string out = "<h2>What was left out</h2>";
  if (view.m().left_out().empty()) {
    return out + "<p class=\"lead\">Nothing: every attack that the plan names ran.</p>";
  }
  absl::StrAppend(&out,
                  "<p class=\"lead\">The plan names these, and they did not run. Nothing follows "
                  "about them.</p><table><thead><tr><th>Attack</th><th>Model</th><th>Why</th><th "
                  "class=\"num\">Would have cost</th></tr></thead><tbody>");
  for (const LeftOutRow& row : LeftOutRows(view.m())) {
    absl::StrAppend(&out, "<tr><th>", Escape(Title(row.attack)), "</th><td>",
                    Escape(row.conditions), "</td><td>",
                    row.reason == "BUDGET"
                        ? std::string("it would have gone beyond the budget of forward tokens")
                        : Escape(row.reason),
                    "</td><td class=\"num\">",
                    row.tokens > 0 ? Grouped(row.tokens) + " tokens" : std::string("–"),
                    "</td></tr>");
  }
  return out + "</tbody></table>";
}

std::string CostTable(const ReportView& view) {
  const v1::Measurements& m = view.m();
  std::string out =
      "<h2>What it cost</h2><p class=\"lead\">Tokens that went forward through a model. Attacks "
      "share passes: what one of them paid for is free for the next.</p><table><thead><tr>"
      "<th>Attempts</th><th class=\"num\">Number</th><th class=\"num\">Expected tokens</th><th "
      "class=\"num\">Tokens</th><th class=\"num\">Time</th></tr></thead><tbody>";
  int64_t expected = 0, tokens = 0;
  double seconds = 0;
  const auto add = [&](const std::string& title, const std::string& count, int64_t e, int64_t t,
                       double s) {
    absl::StrAppend(&out, "<tr><th>", title, "</th><td class=\"num\">", count,
                    "</td><td class=\"num\">", Grouped(e), "</td><td class=\"num\">", Grouped(t),
                    "</td><td class=\"num\">", SecondsOf(s), "</td></tr>");
  };
  for (const FamilyRow& row : FamilyRows(view)) {
    const auto count = std::count_if(row.attacks.begin(), row.attacks.end(),
                                     [&](size_t i) { return view.attacks[i].attack >= 0; });
    if (count == 0) continue;
    add(row.title, absl::StrCat(count), row.expected_tokens, row.tokens, row.seconds);
    expected = SumOf(expected, row.expected_tokens);
    tokens = SumOf(tokens, row.tokens);
    seconds += row.seconds;
  }
  add("All attempts", absl::StrCat(m.attacks_size()), expected, tokens, seconds);
  absl::StrAppend(&out, "</tbody></table>");
  if (m.forward_tokens() > 0) {
    absl::StrAppend(&out,
                    "<p class=\"note\">With likelihoods, references and the choice of a step "
                    "size: ",
                    Grouped(m.forward_tokens()), " tokens.</p>");
  }
  return out;
}

std::string GateTable(const ReportView& view) {
  std::string table =
      "<table><thead><tr><th>Gate</th><th class=\"num\">Found</th><th class=\"num\">Wanted</th>"
      "<th>Result</th><th>If it fails</th></tr></thead><tbody>";
  for (const v1::Gate& gate : view.check.verdict.gates()) {
    absl::StrAppend(&table, "<tr><td class=\"id\"><code>", Escape(gate.name()),
                    "</code></td><td class=\"num\">", Found(gate, gate.value()),
                    "</td><td class=\"num\">", gate.at_least() ? "≥ " : "≤ ",
                    Found(gate, gate.limit()), "</td><td>", ResultTag(gate.result()), "</td><td>",
                    std::string(OutcomeWord(gate.failure())), "</td></tr>");
  }
  absl::StrAppend(&table, "</tbody></table>");
  std::vector<GateRow> about_all = view.measured;
  about_all.insert(about_all.end(), view.ticket_gates.begin(), view.ticket_gates.end());
  return absl::StrCat(
      "<h2>Every gate</h2><p class=\"lead\">The verdict follows from these alone. <em>No "
      "power</em>: the gate would have held before unlearning too, so it counts for nothing. The "
      "chance that noise alone refuses a model that never saw the text is shared among all gates "
      "and stepped as Holm does: a gate that failed leaves its share to the others.</p><div "
      "class=\"card plain\">",
      GateList(about_all), "</div>",
      Fold(absl::StrCat("All ", view.check.verdict.gates_size(), " gates with their limits"),
           absl::StrCat("<div class=\"scroll\">", table, "</div>")));
}

std::string MethodTables(const ReportView& view) {
  return absl::StrCat(
      "<h2>How it was made</h2><p class=\"lead\">Enough to make candidate and figures again on the "
      "same kind of device.</p><div class=\"grid\">",
      RunTable("Unlearning", view.m().unlearn_run()),
      RunTable("Verification", view.m().verify_run()), "</div>",
      "<h2>Policy</h2><p class=\"lead\">The margins that judged, as policy.proto names them.</p>"
      "<table class=\"facts\"><tbody>",
      PolicyRows(view.check.policy), "</tbody></table>");
}

std::string Recompute(const v1::VerificationReport& report, const ReportView& view, bool revealed) {
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
      revealed ? ". The page holds the forgotten text, which its reader brought; the report holds "
                 "none. It "
               : ". The page holds no text of any ticket, no token and no name of a person; it ",
      "loads nothing and runs nothing.</footer>");
}

}  // namespace lethe::evidence
