#include "engine/attack/conditioned_model.h"

#include <algorithm>
#include <chrono>

#include "engine/metric/span_score.h"

namespace lethe {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr size_t kPart = 32;

std::vector<Sequence> Chosen(const std::vector<Sequence>& all, const std::vector<size_t>& which) {
  std::vector<Sequence> chosen;
  chosen.reserve(which.size());
  for (const size_t i : which) chosen.push_back(all[i]);
  return chosen;
}

// What the plan draws by, so that one pass reads it all. An attack that has both cuts looks at each
// alone, and at none.
std::vector<SamplingScheme> SchemesOf(const std::vector<AuditRow>& rows) {
  std::vector<SamplingScheme> schemes;
  const auto add = [&](const SamplingScheme& scheme) {
    if (std::find(schemes.begin(), schemes.end(), scheme) == schemes.end()) {
      schemes.push_back(scheme);
    }
  };
  for (const AuditRow& row : rows) {
    const ParameterValues& values = row.outcome.parameters;
    const auto temperature = values.find("temperature");
    if (temperature == values.end()) continue;
    const auto top_k = values.find("top_k"), top_p = values.find("top_p");
    const double t = temperature->second;
    if (top_p != values.end()) {
      add({.temperature = t});
      add({.temperature = t, .top_p = top_p->second});
    }
    if (top_k != values.end()) {
      add({.temperature = t, .top_k = static_cast<int64_t>(top_k->second)});
    }
  }
  return schemes;
}

void Append(const std::vector<double>& from, std::vector<double>& to) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

ConditionedModel::ConditionedModel(const LanguageModel& model, const Audit& audit, const Aim& aim)
    : model_(model),
      audit_(audit),
      context_(ContextOf(audit)),
      forgotten_(Chosen(audit.request.forgotten, aim.forgotten)),
      control_(Chosen(audit.request.control, aim.control)) {
  const std::vector<SamplingScheme> schemes = SchemesOf(audit.rows);
  const auto add = [&](std::span<const Sequence> sequences, const std::vector<double>& base,
                       std::span<const size_t> indexes) {
    Part& part = parts_.emplace_back(
        Part{sequences, TeacherForced(model_, sequences, schemes, /*kept_bytes=*/0),
             std::vector<double>()});
    if (base.empty()) return;
    for (const size_t i : indexes) part.base_nll.push_back(base[i]);
  };
  add(forgotten_, audit.report.forgotten_nll.before, aim.forgotten);
  for (size_t begin = 0; begin < control_.size(); begin += kPart) {
    const size_t count = std::min(kPart, control_.size() - begin);
    add(std::span(control_).subspan(begin, count), audit.report.control_nll.before,
        std::span(aim.control).subspan(begin, count));
  }
}

int64_t ConditionedModel::ReadTokens() const {
  int64_t tokens = 0;
  for (const Part& part : parts_) tokens += part.forced.forward_tokens();
  return tokens;
}

absl::StatusOr<AttackScores> ConditionedModel::Run(const AuditRow& row, Part& part) {
  // While the base itself is attacked, it is its own reference.
  if (part.base_nll.empty() && row.outcome.attack == "reference") {
    LETHE_RETURN_IF_ERROR(AddNll(part, part.base_nll));
  }
  AttackContext context = context_;
  context.reference_nll = part.base_nll;
  return row.attack({model_, part.sequences, row.outcome.parameters, audit_.report.on_spans,
                     audit_.request.seed, part.forced, context});
}

absl::StatusOr<AttackScores> ConditionedModel::RunOnControl(const AuditRow& row,
                                                            const ProgressCallback& progress) {
  AttackScores all;
  for (size_t i = 1; i < parts_.size(); ++i) {
    LETHE_RETURN_IF_ERROR(Report(progress, {"attacking", 0, 0, {}}));
    LETHE_ASSIGN_OR_RETURN(AttackScores part, Run(row, parts_[i]));
    if (!part.not_applicable.empty()) return part;
    Append(part.scores, all.scores);
    for (const auto& [name, values] : part.details) Append(values, all.details[name]);
    all.forward_tokens += part.forward_tokens;
  }
  return all;
}

absl::StatusOr<PartResult> ConditionedModel::Attack(const AuditRow& row, int64_t charged,
                                                    const ProgressCallback& progress) {
  const auto start = SteadyClock::now();
  if (charged > ReadTokens()) {  // by a run that was stopped: this one goes on as it would have
    for (Part& part : parts_) part.forced.TakeAsRead();
  }
  LETHE_ASSIGN_OR_RETURN(AttackScores forgotten, Run(row, parts_.front()));
  if (!forgotten.not_applicable.empty())
    return PartResult{.not_applicable = forgotten.not_applicable};
  LETHE_ASSIGN_OR_RETURN(AttackScores control, RunOnControl(row, progress));
  if (!control.not_applicable.empty()) return PartResult{.not_applicable = control.not_applicable};
  PartResult result{.forgotten = std::move(forgotten.scores), .control = std::move(control.scores)};
  for (auto& [name, values] : forgotten.details) {
    result.details[name] = {std::move(values), std::move(control.details[name])};
  }
  result.shared_tokens = std::max<int64_t>(0, ReadTokens() - charged);
  result.forward_tokens = forgotten.forward_tokens + control.forward_tokens + result.shared_tokens;
  result.seconds = std::chrono::duration<double>(SteadyClock::now() - start).count();
  return result;
}

absl::Status ConditionedModel::AddNll(Part& part, std::vector<double>& nll) const {
  LETHE_ASSIGN_OR_RETURN(const std::span<const TokenStatistics> tokens, part.forced.Tokens());
  for (size_t i = 0; i < tokens.size(); ++i) {
    const double whole = tokens[i].score.MeanNll();
    nll.push_back(audit_.report.on_spans
                      ? SpanNll(part.sequences[i], tokens[i].score).value_or(whole)
                      : whole);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<double>> ConditionedModel::ForgottenNll() {
  std::vector<double> nll;
  LETHE_RETURN_IF_ERROR(AddNll(parts_.front(), nll));
  return nll;
}

absl::StatusOr<std::vector<double>> ConditionedModel::ControlNll() {
  std::vector<double> nll;
  for (size_t i = 1; i < parts_.size(); ++i) LETHE_RETURN_IF_ERROR(AddNll(parts_[i], nll));
  return nll;
}

absl::StatusOr<double> ConditionedModel::ForgottenHitRate() {
  LETHE_ASSIGN_OR_RETURN(const std::span<const TokenStatistics> tokens,
                         parts_.front().forced.Tokens());
  double sum = 0;
  for (size_t i = 0; i < tokens.size(); ++i) {
    const double whole = tokens[i].score.HitRate();
    sum += audit_.report.on_spans
               ? SpanHitRate(parts_.front().sequences[i], tokens[i].score).value_or(whole)
               : whole;
  }
  return tokens.empty() ? 0 : sum / static_cast<double>(tokens.size());
}

}  // namespace lethe
