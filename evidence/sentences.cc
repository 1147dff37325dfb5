#include "evidence/sentences.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace lethe::evidence {
namespace {

// A title that goes on with a condition is closed by a comma before a verb.
std::string Subject(const std::string& title) {
  return title.find(", ") == std::string::npos ? title : title + ",";
}

// What was tried and found, up to the limit.
std::string Found(const Comparison& c, const Finding& before, const Finding& after) {
  const std::string f0 = Figure(before.value);
  const std::string f1 = Figure(after.value);
  const Shape& control0 = c.before.control;
  const Shape& control1 = c.after.control;
  switch (c.rule) {
    case Rule::kMean:
      return absl::StrCat(Subject(c.title), " got ", f0,
                          " of the forgotten text on average before and ", f1,
                          " now; of unseen control text ", Figure(control0.mean), " and ",
                          Figure(control1.mean), ".");
    case Rule::kWorst:
      return absl::StrCat(c.title, ": the most exposed forgotten sequence gave ", f0,
                          " before and gives ", f1, " now; 95 of 100 control sequences stay under ",
                          Figure(control1.p95), ".");
    case Rule::kMember:
      return absl::StrCat(Subject(c.title), " told forgotten from unseen text with AUC ", f0,
                          " before and does with ", f1, " now (0.5: it cannot tell, 1: always).");
    case Rule::kNonmember:
      return absl::StrCat(Subject(c.title), " has AUC ", f1,
                          " now; far below 0.5 the forgotten text would stand out as strangely "
                          "unfamiliar, which names the deleted.");
    case Rule::kLikely:
      return absl::StrCat("The most familiar forgotten sequence cost the model ", f0,
                          " nats a token before and ", f1, " now; unseen control text ",
                          Figure(control1.mean), " (spread ", Figure(control1.sd), ").");
    case Rule::kUnlikely:
      return absl::StrCat("The least familiar forgotten sequence costs the model ", f1,
                          " nats a token now (", f0, " before); unseen control text ",
                          Figure(control1.mean), " (spread ", Figure(control1.sd), ").");
  }
  return "";
}

std::string Meaning(const Comparison& c, v1::GateResult result) {
  const bool forgetting = IsAboutForgetting(c.rule);
  switch (result) {
    case v1::GATE_RESULT_NO_POWER:
      return "It would have held before unlearning too, so it says nothing about forgetting.";
    case v1::GATE_RESULT_FAIL:
      if (!forgetting)
        return "The forgotten text was pushed so far that it can be recognised by it.";
      return c.greedy ? "The forgotten text still stands out from text the model never saw."
                      : "To a deeper look the forgotten text still stands out from text the model "
                        "never saw.";
    default:
      return forgetting ? "What stood out before no longer stands out from unseen text."
                        : "The forgotten text was not pushed further than unseen text.";
  }
}

bool StartsWith(const std::string& name, const char* start) { return name.rfind(start, 0) == 0; }

bool EndsWith(const std::string& name, std::string_view end) {
  return name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
}

// The attack in "extraction.greedy_extraction.mean", in words.
std::string AttackIn(const std::string& name) {
  const size_t first = name.find('.');
  const size_t last = name.rfind('.');
  return Subject(Title(name.substr(first + 1, last - first - 1)));
}

// A failed gate in a few plain words, without what is wanted.
std::string Shortly(const v1::Gate& gate) {
  const std::string& name = gate.name();
  const std::string value = Figure(gate.value());
  const std::string whole = absl::StrFormat("%.0f", gate.value());
  if (name == "measured.control") return absl::StrCat("control sequences measured: ", whole);
  if (name == "measured.control_kind") {
    return absl::StrCat("control is not of the forgotten text's kind, a reference finds them ",
                        value, " nats a token apart");
  }
  if (name == "measured.control_length") {
    return absl::StrCat("forgotten text and control differ in length by a factor of ", value);
  }
  if (name == "measured.retain") return absl::StrCat("sets of text to keep measured: ", whole);
  if (name == "measured.power") return absl::StrCat("attacks that succeeded before: ", whole);
  if (StartsWith(name, "tickets.")) return absl::StrCat("tickets that fail alone: ", whole);
  if (name == "collateral.control.nll") {
    return absl::StrCat("unseen text of the same kind moved by ", value, " nats a token");
  }
  if (StartsWith(name, "collateral.control.")) {
    return absl::StrCat(Title(name.substr(19)), " of unseen text moved by ", value);
  }
  if (StartsWith(name, "collateral.text.")) {
    return absl::StrCat("text '", name.substr(16), "' moved by ", value, " nats a token");
  }
  if (EndsWith(name, ".likely"))
    return absl::StrCat("one sequence costs only ", value, " nats a token");
  if (EndsWith(name, ".unlikely"))
    return absl::StrCat("one sequence costs ", value, " nats a token");
  if (EndsWith(name, ".below")) {
    return absl::StrCat("the forgotten text is strangely unlikely, ", AttackIn(name), " has AUC ",
                        value);
  }
  if (StartsWith(name, "membership.")) {
    return absl::StrCat(AttackIn(name), " tells it apart with AUC ", value);
  }
  return absl::StrCat(AttackIn(name), " gets ", value,
                      EndsWith(name, ".worst") ? " of one sequence" : " of it on average");
}

// The first gate that failed with this outcome, and how many more did.
std::string FirstOf(const v1::Verdict& verdict, v1::Outcome outcome) {
  const v1::Gate* first = nullptr;
  size_t count = 0;
  for (const v1::Gate& gate : verdict.gates()) {
    if (gate.result() != v1::GATE_RESULT_FAIL || gate.failure() != outcome) continue;
    if (first == nullptr) first = &gate;
    ++count;
  }
  if (first == nullptr) return "";
  const bool whole =
      (StartsWith(first->name(), "measured.") && !StartsWith(first->name(), "measured.control_")) ||
      StartsWith(first->name(), "tickets.");
  std::string text = absl::StrCat(
      Shortly(*first), ", ", first->at_least() ? "at least " : "at most ",
      whole ? absl::StrFormat("%.0f", first->limit()) : Figure(first->limit()), " is wanted");
  if (count > 1)
    absl::StrAppend(&text, "; ", Count(count - 1, "more gate", "more gates"), " failed");
  return text;
}

bool AnyFailed(const v1::Verdict& verdict, v1::Outcome outcome) {
  for (const v1::Gate& gate : verdict.gates()) {
    if (gate.result() == v1::GATE_RESULT_FAIL && gate.failure() == outcome) return true;
  }
  return false;
}

}  // namespace

