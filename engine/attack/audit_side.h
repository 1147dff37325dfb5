// One model of an audit's two: brought into each condition of the plan, attacked in each.
//
//   const ResumeFolder kept(request.resume_folder, binding);
//   LETHE_RETURN_IF_ERROR(RunSide(audit, Side::kBefore, kept, progress));
//
// Order      conditions as the plan first names them; relearning on one kind of text is one run of
//            training, which the attacks of all its steps look at in turn.
// Kept       each attack of each model when it is done; the choice of a step size; the likelihoods. A
//            model is loaded, rounded or taught again only where something of it is missing.
// Memory     the model and, in a condition, one copy of it; while that is taught, its gradients and
//            moments too.
// Threads    one at a time.
// Errors     as RunAttacks.
#ifndef LETHE_ENGINE_ATTACK_AUDIT_SIDE_H_
#define LETHE_ENGINE_ATTACK_AUDIT_SIDE_H_

#include "engine/attack/audit.h"
#include "engine/attack/resume.h"
#include "engine/progress.h"

namespace lethe {

absl::Status RunSide(Audit& audit, Side side, const ResumeFolder& kept,
                     const ProgressCallback& progress);

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_AUDIT_SIDE_H_
