#include "engine/generate.h"

#include "engine/model/beam_search.h"
#include "engine/model/generate.h"
#include "engine/model/load_model.h"
#include "engine/model/model_folder.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

absl::Status Refused(std::string_view reason, std::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message);
}

// One token is enough to begin with; what is to be said has to fit behind it.
absl::Status CheckPrompts(const LanguageModel& model, const GenerateRequest& request) {
  if (request.prompts.empty()) return Refused("NOTHING_TO_GENERATE", "no prompt was given");
  const int64_t context = model.context();
  if (request.max_new_tokens < 0) {
    return Refused("BAD_SAMPLING", "max_new_tokens must not be negative");
  }
  if (request.max_new_tokens >= context) {
    return Error(absl::StatusCode::kInvalidArgument, "BAD_SAMPLING",
                 "max_new_tokens leaves no room for a prompt in the model's context",
                 {{"max_new_tokens", std::to_string(request.max_new_tokens)},
                  {"context", std::to_string(context)}});
  }
  std::vector<Sequence> prompts;
  for (const auto& ids : request.prompts) prompts.push_back({.ids = ids});
  return CheckSequences(model, prompts, "prompts",
                        {.min_tokens = 1, .max_tokens = context - request.max_new_tokens});
}

absl::StatusOr<std::vector<std::vector<int32_t>>> BestOfBeams(const LanguageModel& model,
                                                              const GenerateRequest& request) {
  if (request.temperature > 0) {
    return Refused("BAD_SAMPLING", "beams are searched, not drawn: temperature must be 0");
  }
  LETHE_ASSIGN_OR_RETURN(auto found, SearchBeams(model, request.prompts,
                                                 {.beams = request.beams,
                                                  .max_new_tokens = request.max_new_tokens,
                                                  .stop_id = request.stop_id}));
  std::vector<std::vector<int32_t>> best;
  for (auto& hypotheses : found) best.push_back(std::move(hypotheses.front().ids));
  return best;
}

absl::StatusOr<std::vector<std::vector<int32_t>>> LoadAndGenerate(
    const GenerateRequest& request, const ProgressCallback& progress) {
  LETHE_RETURN_IF_ERROR(Report(progress, {"loading", 0, 0, {}}));
  LETHE_ASSIGN_OR_RETURN(const std::unique_ptr<const LanguageModel> model,
                         LoadModel(request.model_folder, request.device, request.adapter_folder));
  LETHE_RETURN_IF_ERROR(CheckPrompts(*model, request));
  LETHE_RETURN_IF_ERROR(Report(progress, {"generating", 0, 0, {}}));
  if (request.beams > 1) return BestOfBeams(*model, request);
  LETHE_ASSIGN_OR_RETURN(
      auto said, GenerateContinuations(*model, request.prompts,
                                       GenerateOptions{.max_new_tokens = request.max_new_tokens,
                                                       .temperature = request.temperature,
                                                       .top_k = request.top_k,
                                                       .seed = request.seed,
                                                       .stop_id = request.stop_id}));
  std::vector<std::vector<int32_t>> continuations;
  for (auto& samples : said) continuations.push_back(std::move(samples.front()));
  return continuations;
}

}  // namespace

absl::StatusOr<std::vector<std::vector<int32_t>>> Generate(const GenerateRequest& request,
                                                           const ProgressCallback& progress) {
  return CatchTorch("generating", [&] { return LoadAndGenerate(request, progress); });
}

}  // namespace lethe
