#include "engine/train/loop.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/stack.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "engine/torch_status.h"
#include "engine/train/device_step.h"
#include "engine/train/reduce.h"

namespace lethe {
namespace {

absl::Status Diverged(std::string_view what, BandVerdict verdict, int64_t step) {
  const std::string how =
      verdict == BandVerdict::kNotFinite ? " is not finite" : " left its running band";
  return Error(absl::StatusCode::kFailedPrecondition, "METHOD_DIVERGED",
               std::string(what) + how + "; try a smaller learning rate or another preset",
               {{"step", std::to_string(step)}});
}

// One number that is not finite makes the norm of its tensor so.
bool WeightsAreFinite(const LanguageModel& model) {
  at::NoGradGuard no_grad;
  return at::stack(at::_foreach_norm(model.Leaves(), 2)).isfinite().all().item<bool>();
}

absl::Status OneSequenceTooMany(const MicroBatch& micro_batch) {
  const std::string longest = std::to_string(micro_batch.longest());
  return Error(absl::StatusCode::kResourceExhausted, "OUT_OF_MEMORY",
               "a training step over one sequence of " + longest +
                   " tokens does not fit into memory; use shorter sequences or a device with more "
                   "memory",
               {{"tokens", longest}});
}

// Gradients on the leaves, clipped, and their numbers.
struct Slope {
  StepLoss loss;
  double norm = 0;  // before clipping
};

std::string Bytes(const double* values, size_t count) {
  return {reinterpret_cast<const char*>(values), count * sizeof(double)};
}

// The sums over all ranks, added in their order.
absl::StatusOr<StepLoss> SumLosses(Ranks* ranks, const StepLoss& mine) {
  if (ranks == nullptr) return mine;
  const double parts[] = {mine.loss, mine.guarded, mine.held};
  LETHE_ASSIGN_OR_RETURN(const auto all, ranks->Gather(Bytes(parts, std::size(parts))));
  StepLoss sum;
  for (const std::string& bytes : all) {
    double theirs[std::size(parts)] = {};
    bytes.copy(reinterpret_cast<char*>(theirs), sizeof(theirs));
    sum.loss += theirs[0];
    sum.guarded += theirs[1];
    sum.held += theirs[2];
  }
  return sum;
}

// What rank 0 has judged: all ranks follow it, and none is left alone in another step.
absl::StatusOr<Judgement> JudgementOfFirst(Ranks* ranks, Judgement mine) {
  if (ranks == nullptr) return mine;
  const double parts[] = {mine.stop ? 1.0 : 0.0, mine.take_back ? 1.0 : 0.0,
                          mine.speed_up ? 1.0 : 0.0, mine.score.has_value() ? 1.0 : 0.0,
                          mine.score.value_or(0)};
  LETHE_ASSIGN_OR_RETURN(const auto all,
                         ranks->Gather(Bytes(parts, std::size(parts)) + mine.stop_reason));
  double first[std::size(parts)] = {};
  all[0].copy(reinterpret_cast<char*>(first), sizeof(first));
  mine.stop = first[0] != 0;
  mine.take_back = first[1] != 0;
  mine.speed_up = first[2] != 0;
  mine.score = first[3] != 0 ? std::optional(first[4]) : std::nullopt;
  mine.stop_reason = all[0].substr(sizeof(first));
  return mine;
}

// Where copies of the state before a step and of the best one are kept: beside the weights, or, on a
// GPU on which they would leave too little for a step, in the host's memory.
at::Device CopiesOn(const LanguageModel& model) {
  if (!model.device().is_cuda()) return model.device();
  size_t weights = 0;
  for (const at::Tensor& leaf : model.Leaves()) weights += leaf.nbytes();
  const size_t copies = 2 * weights + 2 * weights;  // weights twice, moments once
  const auto free =
      c10::getDeviceAllocator(model.device().type())->getMemoryInfo(model.device().index()).first;
  return copies > free / 2 ? at::Device(at::kCPU) : model.device();
}

// The best state seen, as a copy of the weights.
class Best {
 public:
  void Offer(double score, const LanguageModel& model, const at::Device& where) {
    if (!weights_.empty() && !(score < score_)) return;
    weights_.clear();  // two copies are not needed at any time
    weights_ = model.Snapshot(where);
    score_ = score;
  }
  void RestoreTo(const LanguageModel& model) const {
    if (!weights_.empty()) model.Restore(weights_);
  }

