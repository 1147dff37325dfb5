#include "engine/unlearn/gradient_ascent.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>

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

namespace lethe {
namespace {

constexpr double kNone = std::numeric_limits<double>::infinity();
constexpr double kLargestScale = 3;  // of learning_rate, while a bounded run goes well
constexpr int kPatience = 30;        // steps at the targets before a run counts as settled

// Targets and ceilings of a micro-batch's rows.
struct Bounds {
  std::vector<float> target, ceiling, steep;  // (B)
  void Add(const Aim* aim) {
    target.push_back(static_cast<float>(aim == nullptr ? -kNone : aim->target));
    ceiling.push_back(static_cast<float>(aim == nullptr ? kNone : aim->Ceiling()));
    steep.push_back(static_cast<float>(aim == nullptr ? 0 : 4 / std::max(aim->allowance, 1e-3)));
  }
  int64_t Count() const { return static_cast<int64_t>(target.size()); }
};

// What a micro-batch's rows and tokens are to reach.
struct BatchAims {
  Bounds whole, spans;         // (B)
  std::vector<float> in_span;  // (N): a token's share in the mean over its row's spans; 0 outside
  std::vector<float> chosen;   // (N): how hard a token is pushed while it is the first choice
};

// The run over one chunk: hooks for the loop, and what they share.
class ChunkRun {
 public:
  ChunkRun(const MethodInput& input, std::span<const Sequence> chunk, int number, KeptText& kept,
           MicroBatch& micro_batch)
      : input_(input),
        chunk_(chunk),
        number_(number),
        kept_(kept),
        micro_batch_(micro_batch),
        bounded_(Get("bounded") != 0),
        limit_(Get("max_retain_rise")),
        control_(limit_),
        state_(chunk, input.thresholds,
               {.el_n = static_cast<int>(Get("el_n")),
                .overshoot_sds = Get("overshoot_sds"),
                .slack = Get("threshold_slack"),
                .worst_slack = Get("worst_slack"),
                .spans = Get("bounded") != 0},
               input.ranks) {}

  absl::StatusOr<LoopResult> Run() {
    LETHE_RETURN_IF_ERROR(state_.Measure(input_.model));
    if (bounded_) {
      LETHE_ASSIGN_OR_RETURN(const bool done, Done());
      if (done) return LoopResult{.stop_reason = "thresholds_reached"};
    }
    const double rate = Get("learning_rate");
    LoopOptions options{
        .phase = "unlearning",
        .max_steps = static_cast<int64_t>(Get("max_steps")),
        .learning_rate = [rate](int64_t) { return rate; },
        .adam = {.beta1 = Get("beta1"), .beta2 = Get("beta2"), .seed = input_.seed},
        .max_grad_norm = Get("max_grad_norm"),
        .may_take_back = bounded_,
        .max_scale = bounded_ ? kLargestScale : 1,
        .ranks = input_.ranks,
        .micro_batch = &micro_batch_,
        // A bounded step that goes too far is taken back, whatever its norm was: the band is left
        // to refuse what no taking back can mend.
        .norm_band = {.width = bounded_ ? 1000.0 : 50.0, .floor = 0.2}};
    LoopHooks hooks{.parts =
                        [this](int64_t step) {
                          Begin(step);
                          return bounded_ ? BoundedParts() : PlainParts();
                        },
                    .judge = [this](const StepReport& step) { return Judge(step); }};
    return RunLoop(input_.training, hooks, options, input_.progress);
  }

  std::vector<StepRecord> TakeRecords() { return std::move(records_); }

 private:
  double Get(const char* name) const { return input_.parameters.at(name); }

  // What is done once for a step, however often memory runs out in it.
  void Begin(int64_t step) {
    if (step == begun_) return;
    begun_ = step;
    if (bounded_) control_.Note(kept_.Rise(), kept_.Damage());
    kept_.Draw(static_cast<size_t>(Get("retain_batch")));
  }

  // The chunk in micro-batches as large as memory allows.
  absl::Status Cut() {
    if (cut_by_ == micro_batch_.tokens()) return absl::OkStatus();
    batches_.clear();
    cut_by_ = 0;
    LETHE_ASSIGN_OR_RETURN(batches_, MakeBatches(input_.model, chunk_, Cutting()));
    cut_by_ = micro_batch_.tokens();
    return absl::OkStatus();
  }

  BatchOptions Cutting() const {
    return {.max_tokens = micro_batch_.tokens(),
            .ranks = input_.ranks,
            .in_buckets = RepeatsSteps(input_.model.device(), input_.ranks),
            .on_host = true};
  }

