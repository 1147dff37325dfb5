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
    {"beam_extraction", BeamExtraction},
    {"extraction_strength", ExtractionStrength},
    {"extraction_likelihood", ExtractionLikelihood},
    {"memorisation_accuracy", MemorisationAccuracy},
    {"span_accuracy", SpanAccuracy},
    {"span_extraction_likelihood", SpanExtractionLikelihood},
    {"loss", LossMembership},
    {"min_k", MinKMembership},
    {"min_k_plus_plus", MinKPlusPlusMembership},
    {"zlib", ZlibMembership},
    {"gradient_norm", GradientNormMembership},
    {"reference", ReferenceMembership},
    {"exposure", ExposureMembership},
    {"logit_lens", LogitLens},
};

}  // namespace

AttackFunction FindAttackFunction(std::string_view name) {
  for (const Row& row : kTable) {
    if (row.name == name) return row.function;
  }
  return nullptr;
}

}  // namespace lethe
