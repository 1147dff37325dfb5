#include "engine/evaluate.h"

#include <chrono>
#include <span>

#include "engine/metric/sequence_evaluation.h"
#include "engine/model/model_folder.h"

namespace lethe {

absl::StatusOr<EvaluateResult> Evaluate(const EvaluateRequest& request,
                                        const ProgressCallback& progress) {
  const auto start = std::chrono::steady_clock::now();
  LETHE_RETURN_IF_ERROR(Report(progress, {"loading", 0, 0, {}}));
  LETHE_ASSIGN_OR_RETURN(const ModelFolder loaded,
                         ModelFolder::Load(request.model_folder, request.device));
  LETHE_RETURN_IF_ERROR(CheckSequences(loaded.model, request.sequences, "given"));
  LETHE_ASSIGN_OR_RETURN(EvaluateResult result,
                         EvaluateSequences(loaded.model, request.sequences, request.el_n,
                                           request.token_log_probs, progress));
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace lethe
