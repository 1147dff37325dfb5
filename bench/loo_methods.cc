#include "bench/loo_methods.h"

#include <algorithm>
#include <cstdio>
#include <optional>

#include "engine/catalog.h"
#include "engine/model/model_folder.h"
#include "engine/unlearn/method_table.h"

namespace lethe::loo {
namespace {

constexpr int kNothingLeft = 3;  // looks in a row at which nothing comes out

// 1, 2, 3, 5, 8, 12, 18, 27, ...: half more each time.
int64_t NextLook(int64_t step) { return step + (step + 1) / 2; }

// Looks at the model from within a run, on the run's own thread.
class Looks {
 public:
  Looks(const Decoder& model, const Probe& probe, int64_t max_steps, const Take& take)
      : model_(model), probe_(probe), max_steps_(max_steps), take_(take) {}

  bool Look(int64_t step) {
    if (step != next_ && step != max_steps_) return true;
    if (step == next_) next_ = NextLook(step);
    absl::StatusOr<Figures> figures = probe_.Measure(model_);
    if (!figures.ok()) {
      status_ = figures.status();
      return false;
    }
    nothing_ = figures->at("beam") == 0 && figures->at("drawn") == 0 ? nothing_ + 1 : 0;
    take_(step, *std::move(figures));
    return nothing_ < kNothingLeft;
  }

  const absl::Status& status() const { return status_; }

 private:
  const Decoder& model_;
  const Probe& probe_;
  const int64_t max_steps_;
  const Take& take_;
  absl::Status status_;
  int64_t next_ = 1;
  int nothing_ = 0;
};

}  // namespace

// Models this small were trained with steps of 5e-3: by the steps of the presets, which are for larger
// ones, distillation and plain ascent take hundreds.
const std::vector<MethodRow>& Methods() {
  static const ParameterValues kDistil = {{"learning_rate", 3e-4}};
  static const ParameterValues kOnSpans = {{"learning_rate", 3e-4}, {"spans", 1}};
  static const ParameterValues kHardAlone = {{"learning_rate", 3e-4}, {"labels", 1}};
  static const ParameterValues kAscend = {{"learning_rate", 2e-4}};
  static const ParameterValues kAscendHeld = {{"learning_rate", 2e-4}, {"retain_weight", 10}};
  static const std::vector<MethodRow> kRows = {
      {"loo", "leave-one-out, retain", "leave_one_out", "ensemble", kDistil, nullptr},
      {"loo_spans", "leave-one-out, secret, retain", "leave_one_out", "ensemble", kOnSpans,
       nullptr},
      {"loo_alone", "leave-one-out, alone", "leave_one_out", "paper", kDistil, nullptr},
      {"hard", "hard labels, retain", "leave_one_out", "hard_label", kDistil, "loo"},
      {"hard_alone", "hard labels, alone", "leave_one_out", "paper", kHardAlone, "loo_alone"},
      {"ascent", "ascent, retain", "gradient_ascent", "paper", kAscendHeld, "loo"},
      {"ascent_alone", "ascent, alone", "gradient_ascent", "paper", kAscend, "loo_alone"},
      {"calibrated",
       "calibrated ascent, secret, retain",
       "gradient_ascent",
       "calibrated",
       {},
       "loo_spans"},
  };
  return kRows;
}

const MethodRow* FindRow(const std::string& name) {
  for (const MethodRow& row : Methods()) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

absl::Status MeasureModel(const Setting& setting, const std::filesystem::path& folder,
                          const Take& take) {
  LETHE_ASSIGN_OR_RETURN(const ModelFolder loaded, ModelFolder::Load(folder, setting.device));
  LETHE_ASSIGN_OR_RETURN(Figures figures, setting.probe.Measure(loaded.model));
  take(0, std::move(figures));
  return absl::OkStatus();
}

absl::Status RunCurve(const MethodRow& row, const Setting& setting, int64_t max_steps,
                      const Take& take) {
  const MethodEntry* method = FindMethod(row.method);
  const auto steps = static_cast<double>(max_steps);
  ParameterValues overrides = row.overrides;
  overrides["max_steps"] = overrides["min_steps"] = steps;
  const ParameterValues parameters =
      ResolveParameters(method->parameters, FindPreset(*method, row.preset)->values, overrides);
  LETHE_ASSIGN_OR_RETURN(const ModelFolder loaded,
                         ModelFolder::Load(setting.models.base, setting.device));
  const std::vector<Sequence> forget = setting.corpus.Forget();
  std::optional<TeacherSet> teachers;
  if (method->needs_teachers) {
    LETHE_ASSIGN_OR_RETURN(teachers, TeacherSet::Open(setting.models.teachers, setting.models.base,
                                                      forget, setting.device));
  }
  Looks looks(loaded.model, setting.probe, max_steps, take);
  const absl::StatusOr<MethodOutcome> outcome = FindMethodFunction(row.method)(
      {.model = loaded.model,
       .training = loaded.model,
       .forget = forget,
       .retain = setting.corpus.hold,
       .watch = setting.corpus.watch,
       .thresholds = setting.models.thresholds,
       .parameters = parameters,
       .seed = setting.seed,
       .progress =
           [&](const EngineProgress& p) { return p.phase != "unlearning" || looks.Look(p.step); },
       .teachers = teachers.has_value() ? &*teachers : nullptr});
  LETHE_RETURN_IF_ERROR(looks.status());
  const std::string why = ErrorReason(outcome.status());
  if (why == "STOPPED") return absl::OkStatus();
  if (why == "METHOD_DIVERGED") {
    std::fprintf(stderr, "  %s: %s\n", row.name, std::string(outcome.status().message()).c_str());
    return absl::OkStatus();
  }
  return outcome.status();
}

}  // namespace lethe::loo