std::string ComparisonSentence(const Comparison& comparison, const Finding& before,
                               const Finding& after, v1::GateResult result) {
  return absl::StrCat(Found(comparison, before, after), " ",
                      after.at_least ? "At least " : "At most ", Figure(after.limit), " is wanted",
                      after.by_chance ? ", as far as chance alone may carry it" : "", ". ",
                      Meaning(comparison, result));
}

std::string LikelihoodSentence(const std::string& set, double before, double after, double allowed,
                               bool both_ways, bool held) {
  const double share = before > 0 ? 100 * (after - before) / before : 0;
  std::string moved = absl::StrCat(
      set, " cost the model ", Figure(before), " nats a token before and ", Figure(after), " now (",
      before > 0 ? absl::StrFormat("%+.1f %%, ", std::abs(share) < 0.05 ? 0.0 : share) : "",
      "perplexity ", Figure(std::exp(std::min(before, 700.0))), " to ",
      Figure(std::exp(std::min(after, 700.0))), "); ", both_ways ? "a move" : "a rise", " of ",
      Figure(allowed), " is allowed. ");
  if (held) return moved + "It kept its likelihood.";
  return moved + (after > before ? "The model was damaged for text it should have kept."
                                 : "The model learned text it should not have touched.");
}

std::string Count(size_t count, const char* one, const char* many) {
  return absl::StrCat(count, " ", count == 1 ? one : many);
}

std::string Summary(const v1::Verdict& verdict, size_t sequences, size_t tickets,
                    bool nothing_to_forget) {
  const std::string what = absl::StrCat(Count(sequences, "sequence", "sequences"), " of ",
                                        Count(tickets, "ticket", "tickets"));
  switch (verdict.outcome()) {
    case v1::OUTCOME_PASS:
      if (nothing_to_forget) {
        return absl::StrCat("Passed: ", what,
                            " stood out from unseen text neither before nor now, so there was "
                            "nothing to forget, and no other text suffered.");
      }
      return absl::StrCat("Passed: ", what,
                          " no longer stand out from text that the model never saw, and no other "
                          "text suffered.");
    case v1::OUTCOME_NOT_FORGOTTEN:
      return absl::StrCat(
          "Not forgotten: the forgotten text still stands out from text that the "
          "model never saw (",
          FirstOf(verdict, v1::OUTCOME_NOT_FORGOTTEN), ").");
    case v1::OUTCOME_HIDDEN:
      return absl::StrCat(
          "Hidden: what greedy decoding shows is clean, but deeper attacks still tell the "
          "forgotten "
          "text from text that the model never saw (",
          FirstOf(verdict, v1::OUTCOME_HIDDEN), ").");
    case v1::OUTCOME_DESTROYED:
      return absl::StrCat(
          "Destroyed: unlearning went too far or damaged other text (",
          FirstOf(verdict, v1::OUTCOME_DESTROYED), ")",
          AnyFailed(verdict, v1::OUTCOME_NOT_FORGOTTEN) || AnyFailed(verdict, v1::OUTCOME_HIDDEN)
              ? ", and the forgotten text still stands out."
              : ".");
    default:
      return absl::StrCat(
          "Inconclusive: nothing failed, but these measurements cannot show "
          "forgetting without damage (",
          FirstOf(verdict, v1::OUTCOME_INCONCLUSIVE), ").");
  }
}

std::string GuaranteeSentence(const v1::RunRecord& run) {
  if (run.method() == "retrain") {
    return "exact: trained again on its corpus without the forgotten text, from the state before "
           "it "
           "first read any of it; what other text says of the same stays";
  }
  return "approximate: the model has read the forgotten text; what is known of its forgetting is "
         "what "
         "the attacks found";
}

}  // namespace lethe::evidence
