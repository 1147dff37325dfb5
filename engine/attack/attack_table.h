// The table of attacks: one row for each name of the catalogue. An attack is a function from a
// model and sequences to one score each.
//
// Adding one: a row in catalog.h, a function in a file of its own, a row in attack_table.cc. A test
// holds table and catalogue equal.
#ifndef LETHE_ENGINE_ATTACK_ATTACK_TABLE_H_
#define LETHE_ENGINE_ATTACK_ATTACK_TABLE_H_

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/catalog.h"
#include "engine/model/decoder.h"
#include "text/sequence.h"

namespace lethe {

struct AttackInput {
  const Decoder& model;
  std::span<const Sequence> sequences;
  const ParameterValues& parameters;  // all of the attack's
  bool on_spans = false;              // every sequence has sensitive spans, and they are the aim
  uint64_t seed = 0;
};

struct AttackScores {
  std::vector<double> scores;          // one a sequence; higher is more memorised
  std::vector<double> queries_needed;  // sampled extraction only
  int64_t forward_tokens = 0;
};

using AttackFunction = absl::StatusOr<AttackScores> (*)(const AttackInput&);

// The function behind a name; null where there is none.
AttackFunction FindAttackFunction(std::string_view name);

// One file each.
absl::StatusOr<AttackScores> GreedyExtraction(const AttackInput& input);
absl::StatusOr<AttackScores> SampledExtraction(const AttackInput& input);
absl::StatusOr<AttackScores> ExtractionLikelihood(const AttackInput& input);
absl::StatusOr<AttackScores> MemorisationAccuracy(const AttackInput& input);
absl::StatusOr<AttackScores> LossMembership(const AttackInput& input);
absl::StatusOr<AttackScores> MinKMembership(const AttackInput& input);

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_ATTACK_TABLE_H_
