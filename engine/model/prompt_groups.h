// Prompts of any lengths, read a few at a time: what continuing them in one way or another shares.
//
//   LETHE_RETURN_IF_ERROR(CheckPrompts(model, prompts, new_tokens));
//   return ForPromptGroups("generating", prompts, [&](std::span<const size_t> members) {
//     const std::unique_ptr<ModelCache> cache = model.NewCache();
//     const at::Tensor hidden = ReadPrompts(*cache, model, prompts, members);   // (P,E)
//
// Memory     where it does not suffice for a group, its halves are tried.
// Threads    any; no state.
// Errors     CheckPrompts: as Decoder::CheckIds; SEQUENCE_TOO_LONG where a prompt and its new tokens
//            pass the context. ForPromptGroups: as CatchTorch.
#ifndef LETHE_ENGINE_MODEL_PROMPT_GROUPS_H_
#define LETHE_ENGINE_MODEL_PROMPT_GROUPS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/model/language_model.h"

namespace lethe {

using TokenIds = std::vector<int32_t>;

absl::Status CheckPrompts(const LanguageModel& model, std::span<const TokenIds> prompts,
                          int64_t new_tokens);

// body(members) for groups of about one length; members are indexes of prompts, each in one group.
absl::Status ForPromptGroups(std::string_view what_doing, std::span<const TokenIds> prompts,
                             const std::function<void(std::span<const size_t> members)>& body);

// (P,S) int64 on the model's device, padded on the right with 0.
at::Tensor PaddedPrompts(const LanguageModel& model, std::span<const TokenIds> prompts,
                         std::span<const size_t> members);

// Reads the members as the cache's prefixes -> (P,E): what predicts the token after each.
at::Tensor ReadPrompts(ModelCache& cache, const LanguageModel& model,
                       std::span<const TokenIds> prompts, std::span<const size_t> members);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_PROMPT_GROUPS_H_
