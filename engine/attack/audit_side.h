// One model of an audit's two: brought into each condition of the plan, attacked in each.
//
//   LETHE_RETURN_IF_ERROR(RunSide(audit, Side::kBefore, progress));
//
// Order      conditions as the plan first names them; relearning on one kind of text is one run of
//            training, which the attacks of all its steps look at in turn.
// Memory     the model and, in a condition, one copy of it; while that is taught, its gradients and
//            moments too.
// Threads    one at a time.
// Errors     as RunAttacks.
#ifndef LETHE_ENGINE_ATTACK_AUDIT_SIDE_H_
#define LETHE_ENGINE_ATTACK_AUDIT_SIDE_H_

#include "engine/attack/audit.h"
#include "engine/progress.h"

namespace lethe {

absl::Status RunSide(Audit& audit, Side side, const ProgressCallback& progress);

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_AUDIT_SIDE_H_