 private:
  double score_ = 0;
  std::vector<at::Tensor> weights_;
};

class Loop {
 public:
  Loop(const LanguageModel& model, const LoopHooks& hooks, const LoopOptions& options)
      : model_(model),
        hooks_(hooks),
        options_(options),
        adam_(model.Leaves(), options.adam),
        loss_band_(options.loss_band),
        norm_band_(options.norm_band),
        copies_on_(CopiesOn(model)) {
    if (options_.moments_before != nullptr) adam_.Restore(*options_.moments_before);
    if (hooks_.parts == nullptr || options_.ranks != nullptr) return;
    if (options_.graphs == nullptr) own_graphs_ = MakeStepGraphs(model.device());
    graphs_ = options_.graphs != nullptr ? options_.graphs : own_graphs_.get();
    if (graphs_ != nullptr) {
      device_step_.emplace(model_, adam_, options_.max_grad_norm, *graphs_);
    }
  }

  absl::StatusOr<LoopResult> Run(const ProgressCallback& progress) {
    for (int64_t step = 1; step <= options_.max_steps; ++step) {
      LETHE_RETURN_IF_ERROR(Make(step));
      const size_t late = device_step_.has_value() && hooks_.notes_only ? 1 : 0;
      LETHE_ASSIGN_OR_RETURN(const bool ended, Settle(late, progress));
      if (ended) return End();
    }
    LETHE_ASSIGN_OR_RETURN(const bool ended, Settle(0, progress));
    if (ended) return End();
    best_.RestoreTo(model_);
    result_.stop_reason = "max_steps";
    return End();
  }

 private:
  // A step that was made, or that the device was told to make.
  struct Made {
    StepReport report;
    std::vector<StepPart> parts;
    std::shared_ptr<LateNumbers> late;  // null: the report has its numbers
  };

  // Judges the steps that were made, but for the last `late` of them. True: the run has ended.
  absl::StatusOr<bool> Settle(size_t late, const ProgressCallback& progress) {
    while (made_.size() > late) {
      Made made = std::move(made_.front());
      made_.pop_front();
      LETHE_RETURN_IF_ERROR(ReadLate(made));
      LETHE_ASSIGN_OR_RETURN(const bool ended, JudgeStep(made.report, progress));
      if (ended) return true;
    }
    return false;
  }

  absl::StatusOr<bool> JudgeStep(const StepReport& made, const ProgressCallback& progress) {
    result_.steps = made.step;
    result_.last_loss = made.loss;
    Judgement judgement;
    if (hooks_.judge != nullptr) {
      LETHE_ASSIGN_OR_RETURN(Judgement mine, hooks_.judge(made));
      LETHE_ASSIGN_OR_RETURN(judgement, JudgementOfFirst(options_.ranks, std::move(mine)));
    }
    Follow(judgement);
    judgement.figures["loss"] = made.loss;
    judgement.figures["grad_norm"] = made.grad_norm;
    if (const MicroBatch* used = options_.micro_batch; used != nullptr && used->halvings() > 0) {
      judgement.figures["micro_batch_tokens"] = static_cast<double>(used->tokens());
    }
    if (graphs_ != nullptr && !graphs_->Refusal().empty()) {
      judgement.figures["steps_not_recorded"] = 1;  // slower than they should be
    }
    LETHE_RETURN_IF_ERROR(
        Report(progress, {options_.phase, made.step, options_.max_steps, judgement.figures}));
    if (judgement.stop) {
      result_.stop_reason = judgement.stop_reason;
      return true;
    }
    if (scale_ < options_.stall_scale) {
      best_.RestoreTo(model_);
      result_.stop_reason = "stalled";
      return true;
    }
    return false;
  }

