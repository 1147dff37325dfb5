#include "engine/unlearn.h"

#include <chrono>
#include <optional>

#include "engine/checkpoint/ensemble_folder.h"
#include "engine/ensemble/teacher_set.h"
#include "engine/metric/sequence_evaluation.h"
#include "engine/model/model_folder.h"
#include "engine/torch_status.h"
#include "engine/train/reduce.h"
#include "engine/unlearn/method_table.h"

namespace lethe {
namespace {

absl::Status Refused(std::string_view reason, std::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message);
}

struct Plan {
  const MethodEntry* method = nullptr;
  const PresetEntry* preset = nullptr;
  ParameterValues parameters;
};

// What can be said before the model is loaded.
absl::StatusOr<Plan> MakePlan(const UnlearnRequest& request) {
  Plan plan{.method = FindMethod(request.method)};
  if (plan.method == nullptr) return Refused("UNKNOWN_METHOD", "there is no such method");
  if (plan.method->retrains) {
    return Refused("CORPUS_NEEDED",
                   "retraining works on a registered corpus and its states: make it a rung of the "
                   "model's policy, or call RetrainWithout (engine/retrain.h)");
  }
  plan.preset = FindPreset(*plan.method, request.preset);
  if (plan.preset == nullptr) return Refused("UNKNOWN_PRESET", "the method has no such preset");
  if (const auto wrong = CheckParameters(plan.method->parameters, request.overrides)) {
    return Refused("BAD_PARAMETER", *wrong);
  }
  plan.parameters =
      ResolveParameters(plan.method->parameters, plan.preset->values, request.overrides);
  if (request.forget.empty()) {
    return Refused("NOTHING_TO_FORGET", "no sequence was given to forget");
  }
  // Plain ascent without thresholds runs to its last epoch; a bounded preset has nowhere to go
  // without.
  if (plan.method->needs_thresholds && plan.parameters.at("bounded") != 0 &&
      request.thresholds.sequences == 0) {
    return Refused("THRESHOLDS_NEEDED",
                   "the preset needs the thresholds that PrepareModel measures");
  }
  if (plan.method->needs_retain && plan.parameters.at("retain_weight") > 0 &&
      request.retain.empty()) {
    return Refused("RETAIN_NEEDED", "the preset holds kept text in place, and none was given");
  }
  if (!plan.method->needs_teachers && !request.teachers.empty()) {
    return Refused("TEACHERS_NOT_USED", "the method learns from no teacher, and some were given");
  }
  if (request.lora.has_value()) LETHE_RETURN_IF_ERROR(CheckLora(*request.lora));
  std::error_code error;
  if (std::filesystem::exists(std::filesystem::symlink_status(request.out_folder, error))) {
    return Refused("OUT_FOLDER_EXISTS", "the folder for the candidate is already there");
  }
  return plan;
}

absl::Status CheckRequestSequences(const Decoder& model, const UnlearnRequest& request) {
  LETHE_RETURN_IF_ERROR(CheckSequences(model, request.forget, "forget"));
  LETHE_RETURN_IF_ERROR(CheckSequences(model, request.retain, "retain"));
  return CheckSequences(model, request.watch, "watched");
}

// Measurements of one state of the model.
struct Figures {
  std::vector<SequenceEvaluation> forget;
  double retain_nll = 0, watch_nll = 0;
};

absl::StatusOr<Figures> Measure(const Decoder& model, const UnlearnRequest& request,
                                const std::vector<int>& el_n, const ProgressCallback& progress) {
  Figures figures;
  LETHE_ASSIGN_OR_RETURN(EvaluateResult forget,
                         EvaluateSequences(model, request.forget, el_n, false, progress));
  LETHE_ASSIGN_OR_RETURN(const EvaluateResult retain,
                         EvaluateSequences(model, request.retain, {}, false, progress));
  LETHE_ASSIGN_OR_RETURN(const EvaluateResult watch,
                         EvaluateSequences(model, request.watch, {}, false, progress));
  figures.forget = std::move(forget.sequences);
  figures.retain_nll = SetNll(retain.sequences);
  figures.watch_nll = SetNll(watch.sequences);
  return figures;
}

std::string RequestDigest(const UnlearnRequest& request) {
  const std::span<const Sequence> sets[] = {request.forget, request.retain, request.watch};
  return DataDigest(request.digest_key, sets);
}

// All ranks are at the same work, with the same weights.
absl::Status MeetRanks(const Decoder& model, const UnlearnRequest& request, const Plan& plan,
                       Precision precision, std::span<const TeacherRecord> teachers) {
  if (request.ranks == nullptr) return absl::OkStatus();
  std::string work = RequestDigest(request) + " " + std::to_string(request.seed) + " ";
  work += plan.method->name;
  work += NameOf(precision);
  if (request.lora.has_value()) work += LoraConfigJson(*request.lora, "");
  for (const TeacherRecord& teacher : teachers) {
    work += " " + teacher.digest;
    for (const int64_t place : teacher.left_out_of) work += "," + std::to_string(place);
  }
  std::vector<double> numbers;
  for (const auto& [name, value] : plan.parameters) numbers.push_back(value);
  return Meet(request.ranks, std::move(work), numbers, model);
}

// Null where the method needs none.
absl::StatusOr<std::optional<TeacherSet>> OpenTeachers(const UnlearnRequest& request,
                                                       const Plan& plan) {
  if (!plan.method->needs_teachers) return std::optional<TeacherSet>();
  return TeacherSet::Open(request.teachers, request.base_folder, request.forget, request.device);
}

absl::StatusOr<UnlearnResult> LoadAndUnlearn(const UnlearnRequest& request,
                                             const ProgressCallback& progress) {
  const auto start = std::chrono::steady_clock::now();
  LETHE_RETURN_IF_ERROR(RefuseEnsemble(request.base_folder));
  LETHE_ASSIGN_OR_RETURN(const Plan plan, MakePlan(request));
  LETHE_RETURN_IF_ERROR(Report(progress, {"loading", 0, 0, {}}));
  LETHE_RETURN_IF_ERROR(CheckDigest(request.base_folder, request.base_digest, "BASE_CHANGED"));
  LETHE_ASSIGN_OR_RETURN(const std::optional<TeacherSet> teachers, OpenTeachers(request, plan));
  const std::vector<TeacherRecord> learnt_from =
      teachers.has_value() ? teachers->records() : std::vector<TeacherRecord>();
  LETHE_ASSIGN_OR_RETURN(ModelFolder loaded,
                         ModelFolder::Load(request.base_folder, request.device));
  LETHE_ASSIGN_OR_RETURN(
      const Precision precision,
      ChoosePrecision(request.precision, loaded.model.ParameterCount(), request.device));
  LETHE_RETURN_IF_ERROR(CheckRequestSequences(loaded.model, request));
  // Before there is an adapter: it is the base that all must have; the adapter comes of the seed.
  LETHE_RETURN_IF_ERROR(MeetRanks(loaded.model, request, plan, precision, learnt_from));
  if (request.lora.has_value()) {
    LETHE_ASSIGN_OR_RETURN(LoraAdapter fresh,
                           LoraAdapter::Fresh(*request.lora, loaded.model, request.seed));
    loaded.model.Attach(std::move(fresh));
  }
  const Decoder training = ForTraining(loaded.model, precision, request.recompute);

  std::vector<int> el_n;
  for (const auto& [n, el] : request.thresholds.el) el_n.push_back(n);
  LETHE_ASSIGN_OR_RETURN(Figures before, Measure(loaded.model, request, el_n, progress));

  const MethodFunction method = FindMethodFunction(plan.method->name);
  LETHE_ASSIGN_OR_RETURN(MethodOutcome outcome,
                         method({.model = loaded.model,
                                 .training = training,
                                 .forget = request.forget,
                                 .retain = request.retain,
                                 .watch = request.watch,
                                 .thresholds = request.thresholds,
                                 .parameters = plan.parameters,
                                 .seed = request.seed,
                                 .progress = progress,
                                 .ranks = request.ranks,
                                 .teachers = teachers.has_value() ? &*teachers : nullptr}));
  LETHE_ASSIGN_OR_RETURN(Figures after, Measure(loaded.model, request, el_n, progress));

  UnlearnResult result{.run = NewRunRecord(request.device),
                       .records = std::move(outcome.records),
                       .before = std::move(before.forget),
                       .after = std::move(after.forget),
                       .retain_nll_before = before.retain_nll,
                       .retain_nll_after = after.retain_nll,
                       .watch_nll_before = before.watch_nll,
                       .watch_nll_after = after.watch_nll};
  result.run.method = plan.method->name;
  result.run.preset = plan.preset->name;
  result.run.hyperparameters = plan.parameters;
  result.run.precision = NameOf(precision);
  if (request.recompute) result.run.hyperparameters["recompute"] = 1;
  if (outcome.micro_batch_tokens > 0) {
    result.run.hyperparameters["micro_batch_tokens"] =
        static_cast<double>(outcome.micro_batch_tokens);
  }
  if (request.lora.has_value()) {
    result.run.hyperparameters["lora_rank"] = static_cast<double>(request.lora->rank);
    result.run.hyperparameters["lora_alpha"] = request.lora->alpha;
  }
  result.run.seed = request.seed;
  result.run.stop_reason = outcome.stop_reason;
  result.run.steps = outcome.steps;
  result.run.data_digest = RequestDigest(request);
  result.run.teachers = learnt_from;
  result.run.figures = std::move(outcome.figures);
  if (request.ranks != nullptr) result.run.ranks = request.ranks->count();

  if (IsFirst(request.ranks)) {
    LETHE_RETURN_IF_ERROR(Report(progress, {"saving", 0, 0, {}}));
    LETHE_ASSIGN_OR_RETURN(
        const SavedCheckpoint saved,
        loaded.SaveAs(request.out_folder, RunRecordJson(result.run, request.lineage)));
    result.out_digest = saved.digest;
  }
  LETHE_RETURN_IF_ERROR(EndTogether(request.ranks));
  result.run.seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace

absl::StatusOr<UnlearnResult> Unlearn(const UnlearnRequest& request,
                                      const ProgressCallback& progress) {
  absl::StatusOr<UnlearnResult> result = CatchTorch("unlearning", [&] {
    return LoadAndUnlearn(request, IsFirst(request.ranks) ? progress : nullptr);
  });
  if (!result.ok() && request.ranks != nullptr) return request.ranks->Fail(result.status());
  return result;
}

}  // namespace lethe
