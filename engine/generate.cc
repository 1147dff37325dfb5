#include "engine/generate.h"

#include "engine/model/generate.h"
#include "engine/model/model_folder.h"

namespace lethe {

absl::StatusOr<std::vector<std::vector<int32_t>>> Generate(const GenerateRequest& request,
                                                           const ProgressCallback& progress) {
  LETHE_RETURN_IF_ERROR(Report(progress, {"loading", 0, 0, {}}));
  LETHE_ASSIGN_OR_RETURN(const ModelFolder loaded,
                         ModelFolder::Load(request.model_folder, request.device));
  LETHE_RETURN_IF_ERROR(Report(progress, {"generating", 0, 0, {}}));
  LETHE_ASSIGN_OR_RETURN(
      auto said, GenerateContinuations(loaded.model, request.prompts,
                                       GenerateOptions{.max_new_tokens = request.max_new_tokens,
                                                       .temperature = request.temperature,
                                                       .top_k = request.top_k,
                                                       .seed = request.seed}));
  std::vector<std::vector<int32_t>> continuations;
  for (auto& samples : said) continuations.push_back(std::move(samples.front()));
  return continuations;
}

}  // namespace lethe
