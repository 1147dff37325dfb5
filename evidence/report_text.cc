#include "evidence/report_text.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "evidence/report_curves.h"
#include "evidence/report_families.h"
#include "evidence/report_view.h"
#include "evidence/sentences.h"

namespace lethe {
namespace {

using evidence::FamilyRow;
using evidence::GateRow;
using evidence::ReportView;
using evidence::Standing;

// Columns that a string takes: code points, since nothing here is wider.
size_t Width(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string Pad(std::string_view text, size_t width, bool right = false) {
  const std::string space(width > Width(text) ? width - Width(text) : 0, ' ');
  return right ? absl::StrCat(space, std::string(text)) : absl::StrCat(std::string(text), space);
}

// Without control characters: strings of a report must not steer a terminal.
std::string Clean(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    const bool c1 =
        c == 0xC2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xA0;
    if (c1) ++i;  // U+0080 to U+009F
    if (c >= 0x20 && c != 0x7F && !c1) out += static_cast<char>(c);
  }
  return out;
}

class Writer {
 public:
  explicit Writer(const ReportTextOptions& options) : options_(options) {}

  void Line(std::string line = "") {
    while (!line.empty() && line.back() == ' ') line.pop_back();
    absl::StrAppend(&out_, line, "\n");
  }

  // A line that holds strings from outside.
  void Plain(const std::string& line) { Line(Clean(line)); }

  // Words wrapped at the width; the first line begins with
  // `head`, the others are indented likewise.
  void Prose(const std::string& head, const std::string& text) {
    std::string line = head;
    bool first = true;
    for (const std::string& word : std::vector<std::string>(absl::StrSplit(text, ' '))) {
      if (!first && Width(line) + 1 + Width(word) > static_cast<size_t>(options_.width)) {
        Line(line);
        line = std::string(Width(head), ' ');
        first = true;
      }
      absl::StrAppend(&line, first ? "" : " ", word);
      first = false;
    }
    Line(line);
  }

  void Head(const std::string& title) {
    Line();
    Line(Paint(title, "1"));
  }

  std::string Paint(const std::string& text, const char* code) const {
    return options_.colour ? absl::StrCat("\x1b[", code, "m", text, "\x1b[0m") : text;
  }

  std::string Result(v1::GateResult result) const {
    const std::string word(evidence::ResultWord(result));
    switch (result) {
      case v1::GATE_RESULT_PASS:
        return Paint(word, "32");
      case v1::GATE_RESULT_FAIL:
        return Paint(word, "1;31");
      default:
        return Paint(word, "33");
    }
  }

  std::string Take() { return std::move(out_); }
  const ReportTextOptions& options() const { return options_; }

