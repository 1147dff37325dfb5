// The pictures: what no single gate shows, and other text.
#include <algorithm>
#include <cmath>
#include <functional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "evidence/report_curves.h"
#include "evidence/report_html_parts.h"
#include "evidence/sentences.h"
#include "evidence/svg_curve.h"
#include "evidence/svg_plot.h"

namespace lethe::evidence {
namespace {

constexpr char kColours[] =
    "<div class=\"legend\"><span><i style=\"background:var(--fb)\"></i>forgotten text, "
    "before</span><span><i style=\"background:var(--fa)\"></i>forgotten text, now</span>"
    "<span><i style=\"background:var(--cb)\"></i>unseen control text, before</span>"
    "<span><i style=\"background:var(--ca)\"></i>unseen control text, now</span></div>";

// A card with a picture: `wide` takes the whole row.
std::string Card(const std::string& title, const std::string& par, const std::string& html,
                 bool wide = false) {
  return absl::StrCat("<div class=\"card", wide ? " wide" : "", "\"><h3>", Escape(title),
                      "</h3><p class=\"par\">", Escape(par), "</p>", html, "</div>");
}

std::string Note(const std::string& text) {
  return absl::StrCat("<p class=\"note\">", Escape(text), "</p>");
}

// The first attack on the model as it is that has such a figure; null: none.
const v1::AttackResult* WithDetail(const v1::Measurements& m, const char* name) {
  for (const v1::AttackResult& a : m.attacks()) {
    if (a.condition().empty() && FindDetail(a, name) != nullptr) return &a;
  }
  return nullptr;
}

std::string ChanceOf(double p) {
  return p < 1e-3 ? absl::StrFormat("%.1e", p) : absl::StrFormat("%.3f", p);
}

// Whether two distributions are one, in words.
std::string KsNote(const v1::AttackDetail& detail, const std::function<double(double)>& place) {
  if (detail.control().after().empty()) return "";
  const auto test = [&](const auto& forgotten, const auto& control) {
    Values f, c;
    for (const double x : forgotten) f.push_back(place(x));
    for (const double x : control) c.push_back(place(x));
    const KsTest ks = KolmogorovSmirnov(std::move(f), std::move(c));
    return absl::StrCat("distance ", Figure(ks.distance), ", p ", ChanceOf(ks.p));
  };
  return Note(absl::StrCat("Forgotten against unseen, Kolmogorov-Smirnov: before ",
                           test(detail.forgotten().before(), detail.control().before()), "; now ",
                           test(detail.forgotten().after(), detail.control().after()),
                           ". Shown, not judged."));
}

std::string ChanceCard(const v1::Measurements& m) {
  const v1::AttackResult* a = WithDetail(m, "log10_p");
  if (a == nullptr) return "";
  const v1::AttackDetail& detail = *FindDetail(*a, "log10_p");
  const v1::BeforeAfter& f = detail.forgotten();
  const v1::BeforeAfter& c = detail.control();
  double lowest = 0;
  StripPlot plot;
  plot.title = "Chance of the exact text, before and now";
  const auto add = [&](const char* label, const auto& list, const char* css) {
    if (list.empty()) return;
    // The mean of logarithms with zeros in it says nothing: the median does.
    StripRow row{.label = label, .values = ValuesOf(list), .css = css, .mean = false};
    lowest = std::min(lowest, Smallest(row.values));
    plot.rows.push_back(std::move(row));
  };
  add("forgotten, before", f.before(), "fb");
  add("forgotten, now", f.after(), "fa");
  add("unseen, before", c.before(), "cb");
  add("unseen, now", c.after(), "ca");
  plot.axis = ChanceAxis(lowest);
  plot.caption = "chance that one drawn answer is the exact text (log scale)";
  std::string medians = "Median chance: forgotten ";
  const auto median = [](const auto& list) {
    const double log = Quantile(ValuesOf(list), 0.5);
    return log < -300 ? std::string("0") : ChanceOf(std::pow(10, log));
  };
  absl::StrAppend(&medians, median(f.before()), " before, ", median(f.after()), " now");
  if (!c.after().empty()) {
    absl::StrAppend(&medians, "; unseen ", median(c.before()), " and ", median(c.after()));
  }
  return Card("The chance that it comes out",
              absl::StrCat(Title(a->attack()), " · computed, not drawn"),
              DrawStrips(plot) + Note(medians + ".") + KsNote(detail, [](double x) { return x; }));
}

// Of the answers somebody has to draw: the share of sequences that come out within so many.
std::string QueriesCard(const v1::Measurements& m) {
  constexpr double kMost = 1e12;
  const v1::AttackResult* a = WithDetail(m, "queries_needed");
  if (a == nullptr) return "";
  const v1::AttackDetail& detail = *FindDetail(*a, "queries_needed");
  double most = 10;
  for (const v1::BeforeAfter* side : {&detail.forgotten(), &detail.control()}) {
    for (const auto* list : {&side->before(), &side->after()}) {
      for (const double q : *list) most = std::max(most, q <= kMost ? q : 0);
    }
  }
  const Axis whole = QueriesAxis(most);
  CurvePlot plot{.title = "Queries needed", .x = whole, .y = LinearAxis(0, 1)};
  plot.x.ticks.pop_back();  // "never" is what a line leaves above itself
  plot.x.high = whole.high / 1.18;
  plot.width = 500;
  plot.height = 230;
  plot.caption = "queries needed to see the whole text once";
  const auto p = a->parameters().find("p");
  if (p != a->parameters().end()) {
    absl::StrAppend(&plot.caption, ", with probability ", Parameter(p->second));
  }
  const auto never = [&](double q) { return q <= 0 || q > kMost; };
  const auto add = [&](const char* label, const auto& list, const char* css) {
    Values places;
    for (const double q : list) {
      if (!never(q)) places.push_back(QueriesPlace(q, whole));
    }
    if (list.empty()) return;
    plot.curves.push_back(
        {label, CumulativeSteps(places, static_cast<size_t>(list.size()), 0, plot.x.high), css});
  };
  add("unseen, before", detail.control().before(), "cb");
  add("unseen, now", detail.control().after(), "ca");
  add("forgotten, before", detail.forgotten().before(), "fb");
  add("forgotten, now", detail.forgotten().after(), "fa");
  const auto reached = [&](const auto& list) {
    return absl::StrCat(list.size() - std::count_if(list.begin(), list.end(), never), " of ",
                        list.size());
  };
  std::string note =
      absl::StrCat("Ever to be seen: forgotten ", reached(detail.forgotten().before()), " before, ",
                   reached(detail.forgotten().after()), " now");
  if (!detail.control().after().empty()) {
    absl::StrAppend(&note, "; unseen ", reached(detail.control().after()), " now");
  }
  return Card("How often one has to ask",
              "share of the sequences that come out within so many queries",
              DrawCurves(plot) + Note(note + ".") +
                  KsNote(detail, [&](double q) { return never(q) ? kMost * 10 : q; }));
}

std::string RangeOf(double auc, const std::optional<Interval>& range) {
  if (!range.has_value())
    return absl::StrCat(Figure(auc), " <span class=\"what\">no interval</span>");
  return absl::StrFormat("%s <span class=\"what\">%.2f to %.2f</span>", Figure(auc), range->low,
                         range->high);
}

std::string MembershipTable(const std::vector<MembershipRow>& rows) {
  std::string out =
      "<table><thead><tr><th>Attack</th><th class=\"num\">AUC before</th>"
      "<th class=\"num\">AUC now</th><th class=\"num\">TPR at 1 % FPR</th></tr></thead><tbody>";
  for (const MembershipRow& row : rows) {
    absl::StrAppend(&out, "<tr><th>", Escape(row.title), "</th><td class=\"num\">",
                    RangeOf(row.before, row.before_range), "</td><td class=\"num\">",
                    RangeOf(row.now, row.now_range), "</td><td class=\"num\">",
                    absl::StrFormat("%.0f %% → %.0f %%", 100 * row.tpr_before, 100 * row.tpr_now),
                    "</td></tr>");
  }
  return out + "</tbody></table>";
}

std::string RocCard(const v1::Measurements& m) {
  const std::vector<MembershipRow> rows = MembershipRows(m);
  const MembershipRow* best = BestMembership(rows);
  if (best == nullptr) return "";
  const v1::AttackResult& a = m.attacks(best->attack);
  CurvePlot plot{
      .title = "ROC of the best membership attack", .x = LinearAxis(0, 1), .y = LinearAxis(0, 1)};
  plot.caption = "share of unseen text taken for training text";
  plot.diagonal = true;
  plot.width = 320;
  plot.height = 290;
  const auto add = [&](const char* label, const auto& f, const auto& c, const char* css) {
    Curve curve{label, {}, css};
    for (const RocPoint& point : RocCurve(ValuesOf(f), ValuesOf(c))) {
      curve.points.push_back({point.false_positives, point.true_positives});
    }
    plot.curves.push_back(std::move(curve));
  };
  add("before", a.forgotten().before(), a.control().before(), "fb");
  add("now", a.forgotten().after(), a.control().after(), "fa");
  return Card(
      "Was it in the training data?",
      absl::StrCat("the best membership attack now: ", best->title,
                   " · share of the forgotten text recognised, before and now"),
      absl::StrCat(
          "<div class=\"pair\">", DrawCurves(plot), "<div>", MembershipTable(rows),
          Note(
              "AUC 0.5 is a guess; far below 0.5 names the forgotten text as well. TPR at 1 % FPR: "
              "the share of the forgotten text recognised where one in a hundred unseen texts is "
              "taken for it. Intervals: 95 %, "
              "bootstrap of 2,000 resamples with a fixed generator; where the two sides do not "
              "overlap, by the chance of that."),
          "</div></div>"),
      true);
}

std::string ChangedTable(const RoundingTable& table) {
  std::string out =
      "<table><thead><tr><th>Rounded to</th><th class=\"num\">Weights that differ</th>"
      "<th class=\"num\">Found before</th><th class=\"num\">Now</th><th class=\"num\">Unseen</th>"
      "</tr></thead><tbody>";
  for (const RoundingRow& row : table.rows) {
    const std::string changed =
        row.changed.has_value()
            ? absl::StrFormat(*row.changed < 0.01 ? "%.2f %%" : "%.0f %%", 100 * *row.changed)
            : "–";
    absl::StrAppend(&out, "<tr><th>", Escape(row.title), "</th><td class=\"num\">", changed,
                    "</td><td class=\"num\">", Figure(row.before), "</td><td class=\"num\">",
                    Figure(row.now), "</td><td class=\"num\">", Figure(row.control), "</td></tr>");
  }
  return out + "</tbody></table>";
}

std::string RoundingCard(const v1::Measurements& m) {
  const RoundingTable table = Roundings(m);
  if (table.rows.empty()) return "";
  std::vector<TripleBar> bars;
  for (const RoundingRow& row : table.rows) {
    bars.push_back({row.title, row.before, row.now, row.control});
  }
  return Card(
      "When the weights are rounded",
      absl::StrCat(table.attack, " · mean score of forgotten and unseen text"),
      absl::StrCat("<div class=\"pair\">",
                   DrawTripleBars("What rounding brings back", bars,
                                  "from above: forgotten before, now; unseen now"),
                   "<div>", ChangedTable(table),
                   Note("Weights that differ: the share whose rounded value is another than "
                        "that of the rounded model before. With next to none the two are "
                        "the same model, whatever unlearning did."),
                   "</div></div>"),
      true);
}

std::string RelearningPlot(const RelearnCurve& curve) {
  CurvePlot plot{.title = absl::StrCat("Taught ", curve.title),
                 .x = StepsAxis(curve.steps),
                 .y = LinearAxis(0, 1)};
  plot.caption = "steps";
  plot.width = 230;
  plot.height = 190;
  const auto add = [&](const char* label, const Values& values, const char* css) {
    Curve line{label, {}, css, true};
    for (size_t i = 0; i < values.size(); ++i) {
      line.points.push_back({StepsPlace(curve.steps[i]), values[i]});
    }
    plot.curves.push_back(std::move(line));
  };
  add("forgotten, model before", curve.forgotten_before, "fb faint");
  add("unseen, now", curve.control_now, "ca");
  add("forgotten, now", curve.forgotten_now, "fa");
  if (curve.text == Relearned::kSame) plot.level = 0.5;
  std::string note = curve.text == Relearned::kSame
                         ? RelearningLead(curve)
                         : absl::StrCat("Now ", Figure(curve.forgotten_now.back()));
  if (curve.text != Relearned::kSame) {
    if (!curve.control_now.empty()) {
      absl::StrAppend(&note, ", unseen ", Figure(curve.control_now.back()));
    }
    absl::StrAppendFormat(&note, " after %.0f steps.", curve.steps.back());
  }
  return absl::StrCat("<div><h4>On ", Escape(curve.title), "</h4>", DrawCurves(plot),
                      Note(note + (curve.judged ? "" : " Shown, not judged.")), "</div>");
}

std::string RelearningCard(const v1::Measurements& m) {
  const std::vector<RelearnCurve> curves = RelearnCurves(m);
  if (curves.empty()) return "";
  std::string plots = "<div class=\"small\">";
  for (const RelearnCurve& curve : curves) absl::StrAppend(&plots, RelearningPlot(curve));
  return Card("When it is taught a few steps",
              absl::StrCat(curves[0].attack,
                           " · mean score of forgotten and of unseen text; dashed: the forgotten "
                           "under the model before",
                           m.relearning_rate() > 0
                               ? absl::StrCat(" · step size ", Parameter(m.relearning_rate()))
                               : ""),
              plots + "</div>", true);
}

}  // namespace

std::string Legend() { return kColours; }

std::string Pictures(const ReportView& view) {
  const v1::Measurements& m = view.m();
  const std::string cards =
      absl::StrCat(ChanceCard(m), QueriesCard(m), RocCard(m), RelearningCard(m), RoundingCard(m));
  if (cards.empty()) return "";
  return absl::StrCat(
      "<h2>The evidence in pictures</h2><p class=\"lead\">Forgetting means that blue lies where "
      "grey lies.</p>",
      Legend(), "<div class=\"grid\">", cards, "</div>");
}

std::string OtherText(const ReportView& view) {
  std::vector<BarPair> bars;
  std::vector<GateRow> shown, folded;
  for (const GateRow& row : view.collateral) {
    const bool failed = row.gate.result() == v1::GATE_RESULT_FAIL;
    (failed || row.figure == "NLL a token" ? shown : folded).push_back(row);
    if (row.gate.name() == "collateral.control.nll") {
      const double before = Mean(ValuesOf(view.m().control_nll().before()));
      bars.push_back({"unseen control", before, Mean(ValuesOf(view.m().control_nll().after())),
                      before + row.gate.limit(), failed});
    }
    for (const v1::TextUtility& u : view.m().utility()) {
      if (row.gate.name() != absl::StrCat("collateral.text.", u.name())) continue;
      bars.push_back({u.name().substr(0, 17), u.nll_before(), u.nll_after(),
                      u.nll_before() + row.gate.limit(), failed});
    }
  }
  if (view.collateral.empty()) return "";
  std::string gates = GateList(shown);
  if (!folded.empty()) {
    absl::StrAppend(&gates, Fold(absl::StrCat("What ", Count(folded.size(), "attack", "attacks"),
                                              " found in unseen text, before and now"),
                                 GateList(folded)));
  }
  return absl::StrCat(
      "<h2>What it cost other text</h2><p class=\"lead\">Unlearning that damages the whole kind of "
      "text hides the forgotten by breaking everything. So text that was never trained on must "
      "stay where it was, and text to keep must stay as familiar as before.</p><div class=\"grid "
      "low\"><div class=\"card\">",
      DrawBars("Likelihood of other text before and after", bars), "</div><div class=\"card\">",
      gates, "</div></div>");
}

}  // namespace lethe::evidence
