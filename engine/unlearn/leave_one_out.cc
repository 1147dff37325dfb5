#include "engine/unlearn/leave_one_out.h"

#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "engine/loss/sequence_loss.h"
#include "engine/metric/span_score.h"
#include "engine/train/loop.h"
#include "engine/unlearn/chunks.h"
#include "engine/unlearn/forget_state.h"
#include "engine/unlearn/hold_control.h"
#include "engine/unlearn/kept_text.h"
#include "engine/unlearn/method_table.h"
#include "engine/unlearn/target_distance.h"

namespace lethe {
namespace {

constexpr double kLargestScale = 3;  // of learning_rate, while all goes well
constexpr double kLess = 0.99;       // a KL that falls, falls below this share of the least so far
constexpr double kNearLeast = 1.02;  // a run ends settled no further than this above the least
constexpr int64_t kPlateau = 10;     // steps without a fall before the step size is halved
constexpr double kLeastEase = 1.0 / 16;

// The values of the parameter "spans".
enum class Aim { kWhole = 0, kTickets = 1, kSurprising = 2 };

std::vector<Span> SpansOf(const Sequence& sequence, const SequenceTargets& targets,
                          const ParameterValues& parameters) {
  switch (static_cast<Aim>(static_cast<int>(parameters.at("spans")))) {
    case Aim::kTickets:
      return sequence.sensitive;
    case Aim::kSurprising:
      return SurprisingSpans(sequence, targets, parameters.at("span_probability"),
                             static_cast<int64_t>(parameters.at("span_tokens")));
    case Aim::kWhole:
      break;
  }
  return {};
}

std::vector<DistillationAim> MakeAims(std::span<const Sequence> forget,
                                      std::span<const SequenceTargets> targets,
                                      const ParameterValues& parameters) {
  std::vector<DistillationAim> aims;
  for (size_t i = 0; i < forget.size(); ++i) {
    DistillationAim aim{.sequence = forget[i]};
    aim.sequence.sensitive = SpansOf(forget[i], targets[i], parameters);
    aim.entries = CountedEntries(aim.sequence, /*on_spans=*/true);
    aim.targets = targets[i].At(aim.entries);
    aims.push_back(std::move(aim));
  }
  return aims;
}

// What top-k has left out of the targets, for the record.
void NoteRest(std::span<const DistillationAim> aims, std::map<std::string, double>& figures) {
  double sum = 0, largest = 0, tokens = 0;
  for (const DistillationAim& aim : aims) {
    sum += aim.targets.rest.sum().item<double>();
    largest = std::max(largest, aim.targets.rest.max().item<double>());
    tokens += static_cast<double>(aim.targets.Rows());
  }
  figures["target_tokens"] = tokens;
  figures["rest_mass"] = sum / tokens;
  figures["rest_mass_max"] = largest;
}

// The run over one chunk: hooks for the loop, and what they share.
class ChunkDistillation {
 public:
  ChunkDistillation(const MethodInput& input, const ChunkOf& chunk,
                    std::span<const DistillationAim> aims, KeptText& kept, MicroBatch& micro_batch)
      : input_(input),
        number_(chunk.number),
        kept_(kept),
        micro_batch_(micro_batch),
        towards_(static_cast<Towards>(static_cast<int>(Get("labels")))),
        limit_(Get("max_retain_rise")),
        control_(limit_),
        state_(chunk.sequences, input.thresholds,
               {.el_n = static_cast<int>(Get("el_n")),
                .slack = Get("threshold_slack"),
                .worst_slack = Get("worst_slack")},
               input.ranks),
        distance_(aims, input.ranks) {
    for (const DistillationAim& aim : aims) {
      aimed_.push_back(aim.sequence);
      targets_.push_back(aim.targets);
    }
  }

