// How long a ticket takes and what memory it needs: a pure function of what PrepareModel measured
// of the model and of how much text there is. docs/engine.md has the formula with measured figures.
//
//   Workload work{.forget = SizeOf(sequences), .retain = retain, .holdout = holdout,
//                 .parameters = parameters,
//                 .steps = ExpectedSteps(preset, parameters, sequences, past_runs),
//                 .attacks = DefaultAttacks()};
//   if (Usable(costs)) {
//     Estimate estimate = EstimateWork(costs, work);
//     estimate.unlearn.typical;   // seconds from the lease to the candidate
//     estimate.device_bytes;      // the most that stands in memory
//   }
//
// What counts  each token that goes through the model, by what it goes through it for; each step's
//              own cost, which depends on the weights alone; reading and writing the checkpoint.
// Range        low and high are what tickets of the size were seen to take: steps differ from text
//              to text, memorised text rolls out little, and machines are shared.
//              An attempt is counted once: a candidate that is refused starts again.
// Order        more text, more steps and larger costs never make an estimate smaller.
// Errors       none: figures that cannot be (negative, not finite) are not Usable; sizes and sums
//              are doubles and end at kLongest.
// Threads      pure; any.
#ifndef LETHE_ENGINE_ESTIMATE_H_
#define LETHE_ENGINE_ESTIMATE_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/attack_cost.h"
#include "engine/catalog.h"
#include "engine/text_size.h"

namespace lethe {

// Measured with the model itself, on the machine and device that prepared it. Seconds are wall time
// with all of the device's threads.
struct ModelCosts {
  double score_token_seconds = 0;     // a token read once without gradients
  double train_token_seconds = 0;     // a token of a training step, forward and backward
  double rollout_token_seconds = 0;   // a token that EL's roll-outs continue by
  double generate_token_seconds = 0;  // a token that an attack's draws continue by
  double step_seconds = 0;            // a step besides its tokens: clip, Adam, copies
  double load_seconds = 0;            // digest, check and load of the folder
  double save_seconds = 0;            // write, digest and sync of the folder
  // Tokens that EL rolls out for unseen text, as a share of all that could be (T^2/2 a sequence).
  double rollout_share = 0;
  double weight_bytes = 0;      // in memory, as they compute
  double step_bytes = 0;        // that a step holds besides: gradients, moments, copies
  double token_bytes = 0;       // that the forward pass keeps for the backward pass, a token
  double evaluation_bytes = 0;  // that EL of unseen text held at most, keys and values above all
  double memory_bytes = 0;      // of the device; 0: not known
  bool step_measured = false;   // false: the step did not fit, and its figures were worked out
};

// Whether an estimate can be made of them.
bool Usable(const ModelCosts& costs);

struct Range {
  double low = 0, typical = 0, high = 0;
  Range& operator+=(const Range& more);
};
Range operator*(double factor, const Range& range);

// A finished run of the same method and preset on the same model.
struct PastRun {
  double steps = 0;
  double sequences = 0;
};

// Optimizer steps of a run over `sequences`. From past runs where there are any, else from what the
// catalogue says of the preset; never beyond max_steps.
Range ExpectedSteps(const PresetEntry& preset, const ParameterValues& parameters, double sequences,
                    std::span<const PastRun> history);

// The first plan of the catalogue, as it is run when a policy names no attacks.
std::vector<PlannedAttack> DefaultAttacks();

struct Workload {
  TextSize forget;             // of all tickets of the job
  TextSize retain;             // as registered
  TextSize holdout;            // likewise: watched, and the attacks' control
  TextSize others;             // likewise, all together
  ParameterValues parameters;  // of the method, all of them
  Range steps;
  std::vector<PlannedAttack> attacks;
};

struct Estimate {
  Range unlearn;            // seconds
  Range verify;             // seconds
  Range steps;              // as they came in
  double step_seconds = 0;  // of one optimizer step with its judge
  double device_bytes = 0;  // the most that stands in memory
};

// Nothing is expected to take longer than a year.
inline constexpr double kLongest = 366.0 * 86400;

// `costs` must be Usable.
Estimate EstimateWork(const ModelCosts& costs, const Workload& work);

}  // namespace lethe

#endif  // LETHE_ENGINE_ESTIMATE_H_
