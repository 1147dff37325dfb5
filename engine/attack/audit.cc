#include "engine/attack/audit.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <system_error>

#include "engine/attack_cost.h"

namespace lethe {
namespace {

absl::Status Refused(std::string_view reason, std::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message);
}

bool HaveSpans(std::span<const Sequence> sequences) {
  return std::all_of(sequences.begin(), sequences.end(), [](const Sequence& s) {
    return !s.sensitive.empty() && s.sensitive.back().end > 1;
  });
}

absl::StatusOr<AuditRow> RowOf(const AttackSpec& spec) {
  const AttackEntry* entry = FindAttack(spec.attack);
  if (entry == nullptr) return Refused("UNKNOWN_ATTACK", "there is no such attack");
  AuditRow row;
  LETHE_ASSIGN_OR_RETURN(row.condition, ParseCondition(spec.condition));
  if (const auto wrong = CheckParameters(entry->parameters, spec.overrides)) {
    return Refused("BAD_PARAMETER", *wrong);
  }
  const bool as_is = row.condition.kind == ModelCondition::Kind::kAsIs;
  row.attack = FindAttackFunction(entry->name);
  row.outcome = {.attack = std::string(entry->name),
                 .condition = row.condition.Name(),
                 .parameters = ResolveParameters(entry->parameters, {}, spec.overrides),
                 .family = entry->family,
                 .reach = as_is ? entry->reach : AttackReach::kDeeper,
                 .report_only = spec.report_only};
  return row;
}

std::vector<size_t> All(size_t count) {
  std::vector<size_t> indexes(count);
  std::iota(indexes.begin(), indexes.end(), 0);
  return indexes;
}

AttackDetail& DetailOf(AttackOutcome& outcome, const std::string& name) {
  for (AttackDetail& detail : outcome.details) {
    if (detail.name == name) return detail;
  }
  outcome.details.push_back({.name = name});
  return outcome.details.back();
}

// values[i] goes to place indexes[i] of a list that has `size` in the end.
void Scatter(const std::vector<double>& values, const std::vector<size_t>& indexes, size_t size,
             std::vector<double>& out) {
  out.resize(size);
  for (size_t i = 0; i < values.size(); ++i) out[indexes[i]] = values[i];
}

}  // namespace

absl::StatusOr<Audit> MakeAudit(const AttackRequest& request) {
  if (request.forgotten.empty()) {
    return Refused("NOTHING_TO_ATTACK", "no forgotten sequence was given");
  }
  if (request.control.empty()) {
    return Refused("NOTHING_TO_COMPARE_WITH", "no control sequence was given");
  }
  Audit audit{.request = request};
  for (const AttackSpec& spec : request.plan) {
    LETHE_ASSIGN_OR_RETURN(audit.rows.emplace_back(), RowOf(spec));
  }
  audit.report.on_spans = HaveSpans(request.forgotten) && HaveSpans(request.control);
  for (AuditRow& row : audit.rows) row.outcome.on_spans = audit.report.on_spans;
  std::error_code none;
  if (std::filesystem::exists(request.base_folder / "tokenizer.json", none)) {
    // One that cannot be read is as good as none: attacks on text say so, the others go on.
    if (auto tokenizer = Tokenizer::Load(request.base_folder); tokenizer.ok()) {
      audit.tokenizer = *std::move(tokenizer);
    }
  }
  return audit;
}

AttackContext ContextOf(const Audit& audit) {
  AttackContext context{.tokenizer = audit.tokenizer.has_value() ? &*audit.tokenizer : nullptr,
                        .forgotten = audit.request.forgotten,
                        .control = audit.request.control};
  for (const NamedText& text : audit.request.texts) {
    if (text.name == "retain") context.kept = text.sequences;
  }
  return context;
}

Aim WholeAim(const AttackRequest& request) {
  return {All(request.forgotten.size()), All(request.control.size())};
}

void SetBudget(Audit& audit) {
  const AttackRequest& request = audit.request;
  AuditSize size{.forgotten = SizeOf(request.forgotten), .control = SizeOf(request.control)};
  for (const NamedText& text : request.texts) {
    if (text.name == "control") continue;
    (text.name == "retain" ? size.retain : size.others) += SizeOf(text.sequences);
  }
  std::vector<PlannedAttack> plan;
  for (const AuditRow& row : audit.rows) {
    plan.push_back({row.outcome.attack, row.outcome.parameters, row.outcome.condition});
  }
  // What a row costs hangs on those that share with it.
  for (;;) {
    const std::vector<AttackCost> costs = CostOfAudit(plan, size);
    int64_t all = 0;
    for (size_t i = 0; i < plan.size(); ++i) {
      int64_t& expected = audit.rows[i].outcome.expected_forward_tokens;
      expected = costs[i].ForwardTokens();
      all += std::min(expected, std::numeric_limits<int64_t>::max() - all);
    }
    if (plan.empty() || request.max_forward_tokens <= 0 || all <= request.max_forward_tokens) break;
    plan.pop_back();
    audit.rows[plan.size()].left_out = "BUDGET";
  }
}

void Place(const PartResult& part, const Aim& aim, Side side, const AttackRequest& request,
           AuditRow& row) {
  if (!part.not_applicable.empty()) {
    row.left_out = part.not_applicable;
    return;
  }
  AttackOutcome& outcome = row.outcome;
  const auto figures = FiguresOf(side);
  // Where only some controls can be compared with, their lists hold these alone.
  const bool some = !outcome.control_indexes.empty();
  const std::vector<size_t> places = some ? All(aim.control.size()) : aim.control;
  const size_t controls = some ? aim.control.size() : request.control.size();
  const auto place = [&](const std::vector<double>& forgotten, const std::vector<double>& control,
                         BeforeAfter& of_forgotten, BeforeAfter& of_control) {
    Scatter(forgotten, aim.forgotten, request.forgotten.size(), of_forgotten.*figures);
    Scatter(control, places, controls, of_control.*figures);
  };
  place(part.forgotten, part.control, outcome.forgotten, outcome.control);
  for (const auto& [name, values] : part.details) {
    AttackDetail& detail = DetailOf(outcome, name);
    place(values.forgotten, values.control, detail.forgotten, detail.control);
  }
  outcome.forward_tokens += part.forward_tokens;
  outcome.seconds += part.seconds;
}

AttackReport TakeReport(Audit audit) {
  for (AuditRow& row : audit.rows) {
    if (row.left_out.empty()) {
      audit.report.attacks.push_back(std::move(row.outcome));
      continue;
    }
    audit.report.left_out.push_back(
        {.attack = row.outcome.attack,
         .condition = row.outcome.condition,
         .reason = row.left_out,
         .expected_forward_tokens = row.outcome.expected_forward_tokens});
  }
  return std::move(audit.report);
}

}  // namespace lethe
