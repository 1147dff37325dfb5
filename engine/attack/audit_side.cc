#include "engine/attack/audit_side.h"

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include "engine/attack/conditioned_model.h"
#include "engine/attack/quantise.h"
#include "engine/attack/relearn.h"
#include "engine/metric/sequence_evaluation.h"
#include "engine/model/load_model.h"
#include "engine/model/model_folder.h"

namespace lethe {
namespace {

// The candidate is what a method made: that it cannot be attacked is said of it, not of the model.
absl::StatusOr<std::unique_ptr<const LanguageModel>> LoadSide(const AttackRequest& request,
                                                              Side side) {
  if (side == Side::kBefore) return LoadModel(request.base_folder, request.device);
  auto candidate = LoadModel(request.candidate_folder, request.device);
  if (ErrorReason(candidate.status()) != "MODEL_NOT_FINITE") return candidate;
  return Error(absl::StatusCode::kFailedPrecondition, "CANDIDATE_NOT_FINITE",
               std::string(candidate.status().message()), ErrorDetails(candidate.status()));
}

absl::Status CheckTexts(const LanguageModel& model, const AttackRequest& request) {
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

// A model in its condition, made when an attack first needs it, and what it is attacked on.
struct Station {
  using Make = std::function<absl::StatusOr<const LanguageModel*>()>;
  std::string name;  // of the pieces that are kept: which of the condition's models it is
  Aim aim;
  Make model;
  std::unique_ptr<ConditionedModel> target = nullptr;
  int64_t charged = 0;  // of the shared pass, so far

  absl::StatusOr<ConditionedModel*> Target(const Audit& audit) {
    if (target == nullptr) {
      LETHE_ASSIGN_OR_RETURN(const LanguageModel* made, model());
      target = std::make_unique<ConditionedModel>(*made, audit, aim);
    }
    return target.get();
  }
};

class SideRun {
 public:
  SideRun(Audit& audit, Side side, const ResumeFolder& kept, const ProgressCallback& progress)
      : audit_(audit), side_(side), kept_(kept), progress_(progress) {}

  absl::Status Run() {
    LETHE_RETURN_IF_ERROR(AsItIs());
    std::set<Relearned> taught;
    for (const ModelCondition& condition : Conditions()) {
      if (condition.kind == ModelCondition::Kind::kQuantised) {
        LETHE_RETURN_IF_ERROR(Rounded(condition));
      }
      if (condition.kind == ModelCondition::Kind::kRelearned &&
          taught.insert(condition.text).second) {
        LETHE_RETURN_IF_ERROR(Relearn(condition.text));
      }
    }
    return absl::OkStatus();
  }

 private:
  using Rows = std::vector<AuditRow*>;

  // Loaded when something of it is missing.
  absl::StatusOr<const LanguageModel*> Model() {
    if (loaded_ == nullptr) {
      LETHE_ASSIGN_OR_RETURN(auto loaded, LoadSide(audit_.request, side_));
      LETHE_RETURN_IF_ERROR(CheckTexts(*loaded, audit_.request));
      loaded_ = std::move(loaded);
    }
    return loaded_.get();
  }

  std::string Piece(const std::string& what) const {
    return (side_ == Side::kBefore ? "before " : "after ") + what;
  }
  std::string Piece(const AuditRow& row, const Station& station) const {
    return Piece("row " + std::to_string(&row - audit_.rows.data()) + " " + station.name);
  }

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

  // A step is an attack on one model: where halves are taught, there are two.
  absl::Status Tell() {
    int64_t steps = 0;
    for (const AuditRow& row : audit_.rows) {
      steps += row.condition.kind == ModelCondition::Kind::kRelearned &&
                       row.condition.text == Relearned::kHalf
                   ? 2
                   : 1;
    }
    const int64_t before = side_ == Side::kBefore ? 0 : steps;
    return Report(progress_, {"attacking", before + done_, 2 * steps, {}});
  }

  std::optional<PartResult> Done(const AuditRow& row, const Station& station) const {
    const std::optional<KeptFigures> figures = kept_.Find(Piece(row, station));
    return figures.has_value() ? PartOf(*figures, station.aim) : std::nullopt;
  }

  // The first attack that goes through is charged with `taught` tokens, too; where an earlier run
  // has done it, they were charged then.
  absl::Status Attack(const Rows& rows, Station& station, int64_t taught = 0) {
    for (AuditRow* row : rows) {
      LETHE_RETURN_IF_ERROR(Tell());
      std::optional<PartResult> part = Done(*row, station);
      if (!part.has_value()) {
        LETHE_ASSIGN_OR_RETURN(ConditionedModel * target, station.Target(audit_));
        const auto tell = [this](const EngineProgress&) { return Tell().ok(); };
        LETHE_ASSIGN_OR_RETURN(part, target->Attack(*row, station.charged, tell));
        if (part->not_applicable.empty()) part->forward_tokens += taught;
        LETHE_RETURN_IF_ERROR(kept_.Keep(Piece(*row, station), KeptOf(*part)));
      }
      if (part->not_applicable.empty()) taught = 0;
      station.charged += part->shared_tokens;
      Place(*part, station.aim, side_, audit_.request, *row);
      ++done_;
    }
    return absl::OkStatus();
  }

  absl::Status AsItIs() {
    Station station{
        .name = "as it is", .aim = WholeAim(audit_.request), .model = [this] { return Model(); }};
    LETHE_RETURN_IF_ERROR(Attack(RowsOf(ModelCondition()), station));
    return Likelihoods(station);
  }

  absl::Status Rounded(const ModelCondition& condition) {
    std::unique_ptr<LanguageModel> rounded;
    Station station{.name = "rounded",
                    .aim = WholeAim(audit_.request),
                    .model = [&]() -> absl::StatusOr<const LanguageModel*> {
                      LETHE_ASSIGN_OR_RETURN(const LanguageModel* model, Model());
                      rounded = model->Copy();
                      for (const Decoder* member : rounded->Members()) {
                        Quantise(*member, {.bits = condition.bits, .group = condition.group});
                      }
                      return rounded.get();
                    }};
    return Attack(RowsOf(condition), station);
  }

  // One run of training, or two, that the attacks of all its steps look at.
  absl::Status Relearn(Relearned text) {
    const RelearnPlan plan = PlanRelearning(text, audit_.request);
    if (!plan.not_applicable.empty()) return LeaveOut(text, plan.not_applicable);
    const std::vector<int> stops = StopsOf(text);
    int64_t chosen = 0;
    if (side_ == Side::kBefore) {
      LETHE_ASSIGN_OR_RETURN(const StepSize size, Chosen(text, plan, stops));
      if (size.value == 0) {
        return LeaveOut(text, "the base loses its memory of the text under every step size");
      }
      audit_.step_sizes[text] = size.value;
      chosen = size.tokens;
    }
    for (AuditRow* row : RelearnedRows(text)) {
      row->outcome.relearn_step_size = audit_.step_sizes.at(text);
      row->outcome.control_indexes = plan.control_indexes;
    }
    for (size_t i = 0; i < plan.lessons.size(); ++i) {
      const absl::Status status =
          Attend(text, plan.lessons[i], "lesson " + std::to_string(i), stops, chosen);
      if (ErrorReason(status) == "METHOD_DIVERGED") {
        return LeaveOut(text, "the model breaks under the step size that the base stands");
      }
      LETHE_RETURN_IF_ERROR(status);
      chosen = 0;
    }
    return absl::OkStatus();
  }

  // One lesson: taught as far as something is missing, and looked at at each stop.
  absl::Status Attend(Relearned text, const Lesson& lesson, const std::string& name,
                      const std::vector<int>& stops, int64_t chosen) {
    std::unique_ptr<LanguageModel> pupil;
    const auto look = [&](int steps, int64_t tokens) {
      Station station{
          .name = name, .aim = lesson.aim, .model = [&]() -> absl::StatusOr<const LanguageModel*> {
            return pupil.get();
          }};
      return Attack(RowsOf(RelearnedBy(text, steps)), station, tokens + std::exchange(chosen, 0));
    };
    const std::vector<int> missing = UpToTheLastMissing(text, lesson, name, stops);
    if (!missing.empty()) {
      LETHE_ASSIGN_OR_RETURN(const LanguageModel* model, Model());
      pupil = model->Copy();
      LETHE_RETURN_IF_ERROR(
          Teach(*pupil, lesson, audit_.step_sizes.at(text), missing, look, progress_));
    }
    for (size_t i = missing.size(); i < stops.size(); ++i) {
      LETHE_RETURN_IF_ERROR(look(stops[i], 0));
    }
    return absl::OkStatus();
  }

  // The stops that must be gone through for what no earlier run has done.
  std::vector<int> UpToTheLastMissing(Relearned text, const Lesson& lesson, const std::string& name,
                                      std::vector<int> stops) {
    const Station station{.name = name, .aim = lesson.aim, .model = nullptr};
    while (!stops.empty()) {
      for (const AuditRow* row : RowsOf(RelearnedBy(text, stops.back()))) {
        if (!Done(*row, station).has_value()) return stops;
      }
      stops.pop_back();
    }
    return stops;
  }

  // The text itself is taught by the size that half of it stands, where that was tried before: it
  // asks more, and the two curves can be laid side by side.
  absl::StatusOr<StepSize> Chosen(Relearned text, const RelearnPlan& plan,
                                  const std::vector<int>& stops) {
    const auto of_half = audit_.step_sizes.find(Relearned::kHalf);
    if (text == Relearned::kSame && of_half != audit_.step_sizes.end()) {
      return StepSize{.value = of_half->second};
    }
    const std::string piece = Piece("step size " + std::to_string(static_cast<int>(text)));
    if (const auto figures = kept_.Find(piece)) {
      const auto size = figures->lists.find("size and tokens");
      if (size != figures->lists.end() && size->second.size() == 2) {
        return StepSize{size->second[0], static_cast<int64_t>(size->second[1])};
      }
    }
    LETHE_ASSIGN_OR_RETURN(const LanguageModel* model, Model());
    LETHE_ASSIGN_OR_RETURN(const StepSize chosen,
                           ChooseStepSize(*model, audit_, plan, stops, progress_));
    KeptFigures figures;
    figures.lists["size and tokens"] = {chosen.value, static_cast<double>(chosen.tokens)};
    LETHE_RETURN_IF_ERROR(kept_.Keep(piece, figures));
    return chosen;
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

  // Of the attacked text, and what the registered texts have lost.
  absl::Status Likelihoods(Station& station) {
    const std::string piece = Piece("likelihoods");
    std::optional<KeptFigures> figures = kept_.Find(piece);
    if (!figures.has_value() || figures->lists.size() != 2 + audit_.request.texts.size()) {
      LETHE_ASSIGN_OR_RETURN(ConditionedModel * target, station.Target(audit_));
      figures = KeptFigures();
      LETHE_ASSIGN_OR_RETURN(figures->lists["forgotten"], target->ForgottenNll());
      LETHE_ASSIGN_OR_RETURN(figures->lists["control"], target->ControlNll());
      LETHE_RETURN_IF_ERROR(MeasureTexts(*figures));
      LETHE_RETURN_IF_ERROR(kept_.Keep(piece, *figures));
    }
    const auto side = FiguresOf(side_);
    audit_.report.forgotten_nll.*side = figures->lists["forgotten"];
    audit_.report.control_nll.*side = figures->lists["control"];
    return PlaceUtility(*figures);
  }

  static std::string TextName(size_t i) { return "text " + std::to_string(i); }

  absl::Status MeasureTexts(KeptFigures& figures) {
    LETHE_ASSIGN_OR_RETURN(const LanguageModel* model, Model());
    const std::vector<NamedText>& texts = audit_.request.texts;
    for (size_t i = 0; i < texts.size(); ++i) {
      LETHE_ASSIGN_OR_RETURN(const EvaluateResult result,
                             EvaluateSequences(*model, texts[i].sequences, {}, false, progress_));
      double tokens = 0;
      for (const SequenceEvaluation& s : result.sequences) tokens += static_cast<double>(s.tokens);
      figures.lists[TextName(i)] = {tokens, SetNll(result.sequences)};
    }
    return absl::OkStatus();
  }

  absl::Status PlaceUtility(KeptFigures& figures) {
    const std::vector<NamedText>& texts = audit_.request.texts;
    audit_.report.utility.resize(texts.size());
    for (size_t i = 0; i < texts.size(); ++i) {
      const std::vector<double>& measured = figures.lists[TextName(i)];
      if (measured.size() != 2) return absl::InternalError("a kept piece lacks a text");
      TextUtility& utility = audit_.report.utility[i];
      utility.name = texts[i].name;
      utility.sequences = static_cast<int64_t>(texts[i].sequences.size());
      utility.tokens = static_cast<int64_t>(measured[0]);
      (side_ == Side::kBefore ? utility.nll_before : utility.nll_after) = measured[1];
    }
    return absl::OkStatus();
  }

  Audit& audit_;
  const Side side_;
  const ResumeFolder& kept_;
  const ProgressCallback& progress_;
  std::unique_ptr<const LanguageModel> loaded_;
  int64_t done_ = 0;
};

}  // namespace

absl::Status RunSide(Audit& audit, Side side, const ResumeFolder& kept,
                     const ProgressCallback& progress) {
  return SideRun(audit, side, kept, progress).Run();
}

}  // namespace lethe
