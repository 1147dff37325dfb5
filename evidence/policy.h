// Policies: how a model's tickets are served and judged. Read, check, fill in.
//
//   LETHE_ASSIGN_OR_RETURN(v1::ModelPolicy policy, ParsePolicy(content));  // no unknown names
//   policy = WithDefaults(std::move(policy), catalogue_ladder, catalogue_attacks);
//   LETHE_RETURN_IF_ERROR(ValidatePolicy(policy));                         // all errors at once
//
// The catalogue of methods and attacks is the engine's (engine/catalog.h): the default ladder and
// attacks come from the caller, and the caller checks that the names it finds exist.
//
// Errors     INVALID_ARGUMENT with reason POLICY_INVALID; the message names
//            each fault, metadata "faults" counts them.
// Threads    pure functions; any.
#ifndef LETHE_EVIDENCE_POLICY_H_
#define LETHE_EVIDENCE_POLICY_H_

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lethe/v1/policy.pb.h"

namespace lethe {

// Every absent figure set to the default that policy.proto names. What is present stays.
v1::VerdictPolicy WithDefaults(v1::VerdictPolicy policy);

// The same for a whole policy. An empty ladder becomes `ladder`, an empty list of attacks
// `attacks`; the names of the attacks go to verdict.required_attacks, so that a report without one
// of them is refused.
v1::ModelPolicy WithDefaults(v1::ModelPolicy policy, const std::vector<v1::Rung>& ladder = {},
                             const std::vector<v1::AttackSpec>& attacks = {});

// How policies, gates and tables name an attack under a condition: "loss", "loss@int4-g128".
std::string AttackId(std::string_view attack, std::string_view condition);

// Ranges, names and finite numbers, of policies with or without their defaults filled in.
absl::Status ValidatePolicy(const v1::ModelPolicy& policy);
absl::Status ValidatePolicy(const v1::VerdictPolicy& policy);

// A policy file: ModelPolicy in protobuf's JSON mapping, checked by ValidatePolicy, defaults not
// yet filled in. Field names as in policy.proto or in lowerCamelCase; a name that it does not know
// is refused and named.
absl::StatusOr<v1::ModelPolicy> ParsePolicy(std::string_view json);

// The policy as such a file, two-space indented, names as in policy.proto.
std::string PolicyToJson(const v1::ModelPolicy& policy);

}  // namespace lethe

#endif  // LETHE_EVIDENCE_POLICY_H_
