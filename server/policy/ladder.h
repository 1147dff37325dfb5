// The ladder of methods: which one is tried at which rung,
// and what a policy without an opinion means.
//
//   v1::Rung rung = RungOf(policy, ticket.rung());        // gradient_ascent/careful
//   LETHE_ASSIGN_OR_RETURN(v1::ModelPolicy policy, ResolvePolicy(request.policy(), config));
//
// Errors     INVALID_ARGUMENT/POLICY_INVALID: names that the catalogue does not know, parameters
//            out of range, and what evidence/policy.h refuses.
// Threads    pure.
#ifndef LETHE_SERVER_POLICY_LADDER_H_
#define LETHE_SERVER_POLICY_LADDER_H_

#include <lethe/v1/policy.pb.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/config.h"

namespace lethe {

using AttackSpecs = google::protobuf::RepeatedPtrField<v1::AttackSpec>;

// Rungs past the end are the last one.
v1::Rung RungOf(const v1::ModelPolicy& policy, int rung);

// The first rung that can be tried: one whose method needs teachers is passed over where none may
// teach. The last one when none can.
int FirstRung(const v1::ModelPolicy& policy, bool teachers);

// "gradient_ascent/calibrated".
std::string RungName(const v1::Rung& rung);

// Checks a caller's policy against the catalogue and fills in every default, so that a model keeps
// the policy it was registered with.
absl::StatusOr<v1::ModelPolicy> ResolvePolicy(const v1::ModelPolicy& asked,
                                              const ServerConfig& config);

// The attacks that a caller names, or those of a plan of the catalogue where it names none, checked
// likewise; errors name "attacks[1].attack", "attack_plan". Both empty: those of the first plan.
absl::StatusOr<std::vector<v1::AttackSpec>> ResolveAttacks(const AttackSpecs& attacks,
                                                           const std::string& plan,
                                                           const ServerConfig& config);

}  // namespace lethe

#endif  // LETHE_SERVER_POLICY_LADDER_H_