  absl::StatusOr<std::vector<StepPart>> PlainParts() {
    LETHE_RETURN_IF_ERROR(Cut());
    const int64_t labelled = LabelledTokens(chunk_);
    std::vector<StepPart> parts;
    for (const LossBatch& batch : batches_) {
      StepPart part{.kind = "ascent", .inputs = batch.Tensors()};
      part.loss = [this, &batch, labelled](std::span<const at::Tensor> inputs) {
        const TokenLosses losses = ComputeTokenLosses(input_.training, batch.With(inputs));
        const at::Tensor loss = AscentLoss(losses.nll, labelled);
        return PartLoss{.slope_of = loss, .value = loss};
      };
      parts.push_back(std::move(part));
    }
    const double weight = HoldWeight();
    return WithHold(std::move(parts), {.loss = weight, .guarded = weight, .held = 1});
  }

  // The push comes and goes; it is what is held that must not run away.
  absl::StatusOr<std::vector<StepPart>> BoundedParts() {
    LETHE_RETURN_IF_ERROR(Cut());
    std::vector<StepPart> parts;
    if (control_.MayPush()) {
      for (const LossBatch& batch : batches_) parts.push_back(PushTowardsTargets(batch));
    }
    return WithHold(std::move(parts), {.loss = HoldWeight(), .guarded = 1, .held = 1});
  }

  double HoldWeight() const { return Get("retain_weight") * control_.firmness(); }

  absl::StatusOr<std::vector<StepPart>> WithHold(std::vector<StepPart> parts,
                                                 const StepLoss& share) const {
    const double weight = HoldWeight();
    if (weight == 0 || !kept_.HasRetain()) return parts;
    LETHE_ASSIGN_OR_RETURN(std::vector<StepPart> hold,
                           kept_.HoldParts(input_.training, weight, Cutting()));
    for (StepPart& part : hold) {
      part.share = share;
      parts.push_back(std::move(part));
    }
    return parts;
  }

  // The calibrated loss of one micro-batch.
  StepPart PushTowardsTargets(const LossBatch& batch) const {
    // Unseen text has surprises far beyond a uniform guess; a cap at the guess itself would leave
    // the forgotten without any, and Min-K% would know them by that.
    const double guess = 1.5 * std::log(static_cast<double>(input_.model.config().vocab_size));
    const BatchAims aims = AimsOf(batch);
    StepPart part{.kind = "push", .inputs = batch.Tensors(), .share = {.loss = 1}};
    const size_t own = part.inputs.size();
    for (const auto* numbers :
         {&aims.in_span, &aims.chosen, &aims.whole.target, &aims.whole.ceiling, &aims.whole.steep,
          &aims.spans.target, &aims.spans.ceiling, &aims.spans.steep}) {
      part.inputs.push_back(at::tensor(*numbers, at::kFloat));
    }
    part.loss = [this, &batch, guess, own](std::span<const at::Tensor> inputs) {
      const at::Tensor loss = PushLoss(batch.With(inputs), inputs.subspan(own), guess);
      return PartLoss{.slope_of = loss, .value = loss};
    };
    return part;
  }

  // aims: in_span (N), chosen (N), then target, ceiling and steep (B) of the whole and of the spans
  at::Tensor PushLoss(const LossBatch& batch, std::span<const at::Tensor> aims,
                      double guess) const {
    const at::Tensor& in_span = aims[0];
    const auto count = static_cast<int64_t>(chunk_.size());
    const TokenLosses losses = ComputeTokenLosses(input_.training, batch);
    const at::Tensor& nll = losses.nll;                                   // (N)
    const at::Tensor pushed = at::where(nll > guess, nll.detach(), nll);  // (N)
    // Spans have an aim of their own: what the whole still lacks is asked of the other tokens.
    const at::Tensor outside = at::where(in_span > 0, nll.detach(), pushed);  // (N)
    const at::Tensor chosen = aims[1] * (losses.choice == batch.targets);     // (N)
    return CalibratedAscentLoss(MeanByRow(batch, outside), aims[2], count) +
           CalibratedAscentLoss(SumByRow(batch, pushed * in_span), aims[5], count) +
           AscentLoss(nll * chosen, count) +
           LeadBackLoss(MeanByRow(batch, nll), aims[3], aims[4], count) +
           LeadBackLoss(SumByRow(batch, nll * in_span), aims[6], aims[7], count);
  }

  BatchAims AimsOf(const LossBatch& batch) const {
    BatchAims aims;
    for (size_t b = 0; b < batch.sequences.size(); ++b) {
      const ForgetTarget& target = state_.targets()[batch.sequences[b]];
      const auto length = static_cast<size_t>(batch.labelled[b]);
      const size_t row = aims.in_span.size();
      aims.whole.Add(&target.whole);
      aims.spans.Add(target.spans.has_value() ? &*target.spans : nullptr);
      aims.in_span.resize(row + length, 0.0F);
      aims.chosen.resize(row + length,
                         state_.StillChosen(target.whole) ? 1.0F / static_cast<float>(length) : 0);
      if (!target.spans.has_value()) continue;
      const std::vector<size_t> entries = SpanEntries(chunk_[batch.sequences[b]]);
      const float share = 1.0F / static_cast<float>(entries.size());
      for (const size_t e : entries) {
        aims.in_span[row + e] = share;
        aims.chosen[row + e] = state_.StillChosen(*target.spans) ? share : 0;
      }
    }
    // What buckets have added has no aim.
    for (int64_t b = aims.whole.Count(); b < batch.ids.size(0); ++b) {
      aims.whole.Add(nullptr);
      aims.spans.Add(nullptr);
    }
    aims.in_span.resize(batch.targets.size(0), 0.0F);
    aims.chosen.resize(batch.targets.size(0), 0.0F);
    return aims;
  }

