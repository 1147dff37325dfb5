// The attacks one by one: cards for the model as it is, tables for rounded and taught models.
#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "evidence/report_families.h"
#include "evidence/report_html_parts.h"
#include "evidence/sentences.h"
#include "evidence/svg_plot.h"

namespace lethe::evidence {
namespace {

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
  switch (attack.family()) {
    case v1::ATTACK_FAMILY_MEMBERSHIP:
    case v1::ATTACK_FAMILY_DIAGNOSTIC:
      plot.axis = AxisOf(plot);
      plot.caption = "score: the further right, the more like training text";
      return DrawStrips(plot);
    case v1::ATTACK_FAMILY_EXTRACTION:
      plot.caption = "share of the text that came out, or the chance that it does";
      break;
    default:
      plot.caption = "share of the text that the model continues by itself";
  }
  plot.axis = LinearAxis(0, 1);
  for (const GateRow& row : view.rows) {
    if (row.figure == "mean") plot.lines.push_back({row.gate.limit(), "most the mean may be"});
  }
  return DrawStrips(plot);
}

const char* FamilyTitle(const AttackView& view, const v1::Measurements& m) {
  if (view.attack < 0) return "likelihood";
  switch (m.attacks(view.attack).family()) {
    case v1::ATTACK_FAMILY_EXTRACTION:
      return "extraction";
    case v1::ATTACK_FAMILY_MEMBERSHIP:
      return "membership";
    case v1::ATTACK_FAMILY_MEMORISATION:
      return "memorisation";
    default:
      return "diagnostic";
  }
}

std::string FoldOfGates(const AttackView& view) {
  if (view.rows.empty()) return "";
  return Fold(absl::StrCat("What its ", view.rows.size() == 1 ? "gate says" : "gates say"),
              GateList(view.rows), view.standing == Standing::kFail);
}

std::string DetailCells(const v1::BeforeAfter& pair) {
  std::string out;
  for (const auto* list : {&pair.before(), &pair.after()}) {
    absl::StrAppend(&out, "<td class=\"num\">",
                    list->empty() ? "" : Figure(Quantile(ValuesOf(*list), 0.5)), "</td>");
  }
  return out;
}

// Medians: a few details have a value that stands for "never".
std::string FoldOfDetails(const AttackView& view, const v1::Measurements& m) {
  if (view.attack < 0 || m.attacks(view.attack).details().empty()) return "";
  std::string table =
      "<table><thead><tr><th>Median of</th><th class=\"num\">before</th><th class=\"num\">now</th>"
      "<th class=\"num\">unseen, before</th><th class=\"num\">now</th></tr></thead><tbody>";
  for (const v1::AttackDetail& detail : m.attacks(view.attack).details()) {
    absl::StrAppend(&table, "<tr><td><code>", Escape(detail.name()), "</code></td>",
                    DetailCells(detail.forgotten()), DetailCells(detail.control()), "</tr>");
  }
  return Fold("Further figures", table + "</tbody></table>");
}

std::string AttackCard(const AttackView& attack, const v1::Measurements& m) {
  const std::string note =
      attack.attack >= 0 && attack.rows.empty() ? " · measured and shown, not judged" : "";
  return absl::StrCat("<div class=\"card\"><div class=\"top\"><h3>", Escape(attack.title), "</h3>",
                      StandingTag(attack.standing), "</div><p class=\"par\">",
                      FamilyTitle(attack, m), attack.parameters.empty() ? "" : " · ",
                      Escape(attack.parameters), note, "</p>", PlotOf(attack, m),
                      FoldOfGates(attack), FoldOfDetails(attack, m), "</div>");
}

// --- conditions ----------------------------------------------------------------------------------

struct Column {
  ModelCondition condition;
  std::string title;
};

// One table: a row an attack, a column a condition.
struct Matrix {
  std::string title, lead;
  std::vector<Column> columns;
  std::vector<std::string> names;  // of attacks, in the plan's order
  std::map<std::pair<std::string, std::string>, const AttackView*> cells;  // by name and condition
  std::vector<const AttackView*> attacks;
};

void AddToMatrix(const AttackView& attack, Matrix& matrix) {
  const std::string condition = attack.condition.Name();
  const bool as_it_is = condition.empty();
  const auto known = [&](const Column& c) { return c.condition == attack.condition; };
  if (std::none_of(matrix.columns.begin(), matrix.columns.end(), known)) {
    matrix.columns.push_back({attack.condition, ShortTitle(attack.condition)});
  }
  if (std::find(matrix.names.begin(), matrix.names.end(), attack.name) == matrix.names.end()) {
    matrix.names.push_back(attack.name);
  }
  matrix.cells[{attack.name, condition}] = &attack;
  if (!as_it_is) matrix.attacks.push_back(&attack);
}

template <typename Belongs>
Matrix MatrixOf(const ReportView& view, Belongs belongs) {
  Matrix matrix;
  for (const AttackView& attack : view.attacks) {
    if (attack.attack >= 0 && belongs(attack.condition)) AddToMatrix(attack, matrix);
  }
  std::stable_sort(matrix.columns.begin(), matrix.columns.end(),
                   [](const Column& a, const Column& b) {
                     const auto rank = [](const ModelCondition& c) {
                       return std::tuple(c.steps, -c.bits, c.group);
                     };
                     return rank(a.condition) < rank(b.condition);
                   });
  if (matrix.columns.empty()) return matrix;
  matrix.columns.insert(matrix.columns.begin(), Column{{}, "as it is"});
  for (const AttackView& attack : view.attacks) {
    const bool row =
        std::find(matrix.names.begin(), matrix.names.end(), attack.name) != matrix.names.end();
    if (attack.attack >= 0 && row && attack.condition == ModelCondition{}) {
      matrix.cells[{attack.name, ""}] = &attack;
    }
  }
  return matrix;
}

std::string Cell(const AttackView* attack) {
  if (attack == nullptr) return "<td class=\"num none\">–</td>";
  const char* css = attack->standing == Standing::kFail      ? " bad"
                    : attack->standing == Standing::kNoPower ? " weak"
                                                             : "";
  const std::string unseen =
      attack->control_after.empty() ? "AUC" : absl::StrCat("unseen ", attack->control_after);
  return absl::StrCat("<td class=\"num", css, "\">", attack->after, "<span class=\"what\">", unseen,
                      "</span><span class=\"what\">before ", attack->before, "</span></td>");
}

std::string MatrixTable(const Matrix& matrix) {
  std::string out = absl::StrCat("<h3 class=\"of\">", Escape(matrix.title),
                                 "</h3><div class=\"scroll\"><table class=\"matrix\"><thead><tr>"
                                 "<th>Attack</th>");
  for (const Column& column : matrix.columns) {
    absl::StrAppend(&out, "<th class=\"num\">", Escape(column.title), "</th>");
  }
  absl::StrAppend(&out, "</tr></thead><tbody>");
  for (const std::string& name : matrix.names) {
    absl::StrAppend(&out, "<tr><th>", Escape(name), "</th>");
    for (const Column& column : matrix.columns) {
      const auto cell = matrix.cells.find({name, column.condition.Name()});
      absl::StrAppend(&out, Cell(cell == matrix.cells.end() ? nullptr : cell->second));
    }
    absl::StrAppend(&out, "</tr>");
  }
  absl::StrAppend(&out, "</tbody></table></div>");
  std::vector<GateRow> rows;
  for (const AttackView* attack : matrix.attacks) {
    rows.insert(rows.end(), attack->rows.begin(), attack->rows.end());
  }
  if (rows.empty()) return out + "<p class=\"note\">Measured and shown, not judged.</p>";
  return out + Fold(absl::StrCat("What the ", rows.size(), " gates say"), GateList(rows));
}

}  // namespace

