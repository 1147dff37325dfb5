// The table of attacks: one row for each name of the catalogue. An attack is a function from a
// model and sequences to one score each.
//
// Adding one: a row in attack_catalog.h, a function in a file of its own or of its family, a row in
// attack_table.cc. A test holds table and catalogue equal.
#ifndef LETHE_ENGINE_ATTACK_ATTACK_TABLE_H_
#define LETHE_ENGINE_ATTACK_ATTACK_TABLE_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/attack/teacher_forced.h"
#include "engine/catalog.h"
#include "engine/model/language_model.h"
#include "text/sequence.h"
#include "text/tokenizer.h"

namespace lethe {

// What the attacks of one run have in common, whatever the model.
struct AttackContext {
  const Tokenizer* tokenizer = nullptr;  // of the base's folder; null: it has none
  std::span<const Sequence> kept;        // other records of the kind: the retain set
  std::span<const Sequence> forgotten;   // all that is to be forgotten
  std::span<const Sequence> control;     // same kind, never trained on
  // NLL of the input's sequences under the base, nats a token that counts, one each; empty: not
  // known
  std::span<const double> reference_nll;
};

struct AttackInput {
  const LanguageModel& model;  // in its condition
  std::span<const Sequence> sequences;
  const ParameterValues& parameters;  // all of the attack's
  bool on_spans = false;              // every sequence has sensitive spans, and they are the aim
  uint64_t seed = 0;
  TeacherForced& forced;  // one pass over the sequences, shared by all attacks that read it
  const AttackContext& context;
};

struct AttackScores {
  std::vector<double> scores;                          // one a sequence; higher is more memorised
  std::map<std::string, std::vector<double>> details;  // further figures, one a sequence each
  int64_t forward_tokens = 0;  // beside those of `forced`, which are counted once
  // Not empty: it cannot be tried on these sequences, and this is why. The attack is left out for
  // all of them.
  std::string not_applicable;
};

using AttackFunction = absl::StatusOr<AttackScores> (*)(const AttackInput&);

// The function behind a name; null where there is none.
AttackFunction FindAttackFunction(std::string_view name);

// In files of their families.
absl::StatusOr<AttackScores> GreedyExtraction(const AttackInput& input);
absl::StatusOr<AttackScores> ExactExtraction(const AttackInput& input);
absl::StatusOr<AttackScores> SampledExtraction(const AttackInput& input);
absl::StatusOr<AttackScores> BeamExtraction(const AttackInput& input);
absl::StatusOr<AttackScores> ShiftedPrefix(const AttackInput& input);
absl::StatusOr<AttackScores> DroppedTokens(const AttackInput& input);
absl::StatusOr<AttackScores> NoisyPrompt(const AttackInput& input);
absl::StatusOr<AttackScores> JailbreakPrefix(const AttackInput& input);
absl::StatusOr<AttackScores> FewShot(const AttackInput& input);
absl::StatusOr<AttackScores> CrossPrompt(const AttackInput& input);
absl::StatusOr<AttackScores> ExtractionStrength(const AttackInput& input);
absl::StatusOr<AttackScores> ExtractionLikelihood(const AttackInput& input);
absl::StatusOr<AttackScores> MemorisationAccuracy(const AttackInput& input);
absl::StatusOr<AttackScores> SpanAccuracy(const AttackInput& input);
absl::StatusOr<AttackScores> SpanExtractionLikelihood(const AttackInput& input);
absl::StatusOr<AttackScores> LossMembership(const AttackInput& input);
absl::StatusOr<AttackScores> MinKMembership(const AttackInput& input);
absl::StatusOr<AttackScores> MinKPlusPlusMembership(const AttackInput& input);
absl::StatusOr<AttackScores> ZlibMembership(const AttackInput& input);
absl::StatusOr<AttackScores> GradientNormMembership(const AttackInput& input);
absl::StatusOr<AttackScores> ReferenceMembership(const AttackInput& input);
absl::StatusOr<AttackScores> ExposureMembership(const AttackInput& input);
absl::StatusOr<AttackScores> LogitLens(const AttackInput& input);

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_ATTACK_TABLE_H_
