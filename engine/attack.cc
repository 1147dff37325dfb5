#include "engine/attack.h"

#include <algorithm>
#include <chrono>

#include "engine/attack/attack_table.h"
#include "engine/condition.h"
#include "engine/metric/sequence_evaluation.h"
#include "engine/model/model_folder.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

using SteadyClock = std::chrono::steady_clock;

double SecondsSince(SteadyClock::time_point start) {
  return std::chrono::duration<double>(SteadyClock::now() - start).count();
}

absl::Status Refused(std::string_view reason, std::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message);
}

// Outcomes with names and parameters, without scores.
absl::StatusOr<std::vector<AttackOutcome>> MakePlan(const AttackRequest& request) {
  if (request.forgotten.empty()) {
    return Refused("NOTHING_TO_ATTACK", "no forgotten sequence was given");
  }
  if (request.control.empty()) {
    return Refused("NOTHING_TO_COMPARE_WITH", "no control sequence was given");
  }
  std::vector<AttackOutcome> outcomes;
  for (const AttackSpec& spec : request.plan) {
    const AttackEntry* entry = FindAttack(spec.attack);
    if (entry == nullptr) return Refused("UNKNOWN_ATTACK", "there is no such attack");
    LETHE_ASSIGN_OR_RETURN(const ModelCondition condition, ParseCondition(spec.condition));
    if (condition.kind != ModelCondition::Kind::kAsIs) {
      return Refused("UNKNOWN_CONDITION", "conditions are not served yet");
    }
    if (const auto wrong = CheckParameters(entry->parameters, spec.overrides)) {
      return Refused("BAD_PARAMETER", *wrong);
    }
    outcomes.push_back({.attack = std::string(entry->name),
                        .parameters = ResolveParameters(entry->parameters, {}, spec.overrides),
                        .family = entry->family,
                        .reach = entry->reach,
                        .report_only = spec.report_only});
  }
  return outcomes;
}

bool HaveSpans(std::span<const Sequence> sequences) {
  return std::all_of(sequences.begin(), sequences.end(), [](const Sequence& s) {
    return !s.sensitive.empty() && s.sensitive.back().end > 1;
  });
}

AttackDetail& DetailOf(AttackOutcome& outcome, const std::string& name) {
  for (AttackDetail& detail : outcome.details) {
    if (detail.name == name) return detail;
  }
  outcome.details.push_back({.name = name});
  return outcome.details.back();
}

// One model of the two: all attacks, likelihoods and utility.
class Phase {
 public:
  Phase(const AttackRequest& request, const Decoder& model, std::vector<double> BeforeAfter::*side,
        const ProgressCallback& progress)
      : request_(request), model_(model), side_(side), progress_(progress) {}

  absl::Status Run(AttackReport& report) {
    LETHE_RETURN_IF_ERROR(Check());
    for (AttackOutcome& outcome : report.attacks) {
      LETHE_RETURN_IF_ERROR(Tell(report));
      LETHE_RETURN_IF_ERROR(Attack(report.on_spans, outcome));
      ++done_;
    }
    LETHE_ASSIGN_OR_RETURN(report.forgotten_nll.*side_, Nll(request_.forgotten, report.on_spans));
    LETHE_ASSIGN_OR_RETURN(report.control_nll.*side_, Nll(request_.control, report.on_spans));
    return Utility(report);
  }

 private:
  bool IsBefore() const { return side_ == &BeforeAfter::before; }

  absl::Status Tell(const AttackReport& report) {
    const auto attacks = static_cast<int64_t>(report.attacks.size());
    return Report(progress_, {"attacking", done_ + (IsBefore() ? 0 : attacks), 2 * attacks, {}});
  }

  absl::Status Check() {
    LETHE_RETURN_IF_ERROR(CheckSequences(model_, request_.forgotten, "forgotten"));
    LETHE_RETURN_IF_ERROR(CheckSequences(model_, request_.control, "control"));
    for (const NamedText& text : request_.texts) {
      LETHE_RETURN_IF_ERROR(CheckSequences(model_, text.sequences, text.name));
    }
    return absl::OkStatus();
  }

