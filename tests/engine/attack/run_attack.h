// One attack on one model, as its function is called in a run.
#ifndef LETHE_TESTS_ENGINE_ATTACK_RUN_ATTACK_H_
#define LETHE_TESTS_ENGINE_ATTACK_RUN_ATTACK_H_

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "engine/attack/attack_table.h"
#include "engine/model/generate.h"

namespace lethe {

struct AttackSetting {
  ParameterValues overrides;
  bool on_spans = false;
  uint64_t seed = 1;
  AttackContext context;
};

inline absl::StatusOr<AttackScores> RunAttack(std::string_view name, const LanguageModel& model,
                                              const std::vector<Sequence>& sequences,
                                              const AttackSetting& setting = {}) {
  const ParameterValues parameters =
      ResolveParameters(FindAttack(name)->parameters, {}, setting.overrides);
  TeacherForced forced(model, sequences);
  return FindAttackFunction(name)(
      {model, sequences, parameters, setting.on_spans, setting.seed, forced, setting.context});
}

// A sequence that the model itself continues greedily, so that what follows the prompt is
// extractable by definition.
inline Sequence Greedy(const LanguageModel& model, const TokenIds& prompt, int64_t length) {
  const auto said =
      GenerateContinuations(model, std::vector<TokenIds>{prompt},
                            {.max_new_tokens = length - static_cast<int64_t>(prompt.size())});
  Sequence s{.ids = prompt};
  s.ids.insert(s.ids.end(), (*said)[0][0].begin(), (*said)[0][0].end());
  return s;
}

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_ATTACK_RUN_ATTACK_H_