 private:
  const ReportTextOptions options_;
  std::string out_;
};

std::string Arrow(const std::string& before, const std::string& after) {
  if (before.empty() && after.empty()) return "";
  return absl::StrCat(before, " → ", after);
}

const char* OutcomeColour(v1::Outcome outcome) {
  if (outcome == v1::OUTCOME_PASS) return "1;32";
  return outcome == v1::OUTCOME_INCONCLUSIVE ? "1;33" : "1;31";
}

void WriteTop(const v1::VerificationReport& report, const ReportView& view, Writer& w) {
  const v1::Measurements& m = view.m();
  const v1::Verdict& verdict = view.check.verdict;
  for (const std::string& difference : view.check.differences) {
    w.Line(w.Paint("NOT SOUND  ", "1;31") + difference);
  }
  const std::string word(evidence::OutcomeWord(verdict.outcome()));
  w.Line(w.Paint(word, OutcomeColour(verdict.outcome())));
  w.Prose("", verdict.summary());
  w.Line();
  w.Plain(absl::StrCat("Report     ", report.report_id()));
  w.Plain(absl::StrCat("Created    ", view.created));
  w.Plain(absl::StrCat("Model      ", m.model_id(), ", generation ", m.base_generation()));
  w.Plain(
      absl::StrCat("Candidate  ", m.candidate_checkpoint_id(), "  of ", m.base_checkpoint_id()));
  w.Plain(absl::StrCat(
      "Forgotten  ",
      evidence::Count(static_cast<size_t>(m.forgotten_size()), "sequence", "sequences"), " of ",
      evidence::Count(static_cast<size_t>(verdict.tickets_size()), "ticket", "tickets"),
      "; compared with ",
      evidence::Count(static_cast<size_t>(m.control_tokens_size()), "sequence", "sequences"),
      " that the model never saw"));
  const v1::RunRecord& run = m.unlearn_run();
  if (run.method().empty()) return w.Plain("Method     not recorded");
  w.Plain(absl::StrCat("Method     ", run.method(), run.preset().empty() ? "" : "/", run.preset(),
                       ", ", run.steps(), " steps, ", run.stop_reason(), ", seed ", run.seed(),
                       ", ", run.device()));
  w.Prose("Guarantee  ", evidence::GuaranteeSentence(run));
}

// Cut to a number of columns; names are of one byte a column.
std::string Cut(const std::string& text, size_t columns) {
  return Width(text) <= columns ? text : absl::StrCat(text.substr(0, columns - 1), "…");
}

const char* StandingColour(Standing standing) {
  if (standing == Standing::kFail) return "1;31";
  return standing == Standing::kPass ? "32" : "33";
}

void WriteFamilies(const std::vector<FamilyRow>& rows, Writer& w) {
  w.Head("What was tried");
  w.Line(Pad("", 26) + Pad("tries", 7) + Pad("most telling now", 29) + Pad("before → now", 16) +
         Pad("unseen", 8) + "result");
  for (const FamilyRow& row : rows) {
    const std::string tries = row.attacks.empty() ? "" : absl::StrCat(row.attacks.size());
    w.Line(
        Pad(row.title, 26) + Pad(tries, 7) + Pad(Cut(row.shown, 28), 29) +
        Pad(Arrow(row.before, row.after), 16) + Pad(row.control_after, 8) +
        w.Paint(std::string(evidence::StandingWord(row.standing)), StandingColour(row.standing)));
  }
  for (const FamilyRow& row : rows) {
    if (row.standing == Standing::kFail) w.Prose("  ", absl::StrCat(row.title, ": ", row.sentence));
  }
}

std::string PercentOf(double share) {
  return absl::StrFormat(share > 0 && share < 0.01 ? "%.2f %%" : "%.0f %%", 100 * share);
}

// What the page shows as pictures, a line each.
void WriteCurves(const v1::Measurements& m, Writer& w) {
  const std::vector<evidence::MembershipRow> rows = evidence::MembershipRows(m);
  const evidence::MembershipRow* best = evidence::BestMembership(rows);
  if (best != nullptr) {
    const auto range = [](const std::optional<evidence::Interval>& r) {
      return r.has_value() ? absl::StrFormat(" (%.2f to %.2f)", r->low, r->high) : std::string();
    };
    w.Prose("Membership  ",
            absl::StrCat(best->title, " has AUC ", evidence::Figure(best->before),
                         range(best->before_range), " before, ", evidence::Figure(best->now),
                         range(best->now_range), " now; TPR at 1 % FPR ",
                         PercentOf(best->tpr_before), " → ", PercentOf(best->tpr_now)));
  }
  std::vector<std::string> changed;
  for (const v1::CodeChange& change : m.code_changes()) {
    changed.push_back(absl::StrCat(change.condition(), " ", PercentOf(change.share())));
  }
  if (!changed.empty()) {
    w.Prose("Rounding    ",
            absl::StrCat("weights that still differ from the rounded model before: ",
                         absl::StrJoin(changed, ", ")));
  }
  for (const evidence::RelearnCurve& curve : evidence::RelearnCurves(m)) {
    if (curve.text == Relearned::kSame) {
      w.Prose("Relearning  ", evidence::RelearningLead(curve));
    }
  }
}

void WriteAttack(const evidence::AttackView& attack, Writer& w) {
  std::string subject = attack.title;
  if (Width(subject) > 25) {
    w.Line(subject);
    subject.clear();
  }
  if (attack.rows.empty()) {
    w.Line(Pad(subject, 26) + Pad(attack.control_after.empty() ? "AUC" : "mean", 19) +
           Pad(Arrow(attack.before, attack.after), 18) +
           Pad(Arrow(attack.control_before, attack.control_after), 18) + "not judged");
  }
  for (const GateRow& row : attack.rows) {
    w.Line(Pad(subject, 26) + Pad(row.figure, 19) +
           Pad(Arrow(row.forgotten_before, row.forgotten_after), 18) +
           Pad(Arrow(row.control_before, row.control_after), 18) + Pad(row.limit, 11) +
           w.Result(row.gate.result()));
    subject.clear();
  }
}

void WriteAttacks(const ReportView& view, Writer& w) {
  w.Head("Attacks");
  w.Line(Pad("", 45) + Pad("forgotten", 18) + "unseen control");
  w.Line(Pad("attack", 26) + Pad("figure", 19) + Pad("before → now", 18) + Pad("before → now", 18) +
         Pad("now wanted", 11) + "result");
  for (const evidence::AttackView& attack : view.attacks) WriteAttack(attack, w);
}

void WriteCollateral(const ReportView& view, Writer& w) {
  if (view.collateral.empty()) return;
  w.Head("Other text");
  w.Line(Pad("text", 26) + Pad("figure", 37) + Pad("before → now", 18) + Pad("may move", 11) +
         "result");
  size_t more = 0;
  for (const GateRow& row : view.collateral) {
    const bool failed = row.gate.result() == v1::GATE_RESULT_FAIL;
    if (!w.options().all && !failed && row.figure != "NLL a token") {
      ++more;
      continue;
    }
    w.Line(Pad(row.subject, 26) + Pad(Cut(row.figure, 36), 37) +
           Pad(Arrow(row.control_before, row.control_after), 18) + Pad(row.limit, 11) +
           w.Result(row.gate.result()));
  }
  if (more > 0) {
    w.Line(Pad("Unseen control", 26) +
           Pad(absl::StrCat("under ", evidence::Count(more, "attack", "attacks")), 66) +
           w.Result(v1::GATE_RESULT_PASS));
  }
}

void WriteTickets(const ReportView& view, Writer& w) {
  constexpr size_t kShown = 4;
  w.Head("Tickets");
  size_t shown = 0, more = 0;
  for (const bool passed : {false, true}) {  // of many, those that failed
    for (const v1::TicketOutcome& ticket : view.check.verdict.tickets()) {
      if ((ticket.outcome() == v1::OUTCOME_PASS) != passed) continue;
      if (!w.options().all && shown >= kShown) {
        ++more;
        continue;
      }
      ++shown;
      const std::string word(evidence::OutcomeWord(ticket.outcome()));
      w.Line(Pad(ticket.ticket_id(), 36) + w.Paint(word, OutcomeColour(ticket.outcome())));
      w.Prose("    ", ticket.sentence());
    }
  }
  if (more > 0) w.Line(absl::StrCat("… and ", more, " more"));
}

void WriteSentences(const ReportView& view, Writer& w) {
  constexpr size_t kShown = 3;
  size_t shown = 0, more = 0;
  for (const v1::Gate& gate : view.check.verdict.gates()) {
    const bool about_all = w.options().all && gate.name().rfind("measured.", 0) == 0;
    if (gate.result() != v1::GATE_RESULT_FAIL && !about_all) continue;
    if (!w.options().all && shown >= kShown) {
      ++more;
      continue;
    }
    if (shown++ == 0) w.Head(w.options().all ? "What the gates say" : "What failed");
    w.Line(absl::StrCat("  ", gate.name(), "  ") + w.Result(gate.result()));
    w.Prose("    ", gate.sentence());
  }
  if (more > 0) w.Line(absl::StrCat("  … and ", more, " more failed"));
}

// An attack a line, with its reason; the conditions are counted.
void WriteLeftOut(const v1::Measurements& m, Writer& w) {
  constexpr size_t kShown = 5;
  std::vector<std::pair<std::pair<std::string, std::string>, size_t>> rows;
  for (const v1::LeftOut& left : m.left_out()) {
    const std::pair key(left.attack(), left.reason());
    auto row =
        std::find_if(rows.begin(), rows.end(), [&](const auto& r) { return r.first == key; });
    if (row == rows.end()) row = rows.insert(rows.end(), {key, 0});
    ++row->second;
  }
  if (rows.empty()) return;
  w.Head("Left out");
  for (size_t i = 0; i < rows.size(); ++i) {
    if (!w.options().all && i >= kShown) {
      w.Line(absl::StrCat("… and ", rows.size() - i, " more"));
      return;
    }
    const auto& [attack, reason] = rows[i].first;
    const std::string why =
        reason == "BUDGET" ? "beyond the budget of forward tokens" : Clean(reason);
    const std::string times =
        rows[i].second > 1 ? absl::StrCat(" (", rows[i].second, " times)") : "";
    w.Prose(Pad(evidence::Title(attack) + times, 34), why);
  }
}

void WriteCost(const v1::Measurements& m, const std::vector<FamilyRow>& rows, Writer& w) {
  int64_t expected = 0, tokens = 0;
  double seconds = 0;
  for (const FamilyRow& row : rows) {
    expected = evidence::SumOf(expected, row.expected_tokens);
    tokens = evidence::SumOf(tokens, row.tokens);
    seconds += row.seconds;
  }
  w.Line(absl::StrCat(
      "Cost        ", evidence::Count(static_cast<size_t>(m.attacks_size()), "attempt", "attempts"),
      ", ", evidence::Grouped(tokens), " tokens forward (", evidence::Grouped(expected),
      " expected), ", absl::StrFormat("%.0f s", seconds)));
}

}  // namespace

absl::StatusOr<std::string> ReportToText(const v1::VerificationReport& report,
                                         const ReportTextOptions& options) {
  LETHE_ASSIGN_OR_RETURN(const ReportView view, evidence::ViewOf(report));
  Writer w(options);
  WriteTop(report, view, w);
  const std::vector<FamilyRow> rows = evidence::FamilyRows(view);
  WriteFamilies(rows, w);
  w.Line();
  WriteCurves(view.m(), w);
  WriteCost(view.m(), rows, w);
  if (options.sentences) WriteSentences(view, w);
  if (options.all) WriteAttacks(view, w);
  WriteCollateral(view, w);
  WriteTickets(view, w);
  WriteLeftOut(view.m(), w);
  return w.Take();
}

}  // namespace lethe