  absl::Status Attack(bool on_spans, AttackOutcome& outcome) {
    const auto start = SteadyClock::now();
    const AttackFunction attack = FindAttackFunction(outcome.attack);
    outcome.on_spans = on_spans;
    const AttackContext context{.forgotten = request_.forgotten, .control = request_.control};
    const auto run = [&](std::span<const Sequence> sequences) {
      TeacherForced forced(model_, sequences);
      return attack(
          {model_, sequences, outcome.parameters, on_spans, request_.seed, forced, context});
    };
    LETHE_ASSIGN_OR_RETURN(AttackScores forgotten, run(request_.forgotten));
    // A control set is large; between its parts the caller may stop the run.
    AttackScores control;
    for (size_t begin = 0; begin < request_.control.size(); begin += kPart) {
      LETHE_RETURN_IF_ERROR(Report(progress_, {"attacking", 0, 0, {}}));
      const size_t count = std::min(kPart, request_.control.size() - begin);
      LETHE_ASSIGN_OR_RETURN(const AttackScores part,
                             run(std::span(request_.control).subspan(begin, count)));
      control.scores.insert(control.scores.end(), part.scores.begin(), part.scores.end());
      control.forward_tokens += part.forward_tokens;
      for (const auto& [name, values] : part.details) {
        std::vector<double>& all = control.details[name];
        all.insert(all.end(), values.begin(), values.end());
      }
    }
    for (auto& [name, values] : forgotten.details) {
      AttackDetail& detail = DetailOf(outcome, name);
      detail.forgotten.*side_ = std::move(values);
      detail.control.*side_ = std::move(control.details[name]);
    }
    outcome.forgotten.*side_ = std::move(forgotten.scores);
    outcome.control.*side_ = std::move(control.scores);
    outcome.forward_tokens += forgotten.forward_tokens + control.forward_tokens;
    outcome.seconds += SecondsSince(start);
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<double>> Nll(const std::vector<Sequence>& sequences, bool on_spans) {
    LETHE_ASSIGN_OR_RETURN(const EvaluateResult result, EvaluateSequences(model_, sequences, {}));
    std::vector<double> nll;
    for (const SequenceEvaluation& s : result.sequences) {
      nll.push_back(on_spans ? s.span_nll_per_token.value_or(s.nll_per_token) : s.nll_per_token);
    }
    return nll;
  }

  absl::Status Utility(AttackReport& report) {
    report.utility.resize(request_.texts.size());
    for (size_t i = 0; i < request_.texts.size(); ++i) {
      const NamedText& text = request_.texts[i];
      LETHE_ASSIGN_OR_RETURN(const EvaluateResult result,
                             EvaluateSequences(model_, text.sequences, {}, false, progress_));
      TextUtility& utility = report.utility[i];
      utility.name = text.name;
      utility.sequences = static_cast<int64_t>(text.sequences.size());
      utility.tokens = 0;
      for (const SequenceEvaluation& s : result.sequences) utility.tokens += s.tokens;
      (IsBefore() ? utility.nll_before : utility.nll_after) = SetNll(result.sequences);
    }
    return absl::OkStatus();
  }

  static constexpr size_t kPart = 32;
  const AttackRequest& request_;
  const Decoder& model_;
  std::vector<double> BeforeAfter::*const side_;
  const ProgressCallback& progress_;
  int64_t done_ = 0;
};

// The candidate is what a method made: that it cannot be attacked is said of it, not of the model.
absl::StatusOr<ModelFolder> LoadSide(const AttackRequest& request, bool before) {
  if (before) return ModelFolder::Load(request.base_folder, request.device);
  absl::StatusOr<ModelFolder> candidate =
      ModelFolder::Load(request.candidate_folder, request.device);
  if (ErrorReason(candidate.status()) != "MODEL_NOT_FINITE") return candidate;
  return Error(absl::StatusCode::kFailedPrecondition, "CANDIDATE_NOT_FINITE",
               std::string(candidate.status().message()), ErrorDetails(candidate.status()));
}

absl::StatusOr<AttackReport> LoadAndAttack(const AttackRequest& request,
                                           const ProgressCallback& progress) {
  const auto start = SteadyClock::now();
  AttackReport report;
  LETHE_ASSIGN_OR_RETURN(report.attacks, MakePlan(request));
  report.on_spans = HaveSpans(request.forgotten) && HaveSpans(request.control);
  LETHE_RETURN_IF_ERROR(Report(progress, {"loading", 0, 0, {}}));
  LETHE_RETURN_IF_ERROR(CheckDigest(request.base_folder, request.base_digest, "BASE_CHANGED"));
  LETHE_RETURN_IF_ERROR(
      CheckDigest(request.candidate_folder, request.candidate_digest, "CANDIDATE_CHANGED"));
  // One model after the other: two never stand in memory.
  for (const auto side : {&BeforeAfter::before, &BeforeAfter::after}) {
    LETHE_ASSIGN_OR_RETURN(const ModelFolder loaded,
                           LoadSide(request, side == &BeforeAfter::before));
    LETHE_RETURN_IF_ERROR(Phase(request, loaded.model, side, progress).Run(report));
  }
  report.run = NewRunRecord(request.device);
  report.run.method = "attacks";
  report.run.seed = request.seed;
  const std::span<const Sequence> sets[] = {request.forgotten, request.control};
  report.run.data_digest = DataDigest(request.digest_key, sets);
  report.run.seconds = SecondsSince(start);
  return report;
}

}  // namespace

std::vector<AttackSpec> PlanOf(std::string_view name) {
  std::vector<AttackSpec> plan;
  const PlanEntry* entry = FindPlan(name);
  if (entry == nullptr) return plan;
  for (const PlanRow& row : entry->rows) {
    plan.push_back({.attack = std::string(row.attack), .condition = std::string(row.condition)});
  }
  return plan;
}

std::vector<AttackSpec> DefaultPlan() { return PlanOf(Plans().front().name); }

absl::StatusOr<AttackReport> RunAttacks(const AttackRequest& request,
                                        const ProgressCallback& progress) {
  return CatchTorch("attacking", [&] { return LoadAndAttack(request, progress); });
}

}  // namespace lethe
