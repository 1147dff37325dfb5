#include "engine/attack/audit_side.h"

#include <algorithm>
#include <functional>
#include <optional>

#include "engine/attack/conditioned_model.h"
#include "engine/attack/quantise.h"
#include "engine/metric/sequence_evaluation.h"
#include "engine/model/model_folder.h"

namespace lethe {
namespace {

// The candidate is what a method made: that it cannot be attacked is said of it, not of the model.
absl::StatusOr<ModelFolder> LoadSide(const AttackRequest& request, Side side) {
  if (side == Side::kBefore) return ModelFolder::Load(request.base_folder, request.device);
  absl::StatusOr<ModelFolder> candidate =
      ModelFolder::Load(request.candidate_folder, request.device);
  if (ErrorReason(candidate.status()) != "MODEL_NOT_FINITE") return candidate;
  return Error(absl::StatusCode::kFailedPrecondition, "CANDIDATE_NOT_FINITE",
               std::string(candidate.status().message()), ErrorDetails(candidate.status()));
}

absl::Status CheckTexts(const Decoder& model, const AttackRequest& request) {
  LETHE_RETURN_IF_ERROR(CheckSequences(model, request.forgotten, "forgotten"));
  LETHE_RETURN_IF_ERROR(CheckSequences(model, request.control, "control"));
  for (const NamedText& text : request.texts) {
    LETHE_RETURN_IF_ERROR(CheckSequences(model, text.sequences, text.name));
  }
  return absl::OkStatus();
}

class SideRun {
 public:
  SideRun(Audit& audit, Side side, const ProgressCallback& progress)
      : audit_(audit), side_(side), progress_(progress) {}

  absl::Status Run() {
    LETHE_ASSIGN_OR_RETURN(const ModelFolder loaded, LoadSide(audit_.request, side_));
    LETHE_RETURN_IF_ERROR(CheckTexts(loaded.model, audit_.request));
    LETHE_RETURN_IF_ERROR(AsItIs(loaded.model));
    for (const ModelCondition& condition : Conditions()) {
      if (condition.kind == ModelCondition::Kind::kQuantised) {
        LETHE_RETURN_IF_ERROR(Rounded(loaded.model, condition));
      }
    }
    return Utility(loaded.model);
  }

 private:
  using Rows = std::vector<AuditRow*>;

  // Those that rows are left of, as the plan first names them.
  std::vector<ModelCondition> Conditions() const {
    std::vector<ModelCondition> conditions;
    for (const AuditRow& row : audit_.rows) {
      const bool known =
          std::find(conditions.begin(), conditions.end(), row.condition) != conditions.end();
      if (!known && row.left_out.empty()) conditions.push_back(row.condition);
    }
    return conditions;
  }

  // Of one condition, in the order of the plan; those that are left out are passed over.
  Rows RowsOf(const ModelCondition& condition) {
    Rows rows;
    for (AuditRow& row : audit_.rows) {
      if (row.condition == condition && row.left_out.empty()) rows.push_back(&row);
    }
    return rows;
  }

  absl::Status Tell() {
    const auto rows = static_cast<int64_t>(audit_.rows.size());
    const int64_t before = side_ == Side::kBefore ? 0 : rows;
    return Report(progress_, {"attacking", std::min(before + done_, 2 * rows), 2 * rows, {}});
  }

  absl::Status Attack(const Rows& rows, const Aim& aim, ConditionedModel& target) {
    for (AuditRow* row : rows) {
      LETHE_RETURN_IF_ERROR(Tell());
      LETHE_ASSIGN_OR_RETURN(const PartResult part, target.Attack(*row, progress_));
      Place(part, aim, side_, audit_.request, *row);
      ++done_;
    }
    return absl::OkStatus();
  }

  absl::Status AsItIs(const Decoder& model) {
    const Aim aim = WholeAim(audit_.request);
    ConditionedModel target(model, audit_, aim);
    LETHE_RETURN_IF_ERROR(Attack(RowsOf({}), aim, target));
    const auto figures = FiguresOf(side_);
    AttackReport& report = audit_.report;
    LETHE_ASSIGN_OR_RETURN(report.forgotten_nll.*figures, target.ForgottenNll());
    LETHE_ASSIGN_OR_RETURN(report.control_nll.*figures, target.ControlNll());
    return absl::OkStatus();
  }

  absl::Status Rounded(const Decoder& model, const ModelCondition& condition) {
    const Decoder rounded = model.Clone();
    Quantise(rounded, {.bits = condition.bits, .group = condition.group});
    const Aim aim = WholeAim(audit_.request);
    ConditionedModel target(rounded, audit_, aim);
    return Attack(RowsOf(condition), aim, target);
  }

  absl::Status Utility(const Decoder& model) {
    const std::vector<NamedText>& texts = audit_.request.texts;
    audit_.report.utility.resize(texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      LETHE_ASSIGN_OR_RETURN(const EvaluateResult result,
                             EvaluateSequences(model, texts[i].sequences, {}, false, progress_));
      TextUtility& utility = audit_.report.utility[i];
      utility.name = texts[i].name;
      utility.sequences = static_cast<int64_t>(texts[i].sequences.size());
      utility.tokens = 0;
      for (const SequenceEvaluation& s : result.sequences) utility.tokens += s.tokens;
      (side_ == Side::kBefore ? utility.nll_before : utility.nll_after) = SetNll(result.sequences);
    }
    return absl::OkStatus();
  }

  Audit& audit_;
  const Side side_;
  const ProgressCallback& progress_;
  int64_t done_ = 0;
};

}  // namespace

absl::Status RunSide(Audit& audit, Side side, const ProgressCallback& progress) {
  return SideRun(audit, side, progress).Run();
}

}  // namespace lethe
