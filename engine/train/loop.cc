#include "engine/train/loop.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/stack.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "engine/torch_status.h"

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
bool WeightsAreFinite(const Decoder& model) {
  at::NoGradGuard no_grad;
  return at::stack(at::_foreach_norm(model.Leaves(), 2)).isfinite().all().item<bool>();
}

// The best state seen, as a copy of the weights.
class Best {
 public:
  void Offer(double score, const Decoder& model) {
    if (!weights_.empty() && !(score < score_)) return;
    score_ = score;
    weights_ = model.Snapshot();
  }
  void RestoreTo(const Decoder& model) const {
    if (!weights_.empty()) model.Restore(weights_);
  }

 private:
  double score_ = 0;
  std::vector<at::Tensor> weights_;
};

class Loop {
 public:
  Loop(const Decoder& model, const LoopHooks& hooks, const LoopOptions& options)
      : model_(model),
        hooks_(hooks),
        options_(options),
        adam_(model.Leaves(), options.adam),
        loss_band_(options.loss_band),
        norm_band_(options.norm_band) {}

  absl::StatusOr<LoopResult> Run(const ProgressCallback& progress) {
    for (int64_t step = 1; step <= options_.max_steps; ++step) {
      LETHE_ASSIGN_OR_RETURN(const StepReport made, Step(step));
      Judgement judgement;
      if (hooks_.judge != nullptr) {
        LETHE_ASSIGN_OR_RETURN(judgement, hooks_.judge(made));
      }
      Follow(judgement);
      judgement.figures["loss"] = made.loss;
      judgement.figures["grad_norm"] = made.grad_norm;
      LETHE_RETURN_IF_ERROR(
          Report(progress, {options_.phase, step, options_.max_steps, judgement.figures}));
      if (judgement.stop) {
        return End(judgement.stop_reason);
      }
      if (scale_ < options_.stall_scale) {
        best_.RestoreTo(model_);
        return End("stalled");
      }
    }
    best_.RestoreTo(model_);
    return End("max_steps");
  }

 private:
  // Loss and gradient were judged before each step; what the last one did to the weights was not.
  absl::StatusOr<LoopResult> End(const std::string& reason) {
    if (!WeightsAreFinite(model_))
      return Diverged("a weight", BandVerdict::kNotFinite, result_.steps);
    result_.stop_reason = reason;
    return result_;
  }

  absl::StatusOr<StepReport> Step(int64_t step) {
    model_.ZeroGradients();
    LETHE_ASSIGN_OR_RETURN(const StepLoss loss, hooks_.accumulate(step));
    if (auto verdict = loss_band_.Judge(loss.guarded); verdict != BandVerdict::kInside) {
      return Diverged("the loss", verdict, step);
    }
    const double norm = adam_.GradientNorm();
    if (auto verdict = norm_band_.Judge(norm); verdict != BandVerdict::kInside) {
      return Diverged("the gradient", verdict, step);
    }
    if (options_.may_take_back) {
      weights_before_ = model_.Snapshot();
      adam_before_ = adam_.Save();
    }
    adam_.Clip(norm, options_.max_grad_norm);
    const double rate = scale_ * options_.learning_rate(step);
    adam_.Step(rate);
    model_.ZeroGradients();
    result_.steps = step;
    result_.last_loss = loss.loss;
    return StepReport{step, rate, loss.loss, norm};
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
    if (judgement.score.has_value()) best_.Offer(*judgement.score, model_);
  }

  // After a step that stands: back to the whole, and beyond it only as long as judge() asks for it.
  double NextScale(bool speed_up) const {
    if (scale_ < 1) return std::min(1.0, scale_ * options_.regrow);
    return speed_up ? std::min(options_.max_scale, scale_ * options_.speed_up) : 1;
  }

  const Decoder& model_;
  const LoopHooks& hooks_;
  const LoopOptions& options_;
  Adam adam_;
  RunningBand loss_band_, norm_band_;
  Best best_;
  std::vector<at::Tensor> weights_before_;
  Adam::State adam_before_;
  double scale_ = 1;
  LoopResult result_;
};

}  // namespace

absl::StatusOr<LoopResult> RunLoop(const Decoder& model, const LoopHooks& hooks,
                                   const LoopOptions& options, const ProgressCallback& progress) {
  return CatchTorch("training", [&]() -> absl::StatusOr<LoopResult> {
    return Loop(model, hooks, options).Run(progress);
  });
}

}  // namespace lethe