std::string GateList(const std::vector<GateRow>& rows) {
  std::string out = "<ul>";
  for (const GateRow& row : rows) {
    absl::StrAppend(&out, "<li>", ResultTag(row.gate.result()), "<span>",
                    Escape(row.gate.sentence()), "</span></li>");
  }
  return out + "</ul>";
}

std::string AttackCards(const ReportView& view) {
  std::string out = absl::StrCat(
      "<h2>Each attack on the model as it is</h2><p class=\"lead\">One dot is one sequence, the "
      "upright mark the mean. Where a row is long, 240 dots stand for all.</p>",
      Legend(), "<div class=\"grid\">");
  for (const AttackView& attack : view.attacks) {
    if (attack.condition == ModelCondition{}) absl::StrAppend(&out, AttackCard(attack, view.m()));
  }
  return out + "</div>";
}

std::string ConditionTables(const ReportView& view) {
  std::vector<Matrix> matrices;
  const auto add = [&](const std::string& title, auto belongs) {
    Matrix matrix = MatrixOf(view, belongs);
    matrix.title = title;
    if (!matrix.columns.empty()) matrices.push_back(std::move(matrix));
  };
  add("Weights rounded",
      [](const ModelCondition& c) { return c.kind == ModelCondition::Kind::kQuantised; });
  const auto taught = [&](const char* title, Relearned text) {
    add(title, [text](const ModelCondition& c) {
      return c.kind == ModelCondition::Kind::kRelearned && c.text == text;
    });
  };
  taught("Taught half of the forgotten text, asked for the other half", Relearned::kHalf);
  taught("Taught other text of the kind", Relearned::kRelated);
  taught("Taught unrelated text", Relearned::kUnrelated);
  taught("Taught the text itself, and as much unseen text", Relearned::kSame);
  if (matrices.empty()) return "";
  std::string out =
      "<h2>The same attacks under conditions</h2><p class=\"lead\">Both models are treated alike "
      "first. A cell shows what is found now, below it unseen text now and the forgotten text "
      "before unlearning. Red: a gate failed. Grey: there was nothing to find before either.</p>";
  for (const Matrix& matrix : matrices) absl::StrAppend(&out, MatrixTable(matrix));
  return out;
}

}  // namespace lethe::evidence
