#include "evidence/policy.h"

#include <google/protobuf/util/json_util.h>

#include <cmath>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"

namespace lethe {
namespace {

constexpr int kMostTicketsPerJob = 1000;

class Faults {
 public:
  void Add(std::string fault) { faults_.push_back(std::move(fault)); }

  // A figure that is present must lie in [low, high]; NaN lies nowhere.
  void Range(std::string_view name, bool present, double value, double low, double high) {
    if (!present || (value >= low && value <= high)) return;
    Add(absl::StrCat(std::string(name), " is ", value, ", want ", low, " to ", high));
  }

  void Name(std::string_view what, std::string_view name) {
    bool good = !name.empty() && name.size() <= 63;
    for (char c : name) {
      good = good && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_' || c == '-' || c == '+' || c == '.');
    }
    if (!good) {
      Add(absl::StrCat(std::string(what), ": a name has 1 to 63 of letters, digits and _-+."));
    }
  }

  template <typename Map>
  void Finite(std::string_view what, const Map& numbers) {
    for (const auto& [name, value] : numbers) {
      Name(absl::StrCat(std::string(what), ", key"), name);
      if (!std::isfinite(value)) Add(absl::StrCat(std::string(what), ": a value is not finite"));
    }
  }

  absl::Status Result() const {
    if (faults_.empty()) return absl::OkStatus();
    return Error(absl::StatusCode::kInvalidArgument, "POLICY_INVALID",
                 absl::StrCat("the policy is not valid: ", absl::StrJoin(faults_, "; ")),
                 {{"faults", absl::StrCat(faults_.size())}});
  }