  absl::StatusOr<ChunkOutcome> Run() {
    LETHE_RETURN_IF_ERROR(Measure());
    least_kl_ = distance_.MeanKl();
    LETHE_ASSIGN_OR_RETURN(const std::string done, Done());
    if (!done.empty()) return ChunkOutcome{.loop = {.stop_reason = done}};
    const double rate = Get("learning_rate");
    const LoopOptions options{
        .phase = "unlearning",
        .max_steps = static_cast<int64_t>(Get("max_steps")),
        .learning_rate = [this, rate](int64_t) { return ease_ * rate; },
        .adam = {.beta1 = Get("beta1"), .beta2 = Get("beta2"), .seed = input_.seed},
        .max_grad_norm = Get("max_grad_norm"),
        .may_take_back = true,
        .max_scale = kLargestScale,
        .ranks = input_.ranks,
        .micro_batch = &micro_batch_,
        // As for bounded ascent: a step that goes too far is taken back, whatever its norm was.
        .norm_band = {.width = 1000, .floor = 0.2}};
    const LoopHooks hooks{.parts = [this](int64_t step) { return Parts(step); },
                          .judge = [this](const StepReport& step) { return Judge(step); }};
    ChunkOutcome outcome;
    LETHE_ASSIGN_OR_RETURN(outcome.loop, RunLoop(input_.training, hooks, options, input_.progress));
    outcome.records = std::move(records_);
    return outcome;
  }

 private:
  double Get(const char* name) const { return input_.parameters.at(name); }
  bool Holds() const { return Get("retain_weight") > 0 && kept_.HasRetain(); }

  absl::StatusOr<std::vector<StepPart>> Parts(int64_t step) {
    if (step != begun_) {  // else memory ran out: the same step again
      begun_ = step;
      control_.Note(kept_.Rise(), kept_.Damage());
      kept_.Draw(static_cast<size_t>(Get("retain_batch")));
    }
    std::vector<StepPart> parts;
    teaches_ = control_.MayPush() || !Holds();
    if (teaches_) {
      LETHE_RETURN_IF_ERROR(Cut());
      parts = teaching_;
    }
    if (!Holds()) return parts;
    const double weight = Get("retain_weight") * control_.firmness();
    LETHE_ASSIGN_OR_RETURN(auto hold, kept_.HoldParts(input_.training, weight, Cutting()));
    for (StepPart& part : hold) {
      part.share = {.loss = weight, .guarded = 1, .held = 1};
      parts.push_back(std::move(part));
    }
    return parts;
  }

  BatchOptions Cutting() const {
    return {.max_tokens = micro_batch_.tokens(),
            .ranks = input_.ranks,
            .in_buckets = RepeatsSteps(input_.model.device(), input_.ranks),
            .on_host = true};
  }

  // The chunk in micro-batches as large as memory allows, each with its targets: the same in every
  // step.
  absl::Status Cut() {
    if (cut_by_ == micro_batch_.tokens()) return absl::OkStatus();
    teaching_.clear();
    BatchOptions cutting = Cutting();
    cutting.labels = Labels::kSensitive;
    LETHE_ASSIGN_OR_RETURN(const auto batches, MakeBatches(input_.model, aimed_, cutting));
    const at::Tensor labelled =
        at::scalar_tensor(LabelledTokens(aimed_, cutting.labels), at::kFloat);
    for (const LossBatch& batch : batches) teaching_.push_back(Teach(batch, labelled));
    cut_by_ = micro_batch_.tokens();
    return absl::OkStatus();
  }

  StepPart Teach(const LossBatch& batch, const at::Tensor& labelled) const {
    StepPart part{.kind = "teach", .inputs = batch.Tensors()};
    const size_t own = part.inputs.size();
    for (at::Tensor& tensor : LabelsOf(batch, targets_, towards_).Tensors()) {
      part.inputs.push_back(std::move(tensor));
    }
    part.inputs.push_back(EntropyOf(batch));
    part.inputs.push_back(labelled);
    part.loss = [this, batch, own](std::span<const at::Tensor> inputs) {
      const at::Tensor cross_entropy = ComputeSoftLosses(input_.training, batch.With(inputs),
                                                         SoftLabels::Of(inputs.subspan(own)));
      const at::Tensor loss = DistillationLoss(cross_entropy, inputs[own + 3], inputs[own + 4]);
      return PartLoss{.slope_of = loss, .value = loss};
    };
    return part;
  }

  // (N): of the targets; 0 of hard labels and of what buckets have added
  at::Tensor EntropyOf(const LossBatch& batch) const {
    at::Tensor entropy = at::zeros({batch.targets.size(0)});
    if (towards_ != Towards::kDistribution) return entropy;
    int64_t row = 0;
    for (const size_t s : batch.sequences) {
      entropy.narrow(0, row, targets_[s].Rows()).copy_(targets_[s].entropy);
      row += targets_[s].Rows();
    }
    return entropy;
  }

