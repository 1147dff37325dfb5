// Measures on this machine, with the model itself, what work on it costs: engine/estimate.h says how
// long a ticket will take from that.
//
//   LETHE_ASSIGN_OR_RETURN(EvaluateResult unseen, EvaluateSequences(model, holdout, el_n));
//   LETHE_ASSIGN_OR_RETURN(ModelCosts costs,
//                          MeasureCosts(model, holdout, unseen, {.token_seconds = 1e-4}, progress));
//
// How        each kind of work on as many of the sequences as take about `budget_seconds`, at least
//            a few tokens of one; the median of three, never the first. The step is the training
//            loop's own, with a learning rate of 0 and all the copies that a bounded run keeps.
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
#include "engine/progress.h"
#include "text/sequence.h"

namespace lethe {

struct CostOptions {
  double token_seconds = 1e-3;   // about what a token takes: the evaluation's own
  double budget_seconds = 0.25;  // for each kind of work, three times
};

// `unseen` is text of the kind that tickets name, `evaluated` what EvaluateSequences said of it.
absl::StatusOr<ModelCosts> MeasureCosts(const Decoder& model, std::span<const Sequence> unseen,
                                        const EvaluateResult& evaluated, const CostOptions& options,
                                        const ProgressCallback& progress = nullptr);

}  // namespace lethe

#endif  // LETHE_ENGINE_COST_MEASURE_COSTS_H_