 private:
  std::vector<std::string> faults_;
};

void CheckVerdict(const v1::VerdictPolicy& p, Faults& faults) {
  const auto range = [&](std::string_view name, bool present, double value, double low,
                         double high) {
    faults.Range(absl::StrCat("verdict.", std::string(name)), present, value, low, high);
  };
  range("extraction_margin", p.has_extraction_margin(), p.extraction_margin(), 0, 1);
  range("extraction_worst_margin", p.has_extraction_worst_margin(), p.extraction_worst_margin(), 0,
        1);
  range("membership_margin", p.has_membership_margin(), p.membership_margin(), 0, 0.5);
  range("unlikely_sds", p.has_unlikely_sds(), p.unlikely_sds(), 0, 100);
  range("control_change", p.has_control_change(), p.control_change(), 0, 10);
  range("retain_rise", p.has_retain_rise(), p.retain_rise(), 0, 10);
  range("other_rise", p.has_other_rise(), p.other_rise(), 0, 10);
  range("min_powerful_attacks", p.has_min_powerful_attacks(), p.min_powerful_attacks(), 0, 1000);
  range("min_control", p.has_min_control(), p.min_control(), 2, 1000000);
  range("likely_sds", p.has_likely_sds(), p.likely_sds(), 0, 100);
  range("control_score_change", p.has_control_score_change(), p.control_score_change(), 0, 1);
  range("negligible_nats", p.has_negligible_nats(), p.negligible_nats(), 0, 10);
  range("control_kind_sds", p.has_control_kind_sds(), p.control_kind_sds(), 0, 100);
  range("control_length_ratio", p.has_control_length_ratio(), p.control_length_ratio(), 1, 1000);
  range("false_alarm", p.has_false_alarm(), p.false_alarm(), 1e-6, 1);
  for (int i = 0; i < p.required_attacks_size(); ++i) {
    const std::string at = absl::StrCat("verdict.required_attacks[", i, "]");
    const std::vector<std::string> parts =
        absl::StrSplit(p.required_attacks(i), absl::MaxSplits('@', 1));
    for (const std::string& part : parts) faults.Name(at, part);
  }
}

}  // namespace

v1::VerdictPolicy WithDefaults(v1::VerdictPolicy p) {
  if (!p.has_extraction_margin()) p.set_extraction_margin(0.1);
  if (!p.has_extraction_worst_margin()) p.set_extraction_worst_margin(0.15);
  if (!p.has_membership_margin()) p.set_membership_margin(0.35);
  if (!p.has_unlikely_sds()) p.set_unlikely_sds(3);
  if (!p.has_control_change()) p.set_control_change(0.1);
  if (!p.has_retain_rise()) p.set_retain_rise(0.1);
  if (!p.has_other_rise()) p.set_other_rise(0.05);
  if (!p.has_min_powerful_attacks()) p.set_min_powerful_attacks(1);
  if (!p.has_min_control()) p.set_min_control(8);
  if (!p.has_likely_sds()) p.set_likely_sds(3);
  if (!p.has_control_score_change()) p.set_control_score_change(0.1);
  if (!p.has_negligible_nats()) p.set_negligible_nats(0.05);
  if (!p.has_false_alarm()) p.set_false_alarm(0.02);
  if (!p.has_control_kind_sds()) p.set_control_kind_sds(1);
  if (!p.has_control_length_ratio()) p.set_control_length_ratio(3);
  return p;
}

v1::ModelPolicy WithDefaults(v1::ModelPolicy policy, const std::vector<v1::Rung>& ladder,
                             const std::vector<v1::AttackSpec>& attacks) {
  if (policy.ladder().empty()) {
    for (const v1::Rung& rung : ladder) *policy.add_ladder() = rung;
  }
  if (policy.max_tickets_per_job() == 0) policy.set_max_tickets_per_job(32);
  if (!policy.has_max_batch_wait()) policy.mutable_max_batch_wait();
  if (policy.attacks().empty()) {
    for (const v1::AttackSpec& attack : attacks) *policy.add_attacks() = attack;
  }
  if (!policy.has_retired_checkpoints_kept()) policy.set_retired_checkpoints_kept(1);
  *policy.mutable_verdict() = WithDefaults(policy.verdict());
  if (policy.verdict().required_attacks().empty()) {
    for (const v1::AttackSpec& attack : policy.attacks()) {
      policy.mutable_verdict()->add_required_attacks(AttackId(attack.attack(), attack.condition()));
    }
  }
  return policy;
}

std::string AttackId(std::string_view attack, std::string_view condition) {
  std::string id(attack);
  if (!condition.empty()) id.append("@").append(condition);
  return id;
}

absl::Status ValidatePolicy(const v1::VerdictPolicy& policy) {
  Faults faults;
  CheckVerdict(policy, faults);
  return faults.Result();
}

absl::Status ValidatePolicy(const v1::ModelPolicy& policy) {
  Faults faults;
  for (int i = 0; i < policy.ladder_size(); ++i) {
    const std::string at = absl::StrCat("ladder[", i, "]");
    faults.Name(at + ".method", policy.ladder(i).method());
    if (!policy.ladder(i).preset().empty()) faults.Name(at + ".preset", policy.ladder(i).preset());
    faults.Finite(at + ".overrides", policy.ladder(i).overrides());
  }
  faults.Range("max_tickets_per_job", policy.max_tickets_per_job() != 0,
               policy.max_tickets_per_job(), 1, kMostTicketsPerJob);
  constexpr int64_t kMonth = 31 * 24 * 3600;
  faults.Range("max_batch_wait (seconds)", policy.has_max_batch_wait(),
               static_cast<double>(policy.max_batch_wait().seconds()), 0, kMonth);
  faults.Range("max_batch_wait (nanoseconds)", policy.has_max_batch_wait(),
               policy.max_batch_wait().nanos(), 0, 999999999);
  for (int i = 0; i < policy.attacks_size(); ++i) {
    const std::string at = absl::StrCat("attacks[", i, "]");
    faults.Name(at + ".attack", policy.attacks(i).attack());
    faults.Finite(at + ".parameters", policy.attacks(i).parameters());
    if (!policy.attacks(i).condition().empty()) {
      faults.Name(at + ".condition", policy.attacks(i).condition());
    }
  }
  if (!policy.attack_plan().empty()) faults.Name("attack_plan", policy.attack_plan());
  faults.Range("max_forward_tokens", policy.max_forward_tokens() != 0,
               static_cast<double>(policy.max_forward_tokens()), 0, 1e15);
  faults.Range("retired_checkpoints_kept", policy.has_retired_checkpoints_kept(),
               policy.retired_checkpoints_kept(), 0, 1000);
  CheckVerdict(policy.verdict(), faults);
  return faults.Result();
}

absl::StatusOr<v1::ModelPolicy> ParsePolicy(std::string_view json) {
  namespace pb = google::protobuf;
  v1::ModelPolicy policy;
  pb::util::JsonParseOptions options;
  options.ignore_unknown_fields = false;
  const pb::util::Status parsed =
      pb::util::JsonStringToMessage(pb::StringPiece(json.data(), json.size()), &policy, options);
  if (!parsed.ok()) {
    return Error(absl::StatusCode::kInvalidArgument, "POLICY_INVALID",
                 absl::StrCat("the policy is not a ModelPolicy in JSON: ",
                              std::string(parsed.message().data(), parsed.message().size())),
                 {{"faults", "1"}});
  }
  LETHE_RETURN_IF_ERROR(ValidatePolicy(policy));
  return policy;
}

std::string PolicyToJson(const v1::ModelPolicy& policy) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(policy, &json, options).ok()) return "{}";
  return json;
}

}  // namespace lethe
