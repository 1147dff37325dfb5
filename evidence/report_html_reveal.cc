// The forgotten text itself, beside what each record gave away: only for who brought it.
#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "evidence/report_html_parts.h"
#include "evidence/sentences.h"
#include "evidence/svg_plot.h"

namespace lethe::evidence {
namespace {

// Spans are counted in these: bytes of a text, positions in ids.
class Pieces {
 public:
  explicit Pieces(const v1::Target& target) : target_(target) {}
  int size() const {
    return is_ids() ? target_.ids().ids_size() : static_cast<int>(words().size());
  }
  std::string Html(int begin, int end) const {
    begin = std::clamp(begin, 0, size());
    end = std::clamp(end, begin, size());
    if (!is_ids()) return Escape(words().substr(begin, end - begin));
    const auto& ids = target_.ids().ids();
    return absl::StrJoin(ids.begin() + begin, ids.begin() + end, " ");
  }
  std::string_view gap() const { return is_ids() ? " " : ""; }

 private:
  bool is_ids() const { return target_.has_ids(); }
  const std::string& words() const {
    return target_.has_prompt_answer() ? target_.prompt_answer().answer() : target_.text();
  }
  const v1::Target& target_;
};

std::string TextHtml(const v1::Target& target) {
  const Pieces pieces(target);
  std::string out;
  if (target.has_prompt_answer()) {
    out = absl::StrCat("<span class=\"par\">", Escape(target.prompt_answer().prompt()), "</span>");
  }
  int at = 0;
  for (const v1::Span& span : target.sensitive_spans()) {
    absl::StrAppend(&out, pieces.Html(at, span.begin()), std::string(pieces.gap()), "<mark>",
                    pieces.Html(span.begin(), span.end()), "</mark>", std::string(pieces.gap()));
    at = std::max(at, span.end());
  }
  return out + pieces.Html(at, pieces.size());
}

// "0.98 → 0.10" of one record; empty where it was not measured.
std::string Change(const v1::BeforeAfter& figures, int record) {
  if (record >= figures.before_size() || record >= figures.after_size()) return "";
  return absl::StrCat(Figure(figures.before(record)), " → ", Figure(figures.after(record)));
}

// The judged extraction that got most of the record out of the candidate.
const AttackView* Strongest(const ReportView& view, int record) {
  const AttackView* strongest = nullptr;
  double most = -1;
  for (const AttackView& attack : view.attacks) {
    if (attack.attack < 0) continue;
    const v1::AttackResult& result = view.m().attacks(attack.attack);
    if (result.family() != v1::ATTACK_FAMILY_EXTRACTION || result.report_only()) continue;
    if (record >= result.forgotten().after_size()) continue;
    if (result.forgotten().after(record) <= most) continue;
    most = result.forgotten().after(record);
    strongest = &attack;
  }
  return strongest;
}

}  // namespace

std::string RevealedText(const ReportView& view, std::span<const v1::Target> targets) {
  if (targets.empty()) return "";
  const v1::Measurements& m = view.m();
  std::string out =
      "<h2>The forgotten text</h2><p class=\"lead\">No report holds it: whoever asked for this "
      "page "
      "brought it, and it was put in on their machine. Keep the page as you would keep the text. "
      "What identifies the person is marked, a prompt is grey.</p><div class=\"scroll\"><table>"
      "<thead><tr><th class=\"num\">Record</th><th>Text</th><th class=\"num\">Tokens</th>"
      "<th class=\"num\">NLL a token</th><th>Most recovered, before → now</th></tr></thead><tbody>";
  for (int i = 0; i < m.forgotten_size(); ++i) {
    const AttackView* strongest = Strongest(view, i);
    absl::StrAppend(
        &out, "<tr><td class=\"num\">", i + 1, "</td><td class=\"revealed\">", TextHtml(targets[i]),
        "</td><td class=\"num\">", m.forgotten(i).tokens(), "</td><td class=\"num\">",
        Change(m.forgotten_nll(), i), "</td><td>",
        strongest == nullptr
            ? std::string("–")
            : absl::StrCat(Change(m.attacks(strongest->attack).forgotten(), i),
                           "<span class=\"what\">", Escape(strongest->title), "</span>"),
        "</td></tr>");
  }
  return out + "</tbody></table></div>";
}

}  // namespace lethe::evidence
