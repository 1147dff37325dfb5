#include "server/policy/ladder.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/catalog.h"
#include "engine/condition.h"
#include "evidence/policy.h"
#include "server/convert.h"
#include "server/errors.h"
#include "server/field_violations.h"

namespace lethe {
namespace {

// The ladder of a policy that names none.
constexpr std::pair<const char*, const char*> kDefaultLadder[] = {{"gradient_ascent", "calibrated"},
                                                                  {"gradient_ascent", "careful"}};

ParameterValues Values(const google::protobuf::Map<std::string, double>& map) {
  return ParameterValues(map.begin(), map.end());
}

absl::Status Invalid(const std::string& field, const std::string& message) {
  return FieldError("POLICY_INVALID", field, message);
}

absl::Status CheckRung(const v1::Rung& rung, int index) {
  const std::string field = absl::StrCat("policy.ladder[", index, "]");
  const MethodEntry* method = FindMethod(rung.method());
  if (method == nullptr) return Invalid(field + ".method", "the catalogue has no such method");
  if (FindPreset(*method, rung.preset()) == nullptr) {
    return Invalid(field + ".preset", "the method has no such preset");
  }
  if (auto wrong = CheckParameters(method->parameters, Values(rung.overrides()))) {
    return Invalid(field + ".overrides",
                   "a parameter is unknown or out of range; see the catalogue");
  }
  return absl::OkStatus();
}

absl::Status CheckAttack(const v1::AttackSpec& spec, const std::string& field) {
  const AttackEntry* attack = FindAttack(spec.attack());
  if (attack == nullptr) return Invalid(field + ".attack", "the catalogue has no such attack");
  if (auto wrong = CheckParameters(attack->parameters, Values(spec.parameters()))) {
    return Invalid(field + ".parameters",
                   "a parameter is unknown or out of range; see the catalogue");
  }
  if (!ParseCondition(spec.condition()).ok()) {
    return Invalid(field + ".condition", "there is no such condition; docs/attacks.md lists them");
  }
  return absl::OkStatus();
}

// `prefix` comes before the names of fields.
void CheckAttacks(const AttackSpecs& attacks, const std::string& plan, const std::string& prefix,
                  FieldViolations* wrong) {
  for (int i = 0; i < attacks.size() && !wrong->Enough(); ++i) {
    wrong->Add(CheckAttack(attacks[i], absl::StrCat(prefix, "attacks[", i, "]")));
  }
  if (!plan.empty() && FindPlan(plan) == nullptr) {
    wrong->Add(Invalid(prefix + "attack_plan", "the catalogue has no such plan"));
  }
}

}  // namespace

v1::Rung RungOf(const v1::ModelPolicy& policy, int rung) {
  if (policy.ladder().empty()) return v1::Rung();
  return policy.ladder(std::clamp(rung, 0, policy.ladder_size() - 1));
}

int FirstRung(const v1::ModelPolicy& policy, bool teachers) {
  for (int rung = 0; rung < policy.ladder_size(); ++rung) {
    const MethodEntry* method = FindMethod(policy.ladder(rung).method());
    if (teachers || method == nullptr || !method->needs_teachers) return rung;
  }
  return std::max(0, policy.ladder_size() - 1);
}

std::string RungName(const v1::Rung& rung) {
  return absl::StrCat(rung.method(), "/", rung.preset());
}

absl::StatusOr<v1::ModelPolicy> ResolvePolicy(const v1::ModelPolicy& asked,
                                              const ServerConfig& config) {
  FieldViolations wrong;
  for (int i = 0; i < asked.ladder_size() && !wrong.Enough(); ++i) {
    wrong.Add(CheckRung(asked.ladder(i), i));
  }
  CheckAttacks(asked.attacks(), asked.attack_plan(), "policy.", &wrong);
  LETHE_RETURN_IF_ERROR(wrong.status());
  v1::ModelPolicy policy = asked;
  for (v1::Rung& rung : *policy.mutable_ladder()) {
    if (rung.preset().empty()) {
      rung.set_preset(std::string(FindMethod(rung.method())->presets.front().name));
    }
  }
  LETHE_RETURN_IF_ERROR(ValidatePolicy(policy));
  std::vector<v1::Rung> ladder;
  for (const auto& [method, preset] : kDefaultLadder) {
    v1::Rung& rung = ladder.emplace_back();
    rung.set_method(method);
    rung.set_preset(preset);
  }
  if (policy.attack_plan().empty()) policy.set_attack_plan(std::string(Plans().front().name));
  std::vector<v1::AttackSpec> attacks;
  for (const PlanRow& row : FindPlan(policy.attack_plan())->rows) {
    v1::AttackSpec& spec = attacks.emplace_back();
    spec.set_attack(std::string(row.attack));
    spec.set_condition(std::string(row.condition));
    spec.set_report_only(row.report_only);
  }
  if (policy.max_tickets_per_job() == 0) {
    policy.set_max_tickets_per_job(static_cast<int32_t>(config.max_tickets_per_job));
  }
  if (!policy.has_max_batch_wait())
    ToDuration(config.max_batch_wait, policy.mutable_max_batch_wait());
  policy = WithDefaults(std::move(policy), ladder, attacks);
  LETHE_RETURN_IF_ERROR(ValidatePolicy(policy));
  return policy;
}

absl::StatusOr<std::vector<v1::AttackSpec>> ResolveAttacks(const AttackSpecs& attacks,
                                                           const std::string& plan,
                                                           const ServerConfig& config) {
  FieldViolations wrong;
  CheckAttacks(attacks, plan, "", &wrong);
  LETHE_RETURN_IF_ERROR(wrong.status());
  v1::ModelPolicy policy;
  *policy.mutable_attacks() = attacks;
  policy.set_attack_plan(plan);
  LETHE_ASSIGN_OR_RETURN(policy, ResolvePolicy(policy, config));
  return std::vector<v1::AttackSpec>(policy.attacks().begin(), policy.attacks().end());
}

}  // namespace lethe
