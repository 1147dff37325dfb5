// A few steps of training before an attack looks: text that was only hidden comes back with them
// (Lynch et al. 2024, arXiv 2402.16835; Hu et al. 2024, arXiv 2406.13356).
//
//   const RelearnPlan plan = PlanRelearning(Relearned::kHalf, request);
//   LETHE_ASSIGN_OR_RETURN(StepSize chosen, ChooseStepSize(base, audit, plan, stops, progress));
//   for (const Lesson& lesson : plan.lessons) {
//     const std::unique_ptr<LanguageModel> pupil = candidate.Copy();
//     LETHE_RETURN_IF_ERROR(Teach(*pupil, lesson, chosen.value, stops, look, progress));
//   }
//
// Lessons    half       two: every second forgotten sequence is taught and the others are attacked,
//                       and the other way round; of control every second one in each
//            related    one on the retain text, in an order drawn from the seed
//            unrelated  one on the other texts, likewise
//            same       one on the forgotten text and as many controls, evenly spread, one after
//                       the other; these controls alone are compared with
// A step     the mean NLL of the labelled tokens of the next sequences in turn (4 at most; of
//            "same" 4 of each side), clipped to a norm of 1, Adam without decay. A run of J steps
//            is the beginning of a longer one, so one run serves all J.
// Step size  the largest of 1e-4, 5e-5, 2e-5, 1e-5, 5e-6, 2e-6, 1e-6 under which the base keeps its
//            memory of the attacked text at every J: its mean NLL rises by at most a tenth of
//            itself (or .05 nats) and its MA falls by at most .05. These are for models 512 wide or
//            wider; the width's share of 512 divides them for narrower ones, whose outputs Adam
//            moves by less. Chosen on the base and used on the candidate alike; "same" takes
//            what "half" has chosen where that was tried before.
// Ensemble   is taught as what it is: one loss, that of the mean, and its gradient in all members, as
//            who fine-tunes the deployed model would. The narrowest member's width counts.
// Cost       a taught token is three forward tokens: one, and two for the backward pass.
// Memory     gradients and moments beside the pupil; micro-batches are halved where it runs short.
// Threads    one at a time. The same seed gives the same bits (train/loop.h).
// Errors     FAILED_PRECONDITION/METHOD_DIVERGED; CANCELLED/STOPPED; what `look` returns.
#ifndef LETHE_ENGINE_ATTACK_RELEARN_H_
#define LETHE_ENGINE_ATTACK_RELEARN_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/attack/audit.h"
#include "engine/checkpoint/decoder_config.h"
#include "engine/model/language_model.h"
#include "engine/progress.h"

namespace lethe {

struct Lesson {
  std::vector<Sequence> taught;  // in the order in which steps take them, round and round
  size_t batch = 0;              // of them a step
  Aim aim;                       // what the pupil is attacked on
};

struct RelearnPlan {
  std::vector<Lesson> lessons;
  std::vector<size_t> control_indexes;  // that are compared with; empty: all
  std::string not_applicable;           // not empty: there are no lessons, and why
};

RelearnPlan PlanRelearning(Relearned text, const AttackRequest& request);

// What the pupil is after so many steps; `tokens` have gone through it since the last look, counted
// as Cost says.
using Look = std::function<absl::Status(int steps, int64_t tokens)>;

// Trains the pupil's weights in place up to the last of `stops` (ascending), and looks at each.
absl::Status Teach(const LanguageModel& pupil, const Lesson& lesson, double step_size,
                   std::span<const int> stops, const Look& look, const ProgressCallback& progress);

struct StepSize {
  double value = 0;    // 0: the base loses its memory under every one
  int64_t tokens = 0;  // that the choice took
};
absl::StatusOr<StepSize> ChooseStepSize(const LanguageModel& base, const Audit& audit,
                                        const RelearnPlan& plan, std::span<const int> stops,
                                        const ProgressCallback& progress);

// What it tries, from the largest.
std::vector<double> StepSizesFor(const DecoderConfig& config);

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_RELEARN_H_
