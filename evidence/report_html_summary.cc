// The top of the page: verdict, tiles, what was tried, why it failed.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "evidence/report_families.h"
#include "evidence/report_html_parts.h"
#include "evidence/sentences.h"
#include "evidence/svg_plot.h"

namespace lethe::evidence {
namespace {

// The summary without the word before its colon, which the page shows larger.
std::string Reason(const std::string& summary) {
  const size_t colon = summary.find(": ");
  std::string reason = colon == std::string::npos ? summary : summary.substr(colon + 2);
  if (!reason.empty() && reason[0] >= 'a' && reason[0] <= 'z') reason[0] += 'A' - 'a';
  return reason;
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

// The failed gates that decide, then the others.
std::vector<const v1::Gate*> FailedGates(const v1::Verdict& verdict) {
  std::vector<const v1::Gate*> failed;
  for (const v1::Gate& gate : verdict.gates()) {
    if (gate.result() == v1::GATE_RESULT_FAIL) failed.push_back(&gate);
  }
  std::stable_partition(failed.begin(), failed.end(),
                        [&](const v1::Gate* gate) { return gate->failure() == verdict.outcome(); });
  return failed;
}

std::string FailedList(const std::vector<const v1::Gate*>& gates) {
  std::string out = "<ul>";
  for (const v1::Gate* gate : gates) {
    const char* css = gate->failure() == v1::OUTCOME_INCONCLUSIVE ? "warn" : "fail";
    absl::StrAppend(&out, "<li>", Tag(css, OutcomeWord(gate->failure())), "<span>",
                    Escape(gate->sentence()), " <code class=\"soft\">", Escape(gate->name()),
                    "</code></span></li>");
  }
  return out + "</ul>";
}

// The plan's first: what somebody who only asks gets.
const AttackView* FirstJudged(const ReportView& view) {
  for (const AttackView& attack : view.attacks) {
    if (attack.attack >= 0 && !attack.rows.empty() && !attack.control_after.empty()) return &attack;
  }
  return nullptr;
}

// After which the forgotten text stands out most.
const AttackView* StrongestScore(const ReportView& view, const AttackView* but) {
  const AttackView* best = nullptr;
  for (const AttackView& attack : view.attacks) {
    if (attack.attack < 0 || attack.rows.empty() || attack.control_after.empty()) continue;
    if (&attack != but && (best == nullptr || attack.excess > best->excess)) best = &attack;
  }
  return best;
}

std::string ScoreTile(const std::string& before_title, const AttackView& attack) {
  return Tile(absl::StrCat(before_title, attack.title),
              absl::StrCat(attack.before, " → ", attack.after),
              absl::StrCat("unseen text of the kind: ", attack.control_after));
}

}  // namespace

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
                      "</p><p class=\"means\">", std::string(OutcomeMeaning(verdict.outcome())),
                      "</p></section>");
}

// The figures that say most: what comes out, how familiar, what it cost
// the kind, what it cost the text to keep.
std::string Tiles(const ReportView& view) {
  std::string out = "<div class=\"tiles\">";
  const AttackView* first = FirstJudged(view);
  if (first != nullptr) absl::StrAppend(&out, ScoreTile("", *first));
  const AttackView* strongest = StrongestScore(view, first);
  if (strongest != nullptr) absl::StrAppend(&out, ScoreTile("Stands out most now: ", *strongest));
  const auto mean = [](const auto& list) { return Mean(Values(list.begin(), list.end())); };
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

std::string FamilyTable(const ReportView& view) {
  std::string out = absl::StrCat(
      "<h2>What was tried</h2><p class=\"lead\">Each attempt was made on the forgotten text and on "
      "text of the same kind that the model never saw, with the model before and with the "
      "candidate. A row shows the attempt that finds most now; 1 is all of it, and forgotten means "
      "as much as in unseen text.</p><div class=\"scroll\"><table class=\"families\"><thead><tr>"
      "<th>Attempt</th><th class=\"num\">Found before</th><th class=\"num\">Now</th>"
      "<th class=\"num\">Unseen, now</th><th>Result</th><th>What it means</th></tr></thead>"
      "<tbody>");
  for (const FamilyRow& row : FamilyRows(view)) {
    const char* css = row.standing == Standing::kFail ? " class=\"failed\"" : "";
    absl::StrAppend(&out, "<tr", css, "><th>", row.title, "<span class=\"what\">", row.what,
                    "</span></th><td class=\"num\">", row.before, "</td><td class=\"num now\">",
                    row.after, "</td><td class=\"num\">", row.control_after, "</td><td>",
                    StandingTag(row.standing), "</td><td>", Escape(row.sentence),
                    row.figure.empty()
                        ? ""
                        : absl::StrCat(" <span class=\"what\">Figures: ", row.figure, ".</span>"),
                    "</td></tr>");
  }
  return out + "</tbody></table></div>";
}

std::string WhyItFailed(const ReportView& view) {
  constexpr size_t kShown = 5;
  const v1::Verdict& verdict = view.check.verdict;
  const std::vector<const v1::Gate*> failed = FailedGates(verdict);
  if (failed.empty()) return "";
  const size_t shown = std::min(kShown, failed.size());
  const char* title =
      verdict.outcome() == v1::OUTCOME_INCONCLUSIVE ? "Why nothing follows" : "Why it failed";
  std::string out =
      absl::StrCat("<h2>", title, "</h2><div class=\"card\">",
                   FailedList({failed.begin(), failed.begin() + static_cast<ptrdiff_t>(shown)}));
  if (failed.size() > shown) {
    absl::StrAppend(
        &out, Fold(Count(failed.size() - shown, "more failed gate", "more failed gates"),
                   FailedList({failed.begin() + static_cast<ptrdiff_t>(shown), failed.end()})));
  }
  return out + "</div>";
}

}  // namespace lethe::evidence
