#include "engine/attack/audit_side.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <set>
#include <utility>

#include "engine/attack/conditioned_model.h"
#include "engine/attack/quantise.h"
#include "engine/attack/relearn.h"
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

ModelCondition RelearnedBy(Relearned text, int steps) {
  return {.kind = ModelCondition::Kind::kRelearned, .text = text, .steps = steps};
}

class SideRun {
 public:
  SideRun(Audit& audit, Side side, const ProgressCallback& progress)
      : audit_(audit), side_(side), progress_(progress) {}

  absl::Status Run() {
    LETHE_ASSIGN_OR_RETURN(const ModelFolder loaded, LoadSide(audit_.request, side_));
    LETHE_RETURN_IF_ERROR(CheckTexts(loaded.model, audit_.request));
    LETHE_RETURN_IF_ERROR(AsItIs(loaded.model));
    std::set<Relearned> taught;
    for (const ModelCondition& condition : Conditions()) {
      if (condition.kind == ModelCondition::Kind::kQuantised) {
        LETHE_RETURN_IF_ERROR(Rounded(loaded.model, condition));
      }
      if (condition.kind == ModelCondition::Kind::kRelearned &&
          taught.insert(condition.text).second) {
        LETHE_RETURN_IF_ERROR(Relearn(loaded.model, condition.text));
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

  // The first attack that goes through is charged with `taught` tokens, too.
  absl::Status Attack(const Rows& rows, const Aim& aim, ConditionedModel& target,
                      int64_t taught = 0) {
    for (AuditRow* row : rows) {
      LETHE_RETURN_IF_ERROR(Tell());
      LETHE_ASSIGN_OR_RETURN(PartResult part, target.Attack(*row, progress_));
      if (part.not_applicable.empty()) part.forward_tokens += std::exchange(taught, 0);
      Place(part, aim, side_, audit_.request, *row);
      ++done_;
    }
    return absl::OkStatus();
  }

  absl::Status AsItIs(const Decoder& model) {
    const Aim aim = WholeAim(audit_.request);
    ConditionedModel target(model, audit_, aim);
    LETHE_RETURN_IF_ERROR(Attack(RowsOf(ModelCondition()), aim, target));
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

  // One run of training, or two, that the attacks of all its steps look at.
  absl::Status Relearn(const Decoder& model, Relearned text) {
    const RelearnPlan plan = PlanRelearning(text, audit_.request);
    if (!plan.not_applicable.empty()) return LeaveOut(text, plan.not_applicable);
    const std::vector<int> stops = StopsOf(text);
    int64_t taught = 0;
    if (side_ == Side::kBefore) {
      LETHE_ASSIGN_OR_RETURN(const StepSize chosen,
                             ChooseStepSize(model, audit_, plan, stops, progress_));
      if (chosen.value == 0) {
        return LeaveOut(text, "the base loses its memory of the text under every step size");
      }
      audit_.step_sizes[text] = chosen.value;
      taught = chosen.tokens;
    }
    for (AuditRow* row : RelearnedRows(text)) {
      row->outcome.relearn_step_size = audit_.step_sizes.at(text);
      row->outcome.control_indexes = plan.control_indexes;
    }
    for (const Lesson& lesson : plan.lessons) {
      const Decoder pupil = model.Clone();
      const auto look = [&](int steps, int64_t tokens) {
        ConditionedModel target(pupil, audit_, lesson.aim);
        return Attack(RowsOf(RelearnedBy(text, steps)), lesson.aim, target,
                      tokens + std::exchange(taught, 0));
      };
      const absl::Status status =
          Teach(pupil, lesson, audit_.step_sizes.at(text), stops, look, progress_);
      if (ErrorReason(status) == "METHOD_DIVERGED") {
        return LeaveOut(text, "the model breaks under the step size that the base stands");
      }
      LETHE_RETURN_IF_ERROR(status);
    }
    return absl::OkStatus();
  }

  Rows RelearnedRows(Relearned text) {
    Rows rows;
    for (AuditRow& row : audit_.rows) {
      const bool relearned = row.condition.kind == ModelCondition::Kind::kRelearned;
      if (relearned && row.condition.text == text && row.left_out.empty()) rows.push_back(&row);
    }
    return rows;
  }

  absl::Status LeaveOut(Relearned text, const std::string& why) {
    for (AuditRow* row : RelearnedRows(text)) row->left_out = why;
    return absl::OkStatus();
  }

  std::vector<int> StopsOf(Relearned text) {
    std::set<int> stops;
    for (const AuditRow* row : RelearnedRows(text)) stops.insert(row->condition.steps);
    return {stops.begin(), stops.end()};
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