  // The paper's rule; with a bounded preset every sequence must have arrived too, and the kept text
  // be whole.
  absl::StatusOr<bool> Done() {
    if (bounded_ && (!state_.AllArrived() || kept_.Damage() > limit_)) return false;
    LETHE_ASSIGN_OR_RETURN(const bool under, state_.UnderThresholds(input_.model));
    return under ? KeptIsWhole() : false;
  }

  // What steps go by may have been measured in bf16; a run ends by fp32.
  absl::StatusOr<bool> KeptIsWhole() {
    if (!bounded_) return true;
    LETHE_ASSIGN_OR_RETURN(const double damage, kept_.ExactDamage(input_.training));
    return damage <= limit_;
  }

  // Every sequence has been at its target for a while, and MA or EL_n do not come down further:
  // templates are everybody's.
  bool Settled() {
    settled_steps_ = state_.AllArrived() && kept_.Damage() <= limit_ ? settled_steps_ + 1 : 0;
    return settled_steps_ >= kPatience;
  }

  absl::StatusOr<Judgement> Judge(const StepReport& step) {
    LETHE_RETURN_IF_ERROR(state_.Measure(input_.model));
    Judgement judgement;
    if (bounded_) {
      LETHE_RETURN_IF_ERROR(kept_.Probe(input_.training));
      judgement.speed_up = !state_.AllArrived() && control_.LeavesRoom(kept_.Damage());
      judgement.take_back = state_.Overshot() || control_.TooFar(kept_.Damage());
    }
    StepRecord record{.step = static_cast<int64_t>(records_.size()) + 1,
                      .chunk = number_,
                      .accepted = !judgement.take_back,
                      .learning_rate = step.learning_rate,
                      .loss = step.loss,
                      .retain_loss = step.held,
                      .grad_norm = step.grad_norm,
                      .nll = state_.MeanNll(),
                      .ma = state_.MeanMa()};
    if (!judgement.take_back && step.step >= static_cast<int64_t>(Get("min_steps"))) {
      LETHE_ASSIGN_OR_RETURN(judgement.stop, Done());
      record.el = state_.MeanEl();
      if (judgement.stop) judgement.stop_reason = "thresholds_reached";
      if (!judgement.stop && bounded_ && Settled()) {
        LETHE_ASSIGN_OR_RETURN(judgement.stop, KeptIsWhole());
        if (judgement.stop) judgement.stop_reason = "targets_reached";
      }
    }
    if (bounded_) {
      const double excess = limit_ > 0 ? std::max(0.0, kept_.Damage() / limit_ - 1) : 0;
      judgement.score = state_.Distance() + excess;
      judgement.figures["damage"] = kept_.Damage();
    }
    judgement.figures["nll"] = record.nll;
    judgement.figures["ma"] = record.ma;
    if (record.el >= 0)
      judgement.figures["el_" + std::to_string(static_cast<int>(Get("el_n")))] = record.el;
    records_.push_back(record);
    if (judgement.take_back) {  // what the next step sees is the state before this one
      state_.Revert();
      kept_.Revert();
    }
    return judgement;
  }

  const MethodInput& input_;
  const std::span<const Sequence> chunk_;
  const int number_;
  KeptText& kept_;
  MicroBatch& micro_batch_;
  const bool bounded_;
  const double limit_;
  HoldControl control_;
  ForgetState state_;
  int64_t begun_ = 0;  // the step that is being made
  std::vector<LossBatch> batches_;
  int64_t cut_by_ = 0;  // the micro-batch that batches_ were cut by
  int settled_steps_ = 0;
  std::vector<StepRecord> records_;
};

}  // namespace

absl::StatusOr<MethodOutcome> GradientAscent(const MethodInput& input) {
  LETHE_ASSIGN_OR_RETURN(KeptText kept, KeptText::Make(input.training, input.retain, input.watch,
                                                       input.seed, input.progress, input.ranks));
  return InChunks(
      input, [&](const ChunkOf& chunk, MicroBatch& micro_batch) -> absl::StatusOr<ChunkOutcome> {
        ChunkRun run(input, chunk.sequences, chunk.number, kept, micro_batch);
        LETHE_ASSIGN_OR_RETURN(LoopResult loop, run.Run());
        return ChunkOutcome{std::move(loop), run.TakeRecords()};
      });
}

}  // namespace lethe
