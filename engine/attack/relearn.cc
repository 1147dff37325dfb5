#include "engine/attack/relearn.h"

#include <ATen/TensorOperators.h>

#include <algorithm>
#include <utility>

#include "engine/attack/conditioned_model.h"
#include "engine/loss/sequence_loss.h"
#include "engine/model/decoder.h"
#include "engine/seeded_generator.h"
#include "engine/train/loop.h"

namespace lethe {
namespace {

constexpr size_t kMostAStep = 4;  // sequences, of each side where there are two
constexpr double kMaxGradNorm = 1;
constexpr double kNllShare = 0.1, kNllNats = 0.05, kHitRate = 0.05;
constexpr double kWide = 512;

// Those of 0 .. count-1 that are even (0) or odd (1).
std::vector<size_t> EverySecond(size_t count, size_t first) {
  std::vector<size_t> indexes;
  for (size_t i = first; i < count; i += 2) indexes.push_back(i);
  return indexes;
}

RelearnPlan NotApplicable(std::string why) { return {.not_applicable = std::move(why)}; }

RelearnPlan OnHalves(const AttackRequest& request) {
  const size_t forgotten = request.forgotten.size(), control = request.control.size();
  if (forgotten < 2 || control < 2) {
    return NotApplicable("half of the text can be taught only where there are two sequences");
  }
  RelearnPlan plan;
  for (const size_t taught : {0, 1}) {
    Lesson& lesson = plan.lessons.emplace_back();
    for (const size_t i : EverySecond(forgotten, taught)) {
      lesson.taught.push_back(request.forgotten[i]);
    }
    lesson.batch = std::min(lesson.taught.size(), kMostAStep);
    lesson.aim = {EverySecond(forgotten, 1 - taught), EverySecond(control, 1 - taught)};
  }
  return plan;
}

RelearnPlan OnOthers(Relearned text, const AttackRequest& request) {
  Lesson lesson;
  for (const NamedText& named : request.texts) {
    const bool retain = named.name == "retain";
    if (named.name == "control" || retain != (text == Relearned::kRelated)) continue;
    lesson.taught.insert(lesson.taught.end(), named.sequences.begin(), named.sequences.end());
  }
  if (lesson.taught.empty()) {
    return NotApplicable(text == Relearned::kRelated ? "there is no retain text to teach"
                                                     : "there is no other text to teach");
  }
  SeededGenerator(request.seed).Shuffle(lesson.taught);
  lesson.batch = std::min(lesson.taught.size(), kMostAStep);
  lesson.aim = WholeAim(request);
  return {.lessons = {std::move(lesson)}};
}

RelearnPlan OnItself(const AttackRequest& request) {
  const size_t forgotten = request.forgotten.size(), control = request.control.size();
  const size_t compared = std::min(forgotten, control);
  RelearnPlan plan;
  Lesson& lesson = plan.lessons.emplace_back();
  lesson.aim = WholeAim(request);
  lesson.aim.control.clear();
  for (size_t i = 0; i < compared; ++i) lesson.aim.control.push_back(i * control / compared);
  for (size_t i = 0; i < forgotten; ++i) {
    lesson.taught.push_back(request.forgotten[i]);
    if (i < compared) lesson.taught.push_back(request.control[lesson.aim.control[i]]);
  }
  lesson.batch = std::min(lesson.taught.size(), 2 * kMostAStep);
  if (compared < control) plan.control_indexes = lesson.aim.control;
  return plan;
}

// The sequences of step 1, 2, ...
std::vector<Sequence> TakenBy(int64_t step, const Lesson& lesson) {
  std::vector<Sequence> taken;
  const size_t begin = static_cast<size_t>(step - 1) * lesson.batch;
  for (size_t i = 0; i < lesson.batch; ++i) {
    taken.push_back(lesson.taught[(begin + i) % lesson.taught.size()]);
  }
  return taken;
}

int64_t TaughtTokens(const std::vector<Sequence>& taken) {
  int64_t tokens = 0;
  for (const Sequence& s : taken) tokens += static_cast<int64_t>(s.ids.size());
  return 3 * tokens;
}

// The gradient of the mean NLL is left on the leaves.
absl::StatusOr<StepLoss> MeanLoss(const LanguageModel& pupil, const std::vector<Sequence>& taken,
                                  int64_t max_tokens) {
  LETHE_ASSIGN_OR_RETURN(const std::vector<LossBatch> batches,
                         MakeBatches(pupil, taken, {.max_tokens = max_tokens}));
  const auto labelled = static_cast<double>(LabelledTokens(batches));
  double sum = 0;
  for (const LossBatch& batch : batches) {
    const at::Tensor loss = ComputeTokenLosses(pupil, batch).nll.sum() / labelled;
    loss.backward();
    sum += loss.item<double>();
  }
  return StepLoss{.loss = sum, .guarded = sum};
}

struct Memory {
  double nll = 0, hit_rate = 0;
};

absl::StatusOr<Memory> MemoryOf(const LanguageModel& model, const Audit& audit, const Aim& aim,
                                int64_t* tokens) {
  ConditionedModel target(model, audit, {.forgotten = aim.forgotten});
  LETHE_ASSIGN_OR_RETURN(const std::vector<double> nll, target.ForgottenNll());
  Memory memory;
  for (const double n : nll) memory.nll += n / static_cast<double>(nll.size());
  LETHE_ASSIGN_OR_RETURN(memory.hit_rate, target.ForgottenHitRate());
  *tokens += target.ReadTokens();
  return memory;
}

bool IsKept(const Memory& before, const Memory& now) {
  return now.nll <= before.nll + std::max(kNllNats, kNllShare * before.nll) &&
         now.hit_rate >= before.hit_rate - kHitRate;
}

// Whether the base still knows the attacked text at every stop of a lesson.
absl::StatusOr<bool> Keeps(const LanguageModel& base, const Audit& audit, const Lesson& lesson,
                           const Memory& before, double step_size, std::span<const int> stops,
                           int64_t* tokens, const ProgressCallback& progress) {
  constexpr char kLost[] = "MEMORY_LOST";
  const std::unique_ptr<LanguageModel> pupil = base.Copy();
  const absl::Status taught = Teach(
      *pupil, lesson, step_size, stops,
      [&](int, int64_t taught_tokens) -> absl::Status {
        *tokens += taught_tokens;
        LETHE_ASSIGN_OR_RETURN(const Memory now, MemoryOf(*pupil, audit, lesson.aim, tokens));
        if (IsKept(before, now)) return absl::OkStatus();
        return Error(absl::StatusCode::kFailedPrecondition, kLost, "the base has lost its memory");
      },
      progress);
  const std::string reason = ErrorReason(taught);
  if (reason == kLost || reason == "METHOD_DIVERGED") return false;
  if (!taught.ok()) return taught;
  return true;
}

// Of an ensemble's members the one that takes the largest steps.
const DecoderConfig& Narrowest(const LanguageModel& model) {
  const std::vector<const Decoder*> members = model.Members();
  const auto narrower = [](const Decoder* a, const Decoder* b) {
    return a->config().hidden_size < b->config().hidden_size;
  };
  return (*std::min_element(members.begin(), members.end(), narrower))->config();
}

}  // namespace

RelearnPlan PlanRelearning(Relearned text, const AttackRequest& request) {
  switch (text) {
    case Relearned::kHalf:
      return OnHalves(request);
    case Relearned::kRelated:
    case Relearned::kUnrelated:
      return OnOthers(text, request);
    case Relearned::kSame:
      return OnItself(request);
  }
  return NotApplicable("there is no such text");
}

absl::Status Teach(const LanguageModel& pupil, const Lesson& lesson, double step_size,
                   std::span<const int> stops, const Look& look, const ProgressCallback& progress) {
  MicroBatch micro_batch(kMicroBatchTokens, LongestOf(lesson.taught));
  int64_t tokens = 0;
  LoopHooks hooks;
  hooks.accumulate = [&](int64_t step) {
    return MeanLoss(pupil, TakenBy(step, lesson), micro_batch.tokens());
  };
  hooks.judge = [&](const StepReport& report) -> absl::StatusOr<Judgement> {
    tokens += TaughtTokens(TakenBy(report.step, lesson));
    if (std::find(stops.begin(), stops.end(), report.step) == stops.end()) return Judgement{};
    const int64_t since = std::exchange(tokens, 0);
    LETHE_RETURN_IF_ERROR(look(static_cast<int>(report.step), since));
    return Judgement{};
  };
  const LoopOptions options{.phase = "relearning",
                            .max_steps = stops.back(),
                            .learning_rate = [&](int64_t) { return step_size; },
                            .max_grad_norm = kMaxGradNorm,
                            .micro_batch = &micro_batch};
  return RunLoop(pupil, hooks, options, progress).status();
}

std::vector<double> StepSizesFor(const DecoderConfig& config) {
  const double width = static_cast<double>(config.hidden_size);
  std::vector<double> sizes;
  for (const double size : {1e-4, 5e-5, 2e-5, 1e-5, 5e-6, 2e-6, 1e-6}) {
    sizes.push_back(size * std::max(1.0, kWide / width));
  }
  return sizes;
}

absl::StatusOr<StepSize> ChooseStepSize(const LanguageModel& base, const Audit& audit,
                                        const RelearnPlan& plan, std::span<const int> stops,
                                        const ProgressCallback& progress) {
  StepSize chosen;
  std::vector<Memory> before;
  for (const Lesson& lesson : plan.lessons) {
    LETHE_ASSIGN_OR_RETURN(before.emplace_back(),
                           MemoryOf(base, audit, lesson.aim, &chosen.tokens));
  }
  for (const double size : StepSizesFor(Narrowest(base))) {
    bool kept = true;
    for (size_t i = 0; kept && i < plan.lessons.size(); ++i) {
      LETHE_ASSIGN_OR_RETURN(kept, Keeps(base, audit, plan.lessons[i], before[i], size, stops,
                                         &chosen.tokens, progress));
    }
    if (!kept) continue;
    chosen.value = size;
    break;
  }
  return chosen;
}

}  // namespace lethe
