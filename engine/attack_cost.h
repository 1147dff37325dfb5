// What attacks cost, said before they run: tokens that go through a model, from the plan and the
// lengths of the texts alone.
//
//   std::vector<AttackCost> costs = CostOfAudit(plan, {.forgotten = SizeOf(forgotten), ...});
//   costs[0].ForwardTokens();   // of both models, base and candidate
//
// Shared     attacks that read what teacher forcing gives share one pass over the texts of a model
//            in its condition: the first of them in the plan is charged with it.
// Drawn      a continuation costs the tokens of its prefix, once, and one a token and draw; lengths
//            of draws and beams are rounded up to powers of two, which costs 2 ln 2 = 1.4.
// Greedy     continuations go on from the shared pass; of known text, which the pass knows to be
//            said, a tenth is expected to be generated.
// EL         a text of T tokens is read, and each greedy mistake is rolled out to the end: T plus
//            mistakes times T/2. Unseen text is expected to have them at six of ten places (.57 of
//            Wikipedia under SmolLM2-135M, .76 under stories260k), known text at a tenth of that.
//            The forgotten text counts as known to the base and as unseen to the candidate.
// Taught     steps before an attack: a taught token is a forward token, and its backward pass
//            counts as two more. A run serves all attacks and all J of one kind of text; the first
//            attack at each J is charged with the steps since the J before. On the base the step
//            size is chosen first: two sizes are expected to be tried. The text itself is taught by
//            the size of half of it.
// Threads    pure functions; any.
// Errors     none: an attack or a condition that is not known costs nothing.
#ifndef LETHE_ENGINE_ATTACK_COST_H_
#define LETHE_ENGINE_ATTACK_COST_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/parameter.h"
#include "engine/text_size.h"

namespace lethe {

struct PlannedAttack {
  std::string attack;      // a name of the catalogue; one that is not known costs nothing
  ParameterValues values;  // all of its parameters
  std::string condition;   // as in condition.h
};

// Tokens, by what they go through a model for.
struct AttackCost {
  double read = 0;          // without gradients
  double generated = 0;     // drawn or searched
  double rolls_known = 0;   // that EL would roll out if every token of known text were a mistake
  double rolls_unseen = 0;  // likewise of text that the model does not know
  double taught = 0;        // forward and backward
  double steps = 0;         // of the optimizer

  int64_t ForwardTokens() const;
  AttackCost& operator+=(const AttackCost& more);
};

struct AuditSize {
  TextSize forgotten, control;  // attacked
  TextSize retain, others;      // taught
};

// One for each attack of the plan, of both models together.
std::vector<AttackCost> CostOfAudit(std::span<const PlannedAttack> plan, const AuditSize& size);

// Whether it reads the shared pass.
bool ReadsSharedPass(std::string_view attack);

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_COST_H_