  // Loss and gradient were judged before each step; what the last one did to the weights was not.
  absl::StatusOr<LoopResult> End() {
    if (!WeightsAreFinite(model_))
      return Diverged("a weight", BandVerdict::kNotFinite, result_.steps);
    if (graphs_ != nullptr) result_.not_recorded = graphs_->Refusal();
    if (options_.moments_after != nullptr) *options_.moments_after = adam_.Save(at::kCPU);
    return result_;
  }

  absl::Status Make(int64_t step) {
    if (device_step_.has_value()) return Launch(step);
    LETHE_ASSIGN_OR_RETURN(const Slope slope, SlopeThatFits(step));
    LETHE_RETURN_IF_ERROR(Guard(slope.loss, slope.norm, step));
    const double rate = scale_ * options_.learning_rate(step);
    LETHE_RETURN_IF_ERROR(StepAdam(rate));
    model_.ZeroGradients();
    made_.push_back({.report = {step, rate, slope.loss.loss, slope.loss.held, slope.norm}});
    return absl::OkStatus();
  }

  absl::Status Guard(const StepLoss& loss, double norm, int64_t step) {
    if (auto verdict = loss_band_.Judge(loss.guarded); verdict != BandVerdict::kInside) {
      return Diverged("the loss", verdict, step);
    }
    if (auto verdict = norm_band_.Judge(norm); verdict != BandVerdict::kInside) {
      return Diverged("the gradient", verdict, step);
    }
    return absl::OkStatus();
  }

  // The whole step as work of the device, with as large a micro-batch as memory allows.
  absl::Status Launch(int64_t step) {
    const double rate = scale_ * options_.learning_rate(step);
    for (;;) {
      Made made{.report = {.step = step, .learning_rate = rate}};
      const absl::Status status = CatchTorch("training", [&]() -> absl::Status {
        LETHE_ASSIGN_OR_RETURN(made.parts, hooks_.parts(step));
        KeepBefore();
        made.late = device_step_->Launch(made.parts, rate);
        return absl::OkStatus();
      });
      if (status.ok()) {
        made_.push_back(std::move(made));
        return status;
      }
      LETHE_RETURN_IF_ERROR(MayTryWithLess(status));
      graphs_->Forget();
    }
  }

  absl::Status ReadLate(Made& made) {
    if (made.late == nullptr) return absl::OkStatus();
    DeviceStep::Numbers read;
    LETHE_RETURN_IF_ERROR(
        CatchTorch("training", [&] { read = DeviceStep::Read(made.parts, *made.late); }));
    made.report.loss = read.loss.loss;
    made.report.held = read.loss.held;
    made.report.grad_norm = read.norm;
    return Guard(read.loss, read.norm, made.report.step);
  }

  // OK where memory ran out and less at a time may fit. The weights are not touched, and what a try
  // has left on the leaves goes before the next.
  absl::Status MayTryWithLess(const absl::Status& status) {
    if (options_.micro_batch == nullptr || !IsOutOfMemory(status)) return status;
    if (!options_.micro_batch->Halve()) return OneSequenceTooMany(*options_.micro_batch);
    ForgetBefore();
    model_.ZeroGradients();
    return absl::OkStatus();
  }

  // With as large a micro-batch as memory allows.
  absl::StatusOr<Slope> SlopeThatFits(int64_t step) {
    for (;;) {
      model_.ZeroGradients();
      absl::StatusOr<Slope> slope = MakeSlope(step);
      if (slope.ok()) return slope;
      LETHE_RETURN_IF_ERROR(MayTryWithLess(slope.status()));
    }
  }

  void KeepBefore() {
    if (!options_.may_take_back) return;
    ForgetBefore();  // first, so that two of each never stand in memory
    weights_before_ = model_.Snapshot(copies_on_);
    adam_before_ = adam_.Save(copies_on_);
  }

