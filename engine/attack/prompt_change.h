// Prompts that ask for the same text in another way. Without LibTorch.
//
//   LETHE_ASSIGN_OR_RETURN(auto prompts, ShiftPrefix({.prefix = prefix, .seed = seed,
//                                                     .parameters = parameters}));
//
// Each gives at least one prompt of at least one token; where nothing can be changed (a prefix of
// one token), the prefix as it is. The same seed gives the same prompts.
// Adding one: a function here, a row in the table of prompt_attacks.cc, rows in attack_catalog.h
// and attack_table.cc.
// Threads    pure functions; any. Errors: the tokenizer's.
#ifndef LETHE_ENGINE_ATTACK_PROMPT_CHANGE_H_
#define LETHE_ENGINE_ATTACK_PROMPT_CHANGE_H_

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/parameter.h"
#include "text/sequence.h"
#include "text/tokenizer.h"

namespace lethe {

struct PromptSource {
  std::span<const int32_t> prefix;  // the true one, at least one token
  uint64_t seed;
  const Tokenizer* tokenizer;         // null only for changes that need none
  std::span<const Sequence> kept;     // other records of the kind
  std::span<const int32_t> stranger;  // the prefix of another record
  const ParameterValues& parameters;
};

using PromptChange = absl::StatusOr<std::vector<std::vector<int32_t>>> (*)(const PromptSource&);

absl::StatusOr<std::vector<std::vector<int32_t>>> ShiftPrefix(const PromptSource& source);
absl::StatusOr<std::vector<std::vector<int32_t>>> DropTokens(const PromptSource& source);
absl::StatusOr<std::vector<std::vector<int32_t>>> AddNoise(const PromptSource& source);
absl::StatusOr<std::vector<std::vector<int32_t>>> AddJailbreak(const PromptSource& source);
absl::StatusOr<std::vector<std::vector<int32_t>>> AddShots(const PromptSource& source);
absl::StatusOr<std::vector<std::vector<int32_t>>> TakeStranger(const PromptSource& source);

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_PROMPT_CHANGE_H_