  absl::Status Measure() {
    LETHE_RETURN_IF_ERROR(state_.Measure(input_.model, distance_.Hooks(input_.model)));
    return distance_.Share();
  }

  bool SaysWhatTheTeachersSay() const {
    return distance_.WorstKl() <= Get("kl_bound") && NoPassageIsKnown();
  }
  bool NoPassageIsKnown() const { return distance_.WorstPassage() <= Get("passage_nats"); }

  // Why the run may end here; empty: it may not. As unlearn.h has it.
  absl::StatusOr<std::string> Done() {
    const bool settled = Settled();
    if (kept_.Damage() > limit_ || (!NoPassageIsKnown() && !settled)) return std::string();
    std::string reason;
    if (NoPassageIsKnown()) {
      LETHE_ASSIGN_OR_RETURN(const bool under, state_.UnderThresholds(input_.model));
      if (under) reason = "thresholds_reached";
    }
    if (reason.empty() && SaysWhatTheTeachersSay()) reason = "targets_reached";
    if (reason.empty() && settled) reason = "settled";
    if (reason.empty()) return reason;
    // What steps go by may have been measured in bf16; a run ends by fp32.
    LETHE_ASSIGN_OR_RETURN(const double damage, kept_.ExactDamage(input_.training));
    return damage <= limit_ ? reason : std::string();
  }

  // The KL has not fallen for a while, and the state is about as good as the best.
  bool Settled() const {
    return steps_since_least_ >= static_cast<int64_t>(Get("patience")) &&
           distance_.MeanKl() <= kNearLeast * least_kl_;
  }

  // Near the end, steps that are too large only stir in the noise of what is held. A step that was
  // the hold's alone says nothing.
  void NoteProgress() {
    if (!teaches_) return;
    ++steps_since_least_;
    if (steps_since_least_ % kPlateau == 0) ease_ = std::max(ease_ / 2, kLeastEase);
    if (distance_.MeanKl() >= kLess * least_kl_) return;
    least_kl_ = distance_.MeanKl();
    steps_since_least_ = 0;
  }

  // A hard label's own optimum is elsewhere than the distribution's.
  bool WentTooFar(double kl_before) const {
    const bool away = towards_ == Towards::kDistribution &&
                      distance_.MeanKl() > 1.5 * kl_before + Get("kl_bound");
    return away || control_.TooFar(kept_.Damage());
  }

  absl::StatusOr<Judgement> Judge(const StepReport& step) {
    const double kl_before = distance_.MeanKl();
    LETHE_RETURN_IF_ERROR(Measure());
    LETHE_RETURN_IF_ERROR(kept_.Probe(input_.training));
    Judgement judgement{
        .take_back = WentTooFar(kl_before),
        .speed_up = steps_since_least_ < kPlateau / 2 && control_.LeavesRoom(kept_.Damage())};
    StepRecord record{.step = static_cast<int64_t>(records_.size()) + 1,
                      .chunk = number_,
                      .accepted = !judgement.take_back,
                      .learning_rate = step.learning_rate,
                      .loss = step.loss,
                      .retain_loss = step.held,
                      .grad_norm = step.grad_norm,
                      .nll = state_.MeanNll(),
                      .ma = state_.MeanMa(),
                      .kl = distance_.MeanKl()};
    const double excess = limit_ > 0 ? std::max(0.0, kept_.Damage() / limit_ - 1) : 0;
    judgement.score = distance_.MeanKl() + excess;
    judgement.figures = {{"nll", record.nll},
                         {"ma", record.ma},
                         {"kl", record.kl},
                         {"passage", distance_.WorstPassage()},
                         {"damage", kept_.Damage()}};
    if (judgement.take_back) {  // what the next step sees is the state before this one
      state_.Revert();
      distance_.Revert();
      kept_.Revert();
    } else {
      NoteProgress();
      if (step.step >= static_cast<int64_t>(Get("min_steps"))) {
        LETHE_ASSIGN_OR_RETURN(judgement.stop_reason, Done());
        judgement.stop = !judgement.stop_reason.empty();
        record.el = state_.MeanEl();
      }
    }
    if (record.el >= 0) {
      judgement.figures["el_" + std::to_string(static_cast<int>(Get("el_n")))] = record.el;
    }
    records_.push_back(record);
    return judgement;
  }