  // The copies are of the step before, which stands.
  void ForgetBefore() {
    weights_before_.clear();
    adam_before_.moments.clear();
  }

  absl::StatusOr<StepLoss> Accumulate(int64_t step) {
    if (hooks_.parts == nullptr) return hooks_.accumulate(step);
    LETHE_ASSIGN_OR_RETURN(const std::vector<StepPart> parts, hooks_.parts(step));
    StepLoss sum;
    for (const StepPart& part : parts) {
      std::vector<at::Tensor> inputs;
      for (const at::Tensor& input : part.inputs) inputs.push_back(input.to(model_.device()));
      const PartLoss loss = part.loss(inputs);
      loss.slope_of.backward();
      part.AddTo(sum, loss.value.item<double>());
    }
    return sum;
  }

  // Where memory runs out in one rank, it has run out in all: they cut alike.
  absl::StatusOr<Slope> MakeSlope(int64_t step) {
    absl::StatusOr<StepLoss> mine = CatchTorch("training", [&] { return Accumulate(step); });
    LETHE_RETURN_IF_ERROR(Agree(options_.ranks, mine.status()));
    LETHE_ASSIGN_OR_RETURN(const StepLoss loss, SumLosses(options_.ranks, *mine));
    LETHE_RETURN_IF_ERROR(SumGradients(options_.ranks, model_));
    Slope slope{.loss = loss};
    const absl::Status kept = CatchTorch("training", [&] {
      slope.norm = adam_.GradientNorm();
      adam_.Clip(slope.norm, options_.max_grad_norm);
      KeepBefore();
    });
    LETHE_RETURN_IF_ERROR(Agree(options_.ranks, kept));
    return slope;
  }

  // A second try is all that can help here: the step takes next to nothing, and what is done stays
  // done (adam.h).
  absl::Status StepAdam(double rate) {
    const absl::Status status = CatchTorch("training", [&] { adam_.Step(rate); });
    if (!IsOutOfMemory(status)) return status;
    return CatchTorch("training", [&] { adam_.Step(rate); });
  }

  void Follow(const Judgement& judgement) {
    if (judgement.take_back && options_.may_take_back) {
      model_.Restore(weights_before_);
      adam_.Restore(adam_before_);
      adam_.DropMomentum();  // it is what carried the step too far
      scale_ /= 2;
      ++result_.taken_back;
      return;
    }
    scale_ = NextScale(judgement.speed_up);
    if (judgement.score.has_value()) best_.Offer(*judgement.score, model_, copies_on_);
  }

  // After a step that stands: back to the whole, and beyond it only as long as judge() asks for it.
  double NextScale(bool speed_up) const {
    if (scale_ < 1) return std::min(1.0, scale_ * options_.regrow);
    return speed_up ? std::min(options_.max_scale, scale_ * options_.speed_up) : 1;
  }

  const LanguageModel& model_;
  const LoopHooks& hooks_;
  const LoopOptions& options_;
  Adam adam_;
  std::unique_ptr<StepGraphs> own_graphs_;
  StepGraphs* graphs_ = nullptr;           // null: the host tells each operation
  std::optional<DeviceStep> device_step_;  // with graphs_
  std::deque<Made> made_;                  // that were not judged
  RunningBand loss_band_, norm_band_;
  const at::Device copies_on_;
  Best best_;
  std::vector<at::Tensor> weights_before_;
  Adam::State adam_before_;
  double scale_ = 1;
  LoopResult result_;
};

}  // namespace

absl::StatusOr<LoopResult> RunLoop(const LanguageModel& model, const LoopHooks& hooks,
                                   const LoopOptions& options, const ProgressCallback& progress) {
  return CatchTorch("training", [&]() -> absl::StatusOr<LoopResult> {
    return Loop(model, hooks, options).Run(progress);
  });
}

}  // namespace lethe
