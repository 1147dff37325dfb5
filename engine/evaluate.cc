#include "engine/evaluate.h"

#include <chrono>
#include <span>

#include "engine/metric/sequence_evaluation.h"
#include "engine/model/load_model.h"
#include "engine/model/model_folder.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

absl::StatusOr<EvaluateResult> LoadAndEvaluate(const EvaluateRequest& request,
                                               const ProgressCallback& progress) {
  if (request.sequences.empty()) {
    return Error(absl::StatusCode::kInvalidArgument, "NOTHING_TO_EVALUATE",
                 "no sequence was given");
  }
  const auto start = std::chrono::steady_clock::now();
  LETHE_RETURN_IF_ERROR(Report(progress, {"loading", 0, 0, {}}));
  LETHE_ASSIGN_OR_RETURN(const std::unique_ptr<const LanguageModel> model,
                         LoadModel(request.model_folder, request.device, request.adapter_folder));
  LETHE_RETURN_IF_ERROR(CheckSequences(*model, request.sequences, "given"));
  LETHE_ASSIGN_OR_RETURN(EvaluateResult result,
                         EvaluateSequences(*model, request.sequences, request.el_n,
                                           request.token_log_probs, progress));
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return result;
}

}  // namespace

absl::StatusOr<EvaluateResult> Evaluate(const EvaluateRequest& request,
                                        const ProgressCallback& progress) {
  return CatchTorch("evaluating", [&] { return LoadAndEvaluate(request, progress); });
}

}  // namespace lethe
