#include "evidence/report_text.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "evidence/report_view.h"
#include "evidence/sentences.h"

namespace lethe {
namespace {

using evidence::GateRow;
using evidence::ReportView;

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
  w.Plain(absl::StrCat("Method     ", run.method(), run.preset().empty() ? "" : "/", run.preset(),
                       ", ", run.steps(), " steps, ", run.stop_reason(), ", seed ", run.seed(),
                       ", ", run.device()));
}

void WriteAttacks(const ReportView& view, Writer& w) {
  if (view.attacks.empty()) return;
  w.Head("Attacks");
  w.Line(Pad("", 45) + Pad("forgotten", 18) + "unseen control");
  w.Line(Pad("attack", 26) + Pad("figure", 19) + Pad("before → now", 18) + Pad("before → now", 18) +
         Pad("now wanted", 11) + "result");
  for (const evidence::AttackView& attack : view.attacks) {
    std::string subject = attack.title;
    for (const GateRow& row : attack.rows) {
      if (Width(subject) > 25) subject = subject.substr(0, 24) + "…";
      w.Line(Pad(subject, 26) + Pad(row.figure, 19) +
             Pad(Arrow(row.forgotten_before, row.forgotten_after), 18) +
             Pad(Arrow(row.control_before, row.control_after), 18) + Pad(row.limit, 11) +
             w.Result(row.gate.result()));
      subject.clear();
    }
  }
}

void WriteCollateral(const ReportView& view, Writer& w) {
  if (view.collateral.empty()) return;
  w.Head("Other text");
  w.Line(Pad("text", 26) + Pad("figure", 37) + Pad("before → now", 18) + Pad("may move", 11) +
         "result");
  for (const GateRow& row : view.collateral) {
    w.Line(Pad(row.subject, 26) + Pad(row.figure, 37) +
           Pad(Arrow(row.control_before, row.control_after), 18) + Pad(row.limit, 11) +
           w.Result(row.gate.result()));
  }
}

void WriteTickets(const ReportView& view, Writer& w) {
  w.Head("Tickets");
  for (const v1::TicketOutcome& ticket : view.check.verdict.tickets()) {
    const std::string word(evidence::OutcomeWord(ticket.outcome()));
    w.Line(Pad(ticket.ticket_id(), 36) + w.Paint(word, OutcomeColour(ticket.outcome())));
    w.Prose("    ", ticket.sentence());
  }
}

void WriteSentences(const ReportView& view, Writer& w) {
  bool any = false;
  for (const v1::Gate& gate : view.check.verdict.gates()) {
    const bool about_all = gate.name().rfind("measured.", 0) == 0;
    if (gate.result() == v1::GATE_RESULT_PASS && !about_all) continue;
    if (gate.result() == v1::GATE_RESULT_NO_POWER && !about_all) continue;
    if (!any) w.Head("What the gates say");
    any = true;
    w.Line(absl::StrCat("  ", gate.name(), "  ") + w.Result(gate.result()));
    w.Prose("    ", gate.sentence());
  }
}

}  // namespace

absl::StatusOr<std::string> ReportToText(const v1::VerificationReport& report,
                                         const ReportTextOptions& options) {
  LETHE_ASSIGN_OR_RETURN(const ReportView view, evidence::ViewOf(report));
  Writer w(options);
  WriteTop(report, view, w);
  WriteAttacks(view, w);
  WriteCollateral(view, w);
  WriteTickets(view, w);
  if (options.sentences) WriteSentences(view, w);
  return w.Take();
}

}  // namespace lethe
