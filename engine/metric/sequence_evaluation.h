// Likelihood, MA and EL_n of sequences under a model in memory: what engine/evaluate.h gives for a
// folder.
//
// Threads    const model: any. Errors: as ScoreSequences and MeasureMemorisation;
//            CANCELLED/STOPPED.
#ifndef LETHE_ENGINE_METRIC_SEQUENCE_EVALUATION_H_
#define LETHE_ENGINE_METRIC_SEQUENCE_EVALUATION_H_

#include <span>
#include <vector>

#include "engine/evaluate.h"
#include "engine/model/language_model.h"

namespace lethe {

absl::StatusOr<EvaluateResult> EvaluateSequences(const LanguageModel& model,
                                                 std::span<const Sequence> sequences,
                                                 const std::vector<int>& el_n,
                                                 bool token_log_probs = false,
                                                 const ProgressCallback& progress = nullptr);

// Nats a token over the whole set: the exponential is its perplexity. 0 for an empty set.
double SetNll(const std::vector<SequenceEvaluation>& sequences);

}  // namespace lethe

#endif  // LETHE_ENGINE_METRIC_SEQUENCE_EVALUATION_H_
