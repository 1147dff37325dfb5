// The verdict: what follows from the figures of a verification under a policy. docs/verdict.md
// explains every gate.
//
//   LETHE_ASSIGN_OR_RETURN(v1::Verdict verdict, ComputeVerdict(measurements, policy));
//   if (verdict.outcome() == v1::OUTCOME_PASS) ...   // and only then
//
// Pure: no clock, no random, no locale. The same measurements and policy give the same bytes, in
// whatever order the sequences stand; server, verifier, an auditor's `lethe report check` call this
// one function.
//
// Precedence  DESTROYED over NOT_FORGOTTEN over HIDDEN over INCONCLUSIVE over PASS: what is proven
//             is said; a pass needs every gate to hold and enough attacks that would have failed
//             before unlearning. Where damage is proven, a comparison with a damaged control proves
//             little, so that comes first; the summary names the other failures too.
// Privacy     sentences hold figures, ids of tickets and names
//             of attacks and sets; nothing of the text.
// Errors      INVALID_ARGUMENT, REPORT_MALFORMED: lists that do not fit together, a figure that is
//             not finite or out of range, no attack, a required attack missing. POLICY_INVALID:
//             the policy does not validate.
// Threads     any.
#ifndef LETHE_EVIDENCE_VERDICT_H_
#define LETHE_EVIDENCE_VERDICT_H_

#include "absl/status/statusor.h"
#include "evidence/policy.h"
#include "lethe/v1/policy.pb.h"
#include "lethe/v1/report.pb.h"

namespace lethe {

// `policy` need not have its defaults filled in.
absl::StatusOr<v1::Verdict> ComputeVerdict(const v1::Measurements& measurements,
                                           const v1::VerdictPolicy& policy);

// What ComputeVerdict refuses of the measurements alone; all faults at once.
absl::Status ValidateMeasurements(const v1::Measurements& measurements);

}  // namespace lethe

#endif  // LETHE_EVIDENCE_VERDICT_H_
