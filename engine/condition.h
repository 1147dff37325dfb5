// What an attack does to the model before it looks: nothing, quantisation, or a few steps of
// training. Published unlearning that is clean as it stands often comes back after either.
//
//   LETHE_ASSIGN_OR_RETURN(ModelCondition condition, ParseCondition("int4-g128"));
//   condition.Name();     // "int4-g128"
//   condition.Title();    // "rounded to 4 bits in groups of 128"
//
//   ""                       the model as it is
//   int8, int4               weights rounded to nearest, one scale an output channel
//   int8-g128, int4-g128     one scale for each 128 inputs of a channel
//   relearned-half-J         J steps on half of the forgotten text; the other half is attacked, and
//                            then the other way round
//   relearned-related-J      J steps on other text of the same kind (the retain set)
//   relearned-unrelated-J    J steps on other registered text
//   relearned-same-J         J steps on the attacked text itself and as many controls: what is
//                            learned faster the second time was not forgotten
// J is 1 to 1000.
//
// Base and candidate are treated alike, so that an attack's power is seen under the same condition.
// Threads    a value.
// Errors     INVALID_ARGUMENT/UNKNOWN_CONDITION.
#ifndef LETHE_ENGINE_CONDITION_H_
#define LETHE_ENGINE_CONDITION_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace lethe {

enum class Relearned { kHalf, kRelated, kUnrelated, kSame };

struct ModelCondition {
  enum class Kind { kAsIs, kQuantised, kRelearned };
  Kind kind = Kind::kAsIs;
  int bits = 0;                       // kQuantised: 4 or 8
  int group = 0;                      // kQuantised: inputs that share a scale; 0: the whole channel
  Relearned text = Relearned::kHalf;  // kRelearned
  int steps = 0;                      // kRelearned

  std::string Name() const;
  std::string Title() const;
  friend bool operator==(const ModelCondition&, const ModelCondition&) = default;
};

absl::StatusOr<ModelCondition> ParseCondition(std::string_view name);

}  // namespace lethe

#endif  // LETHE_ENGINE_CONDITION_H_
