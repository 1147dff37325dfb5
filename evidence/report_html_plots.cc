// The sections with plots: attacks and other text.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "evidence/report_html_parts.h"
#include "evidence/svg_plot.h"

namespace lethe::evidence {
namespace {

template <typename List>
Values ValuesOf(const List& list) {
  return Values(list.begin(), list.end());
}

constexpr char kLegend[] =
    "<div class=\"legend\"><span><i style=\"background:var(--fb)\"></i>forgotten text, "
    "before</span>"
    "<span><i style=\"background:var(--fa)\"></i>forgotten text, now</span>"
    "<span><i style=\"background:var(--cb)\"></i>unseen control text, before</span>"
    "<span><i style=\"background:var(--ca)\"></i>unseen control text, now</span>"
    "<span>One dot is one sequence; the upright mark is the mean. Where a row is long, 240 dots "
    "stand "
    "for all.</span></div>";

StripPlot FourRows(const std::string& title, const v1::BeforeAfter& forgotten,
                   const v1::BeforeAfter& control) {
  StripPlot plot;
  plot.title = title;
  plot.rows = {{"forgotten, before", ValuesOf(forgotten.before()), "fb"},
               {"forgotten, now", ValuesOf(forgotten.after()), "fa"},
               {"unseen, before", ValuesOf(control.before()), "cb"},
               {"unseen, now", ValuesOf(control.after()), "ca"}};
  return plot;
}

// The axis that holds every dot of the plot.
Axis AxisOf(const StripPlot& plot) {
  double low = 1e300;
  double high = -1e300;
  for (const StripRow& row : plot.rows) {
    if (row.values.empty()) continue;
    low = std::min(low, Smallest(row.values));
    high = std::max(high, Largest(row.values));
  }
  return LinearAxis(low, high);
}

std::string QueriesPlot(const v1::AttackResult& attack) {
  const v1::AttackDetail* detail = FindDetail(attack, "queries_needed");
  if (detail == nullptr) return "";
  const v1::BeforeAfter& q = detail->forgotten();
  double most = 1;
  for (double x : q.before()) most = std::max(most, x);
  for (double x : q.after()) most = std::max(most, x);
  StripPlot plot;
  plot.title = "Queries needed to see the forgotten text";
  plot.axis = QueriesAxis(most);
  plot.caption = "queries needed to see the whole text once";
  const auto p = attack.parameters().find("p");
  if (p != attack.parameters().end()) {
    absl::StrAppend(&plot.caption, ", with probability ", Parameter(p->second));
  }
  for (const auto& [label, list, css] : {std::tuple{"forgotten, before", &q.before(), "fb"},
                                         std::tuple{"forgotten, now", &q.after(), "fa"}}) {
    StripRow row{label, {}, css, false};
    for (double x : *list) row.values.push_back(QueriesPlace(x, plot.axis));
    plot.rows.push_back(std::move(row));
  }
  return DrawStrips(plot);
}

std::string PlotOf(const AttackView& view, const v1::Measurements& m) {
  if (view.attack < 0) {
    StripPlot plot = FourRows("Likelihood", m.forgotten_nll(), m.control_nll());
    plot.axis = AxisOf(plot);
    plot.axis = LinearAxis(0, plot.axis.high);
    plot.caption = "nats a token: the further left, the more familiar to the model";
    return DrawStrips(plot);
  }
  const v1::AttackResult& attack = m.attacks(view.attack);
  StripPlot plot = FourRows(view.title, attack.forgotten(), attack.control());
  if (attack.family() == v1::ATTACK_FAMILY_MEMBERSHIP) {
    plot.axis = AxisOf(plot);
    plot.caption = "score: the further right, the more like training text";
  } else {
    plot.axis = LinearAxis(0, 1);
    plot.caption = attack.family() == v1::ATTACK_FAMILY_EXTRACTION
                       ? "share of the text that came out"
                       : "share of the text that the model continues by itself";
    for (const GateRow& row : view.rows) {
      if (row.figure == "mean") plot.lines.push_back({row.gate.limit(), "most the mean may be"});
    }
  }
  return DrawStrips(plot) + QueriesPlot(attack);
}

std::string GateList(const std::vector<GateRow>& rows) {
  std::string out = "<ul>";
  for (const GateRow& row : rows) {
    absl::StrAppend(&out, "<li>", ResultTag(row.gate.result()), "<span>",
                    Escape(row.gate.sentence()), "</span></li>");
  }
  return out + "</ul>";
}

const char* FamilyTitle(const AttackView& view, const v1::Measurements& m) {
  if (view.attack < 0) return "likelihood";
  switch (m.attacks(view.attack).family()) {
    case v1::ATTACK_FAMILY_EXTRACTION:
      return "extraction";
    case v1::ATTACK_FAMILY_MEMBERSHIP:
      return "membership";
    default:
      return "memorisation";
  }
}

// The worst result of a card's gates stands at its top.
v1::GateResult WorstOf(const std::vector<GateRow>& rows) {
  bool power = false;
  for (const GateRow& row : rows) {
    if (row.gate.result() == v1::GATE_RESULT_FAIL) return v1::GATE_RESULT_FAIL;
    power |=
        row.gate.result() == v1::GATE_RESULT_PASS && row.gate.failure() != v1::OUTCOME_DESTROYED;
  }
  return power ? v1::GATE_RESULT_PASS : v1::GATE_RESULT_NO_POWER;
}

}  // namespace

std::string AttackCards(const ReportView& view) {
  if (view.attacks.empty()) return "";
  std::string out = absl::StrCat(
      "<h2>What an attacker gets</h2><p class=\"lead\">Each attack ran on the forgotten text and "
      "on "
      "text of the same kind that the model never saw, with the model before and with the "
      "candidate. "
      "Forgetting means that the blue row looks like the grey rows below it.</p>",
      kLegend, "<div class=\"grid\">");
  for (const AttackView& attack : view.attacks) {
    absl::StrAppend(&out, "<div class=\"card\"><div class=\"top\"><h3>", Escape(attack.title),
                    "</h3>", ResultTag(WorstOf(attack.rows)), "</div><p class=\"par\">",
                    FamilyTitle(attack, view.m()), attack.parameters.empty() ? "" : " · ",
                    Escape(attack.parameters), "</p>", PlotOf(attack, view.m()),
                    GateList(attack.rows), "</div>");
  }
  return out + "</div>";
}

std::string OtherText(const ReportView& view) {
  std::vector<BarPair> bars;
  std::vector<GateRow> rows;
  for (const GateRow& row : view.collateral) {
    rows.push_back(row);
    if (row.gate.name() == "collateral.control.nll") {
      const double before = Mean(ValuesOf(view.m().control_nll().before()));
      bars.push_back({"unseen control", before, Mean(ValuesOf(view.m().control_nll().after())),
                      before + row.gate.limit(), row.gate.result() == v1::GATE_RESULT_FAIL});
    }
    for (const v1::TextUtility& u : view.m().utility()) {
      if (row.gate.name() != absl::StrCat("collateral.text.", u.name())) continue;
      bars.push_back({u.name().substr(0, 17), u.nll_before(), u.nll_after(),
                      u.nll_before() + row.gate.limit(),
                      row.gate.result() == v1::GATE_RESULT_FAIL});
    }
  }
  if (rows.empty()) return "";
  return absl::StrCat(
      "<h2>What it cost other text</h2><p class=\"lead\">Unlearning that damages the whole kind of "
      "text hides the forgotten by breaking everything. So text that was never trained on must "
      "stay "
      "where it was, and text to keep must stay as familiar as before.</p><div class=\"grid low\">"
      "<div class=\"card\">",
      DrawBars("Likelihood of other text before and after", bars), "</div><div class=\"card\">",
      GateList(rows), "</div></div>");
}

}  // namespace lethe::evidence
