// The one training loop: every method and the training from nothing run through it.
//
//   LoopHooks hooks{.parts = [&](int64_t step) { return PartsOf(batch); },   // step_part.h
//                   .judge = [&](const StepReport& step) { return Judgement{.stop = done}; }};
//   LETHE_ASSIGN_OR_RETURN(LoopResult result, RunLoop(model, hooks, options, progress));
//
// A step      parts() says what it is made of, or accumulate() leaves gradients on the leaves; the
//             loop measures their norm, asks the guard about loss and norm, clips, steps Adam, and
//             lets judge() look at the model as it now is. judge() may stop the run, score the state (the best one is kept), or have
//             the step taken back: the weights return to what they were, the momentum is dropped
//             and the step size halved.
// Step size   learning_rate times a scale: halved when a step is taken back, grown again up to the
//             whole by steps that stand, and beyond it while judge() says speed_up.
// Memory      where it runs out before the weights are touched, the gradients are dropped, the
//             micro-batch is halved and parts() or accumulate() asked again for the same step: it
//             must not draw new data for it. Where it runs out while Adam steps, the step goes on with the
//             leaves that are left. Progress then carries the figure "micro_batch_tokens".
// Ends        stopped by judge()    the model is as judge() saw it
//             max_steps or stalled  the model is the best state that judge() scored, or the last
//                                   one where none was scored
//             an error              the model is undefined: drop it
// On a GPU    that this process has for itself, a step with parts() is recorded once and then done
//             again as a whole (device_step.h), and its numbers are read when it is done: the
//             guard judges them behind the step, before judge() does. With notes_only they are read
//             while the next step runs, and the host waits for nothing. Where a step cannot be
//             recorded it is told operation by operation, and progress carries the figure
//             "steps_not_recorded".
// Ranks       what parts() or accumulate() gives is the gradient of this rank's share; loss and gradient are summed,
//             so every rank makes the same step. judge() is asked in all and rank 0's answer is
//             followed. Neither memory that runs out nor an error in one leaves the others waiting.
// Going on    with moments_before Adam begins where another run ended; moments_after has where this
//             one did. Weights and moments together are all that a run leaves to the next.
// Same        inputs give the same bits on a CPU with the same number of threads.
// Errors      CANCELLED/STOPPED within one step; FAILED_PRECONDITION/METHOD_DIVERGED;
//             RESOURCE_EXHAUSTED/OUT_OF_MEMORY when one sequence alone does not fit; what the hooks
//             return; LibTorch's exceptions as torch_status.h says.
#ifndef LETHE_ENGINE_TRAIN_LOOP_H_
#define LETHE_ENGINE_TRAIN_LOOP_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/model/language_model.h"
#include "engine/progress.h"
#include "engine/ranks.h"
#include "engine/train/adam.h"
#include "engine/train/captured_step.h"
#include "engine/train/guard.h"
#include "engine/train/micro_batch.h"
#include "engine/train/step_part.h"

namespace lethe {

// A step that has been made, for judge().
struct StepReport {
  int64_t step = 0;  // 1, 2, ...; steps that were taken back count too
  double learning_rate = 0;
  double loss = 0;
  double held = 0;       // of StepLoss
  double grad_norm = 0;  // before clipping
};

struct Judgement {
  bool stop = false;
  std::string stop_reason;                // with stop
  bool take_back = false;                 // the step went too far
  bool speed_up = false;                  // it went well: the next may pass the whole step size
  std::optional<double> score;            // of the state; lower is better
  std::map<std::string, double> figures;  // for progress
};

struct LoopHooks {
  // One of the two; a step may ask more than once (Memory, above).
  // What the step is made of.
  std::function<absl::StatusOr<std::vector<StepPart>>(int64_t step)> parts;
  // Adds gradients to leaves that have none.
  std::function<absl::StatusOr<StepLoss>(int64_t step)> accumulate;
  std::function<absl::StatusOr<Judgement>(const StepReport&)> judge;  // may be empty
  // judge() only notes numbers: it neither looks at the model nor stops the run, and may be told of
  // a step while the next one runs.
  bool notes_only = false;
};

struct LoopOptions {
  std::string phase = "training";  // for progress
  int64_t max_steps = 100;
  std::function<double(int64_t step)> learning_rate;  // of step 1, 2, ...
  AdamOptions adam;
  const Adam::State* moments_before = nullptr;  // of leaves of these shapes; null: from nothing
  Adam::State* moments_after = nullptr;         // filled at the end; null: dropped
  double max_grad_norm = 0;                     // 0: no clipping
  bool may_take_back = false;  // keeps a copy of weights and moments from before each step
  double regrow = 1.25;   // after a step that stands, the step size grows by this, up to the whole
  double speed_up = 1.1;  // while judge() asks for it, the step size grows on by this, ...
  double max_scale = 1;   // ... up to this multiple of the whole
  double stall_scale = 1e-3;  // a step size below this share of the whole: stop reason "stalled"
  Ranks* ranks = nullptr;     // who shares the sequences; null: nobody
  MicroBatch* micro_batch = nullptr;  // what steps are cut by; null: nothing to be halved
  StepGraphs* graphs = nullptr;       // null: the device's own, if it has any
  BandOptions loss_band{.floor = 0.1};
  BandOptions norm_band{.width = 50, .floor = 0.2};  // norms are spikier than losses
};

struct LoopResult {
  std::string stop_reason;  // judge()'s, "max_steps" or "stalled"
  int64_t steps = 0;        // made, those taken back included
  int64_t taken_back = 0;
  double last_loss = 0;
  // Why a step could not be recorded and was told operation by operation; "" where none was to be.
  std::string not_recorded;
};

absl::StatusOr<LoopResult> RunLoop(const LanguageModel& model, const LoopHooks& hooks,
                                   const LoopOptions& options,
                                   const ProgressCallback& progress = nullptr);

}  // namespace lethe

#endif  // LETHE_ENGINE_TRAIN_LOOP_H_
