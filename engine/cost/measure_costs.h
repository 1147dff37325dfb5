// Measures on this machine, with the model itself, what work on it costs: from that,
// engine/estimate.h says how long a ticket will take.
//
//   LETHE_ASSIGN_OR_RETURN(EvaluateResult unseen, EvaluateSequences(model, holdout, el_n));
//   LETHE_ASSIGN_OR_RETURN(ModelCosts costs, MeasureCosts(model, holdout, unseen,
//                                                         {.unseen_seconds = 41.5}, progress));
//
// How        reading and EL are what they took on the registered texts. Draws and steps are tried
//            on as many tokens as take about a fiftieth of that, at least kLeastBudget: the median of
//            three, never the first. The step is the training loop's own, with a learning rate of 0
//            and all the copies that a bounded run keeps, over two sizes of batch: what a backward
//            pass costs whatever the tokens belongs to the step and not to them.
// The model  is what it was before, but for gradients and where it is not finite: measure last.
// Memory     a step that would not fit into what is free is not tried: its figures are then worked
//            out, and `step_measured` is false.
// Errors     CANCELLED/STOPPED; what reading the text says. Figures that cannot be had stay 0,
//            which is not Usable.
// Threads    none.
#ifndef LETHE_ENGINE_COST_MEASURE_COSTS_H_
#define LETHE_ENGINE_COST_MEASURE_COSTS_H_

#include <span>

#include "base/status.h"
#include "engine/estimate.h"
#include "engine/evaluate.h"
#include "engine/model/decoder.h"
#include "engine/precision.h"
#include "engine/progress.h"
#include "text/sequence.h"

namespace lethe {

inline constexpr double kLeastBudget = 0.25, kMostBudget = 5;  // seconds

struct CostOptions {
  double unseen_seconds = 0;               // that `evaluated` took; 0: not known
  double read_tokens = 0;                  // of text that was only read, after that
  double read_seconds = 0;                 // that it took
  Precision precision = Precision::kFp32;  // that steps will be made in
};

// `unseen` is text of the kind that tickets name, `evaluated` what EvaluateSequences said of it.
absl::StatusOr<ModelCosts> MeasureCosts(const Decoder& model, std::span<const Sequence> unseen,
                                        const EvaluateResult& evaluated, const CostOptions& options,
                                        const ProgressCallback& progress = nullptr);

}  // namespace lethe

#endif  // LETHE_ENGINE_COST_MEASURE_COSTS_H_
