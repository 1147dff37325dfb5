// Continuations of prompts of token ids.
//
//   GenerateRequest request{.model_folder = folder, .prompts = {{1, 403}}, .max_new_tokens = 20};
//   LETHE_ASSIGN_OR_RETURN(auto continuations, Generate(request));   // greedy
//
// The end-of-text id is an ordinary token here, and nothing stops early, unless `stop_id` names it.
// Threads    as Evaluate.
// Errors     as Evaluate, with NOTHING_TO_GENERATE and BAD_SAMPLING; a prompt may be one token long,
//            and with its new tokens it must fit the context (TARGET_TOO_LONG).
#ifndef LETHE_ENGINE_GENERATE_H_
#define LETHE_ENGINE_GENERATE_H_

#include <cstdint>
#include <filesystem>
#include <vector>

#include "base/status.h"
#include "engine/device.h"
#include "engine/progress.h"

namespace lethe {

struct GenerateRequest {
  std::filesystem::path model_folder;
  std::filesystem::path adapter_folder;  // a LoRA adapter on top (lora.h); empty: none
  std::vector<std::vector<int32_t>> prompts;
  int max_new_tokens = 64;
  double temperature = 0;  // 0: greedy
  int top_k = 0;           // 0: all
  int beams = 1;           // above 1: the best that a beam search finds; temperature 0 only
  int32_t stop_id = -1;    // a continuation ends before this token; -1: none
  uint64_t seed = 0;
  Device device;
};

absl::StatusOr<std::vector<std::vector<int32_t>>> Generate(
    const GenerateRequest& request, const ProgressCallback& progress = nullptr);

}  // namespace lethe

#endif  // LETHE_ENGINE_GENERATE_H_