  const MethodInput& input_;
  const int number_;
  KeptText& kept_;
  MicroBatch& micro_batch_;
  const Towards towards_;
  const double limit_;
  HoldControl control_;
  ForgetState state_;
  TargetDistance distance_;
  std::vector<Sequence> aimed_;           // sensitive spans: what the loss is over
  std::vector<SequenceTargets> targets_;  // of them
  int64_t begun_ = 0;                     // the step that is being made
  bool teaches_ = false;                  // this step; else it is the hold's alone
  std::vector<StepPart> teaching_;
  int64_t cut_by_ = 0;  // the micro-batch that teaching_ was cut by
  double least_kl_ = std::numeric_limits<double>::infinity();
  int64_t steps_since_least_ = 0;
  double ease_ = 1;  // of the learning rate
  std::vector<StepRecord> records_;
};

// Before and after, over all sequences.
absl::Status NoteDistance(const MethodInput& input, std::span<const DistillationAim> aims,
                          const std::string& when, std::map<std::string, double>& figures) {
  TargetDistance distance(aims, input.ranks);
  LETHE_RETURN_IF_ERROR(distance.Measure(input.model));
  figures["kl_" + when] = distance.MeanKl();
  figures["kl_worst_" + when] = distance.WorstKl();
  figures["passage_" + when] = distance.WorstPassage();
  return absl::OkStatus();
}

}  // namespace

std::vector<Span> SurprisingSpans(const Sequence& sequence, const SequenceTargets& targets,
                                  double below, int64_t min_tokens) {
  const int32_t first = FirstScored(sequence);
  const auto end = static_cast<int32_t>(sequence.ids.size());
  const float* own = targets.own.const_data_ptr<float>();
  std::vector<Span> spans;
  for (int32_t t = first; t < end; ++t) {
    if (own[t - first] >= std::log(below)) continue;
    if (!spans.empty() && t - spans.back().end <= 1) {
      spans.back().end = t + 1;
    } else {
      spans.push_back({t, t + 1});
    }
  }
  std::vector<Span> grown;
  for (Span span : spans) {
    const auto wanted = static_cast<int32_t>(min_tokens);
    span.end = std::min(end, std::max(span.end, span.begin + wanted));
    span.begin = std::max(first, std::min(span.begin, span.end - wanted));
    if (!grown.empty() && span.begin <= grown.back().end) {
      grown.back().end = std::max(grown.back().end, span.end);
    } else {
      grown.push_back(span);
    }
  }
  return grown;
}

absl::StatusOr<MethodOutcome> LeaveOneOut(const MethodInput& input) {
  const auto get = [&](const char* name) { return input.parameters.at(name); };
  LETHE_ASSIGN_OR_RETURN(
      const std::vector<SequenceTargets> targets,
      MakeTeacherTargets(*input.teachers, input.forget,
                         {.kept = static_cast<int64_t>(get("kept_entries")),
                          .row_bytes = static_cast<int64_t>(get("row_megabytes")) << 20,
                          .max_tokens = static_cast<int64_t>(get("micro_batch_tokens")),
                          .seed = input.seed},
                         input.progress));
  const std::vector<DistillationAim> aims = MakeAims(input.forget, targets, input.parameters);
  std::map<std::string, double> figures;
  NoteRest(aims, figures);
  LETHE_RETURN_IF_ERROR(NoteDistance(input, aims, "before", figures));
  LETHE_ASSIGN_OR_RETURN(KeptText kept, KeptText::Make(input.training, input.retain, input.watch,
                                                       input.seed, input.progress, input.ranks));
  LETHE_ASSIGN_OR_RETURN(
      MethodOutcome outcome, InChunks(input, [&](const ChunkOf& chunk, MicroBatch& micro_batch) {
        const auto mine = std::span(aims).subspan(chunk.begin, chunk.sequences.size());
        return ChunkDistillation(input, chunk, mine, kept, micro_batch).Run();
      }));
  LETHE_RETURN_IF_ERROR(NoteDistance(input, aims, "after", figures));
  outcome.figures = std::move(figures);
  return outcome;
}

}  // namespace lethe
