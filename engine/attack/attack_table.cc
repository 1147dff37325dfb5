#include "engine/attack/attack_table.h"

namespace lethe {
namespace {

struct Row {
  std::string_view name;
  AttackFunction function;
};

constexpr Row kTable[] = {
    {"greedy_extraction", GreedyExtraction},
    {"exact_extraction", ExactExtraction},
    {"sampled_extraction", SampledExtraction},
    {"extraction_likelihood", ExtractionLikelihood},
    {"memorisation_accuracy", MemorisationAccuracy},
    {"loss", LossMembership},
    {"min_k", MinKMembership},
};

}  // namespace

AttackFunction FindAttackFunction(std::string_view name) {
  for (const Row& row : kTable) {
    if (row.name == name) return row.function;
  }
  return nullptr;
}

}  // namespace lethe
