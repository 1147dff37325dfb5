#include "evidence/report_json.h"

#include <google/protobuf/util/json_util.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "base/status.h"
#include "evidence/report_curves.h"
#include "evidence/report_families.h"
#include "evidence/report_view.h"
#include "lethe/v1/policy.pb.h"

namespace lethe {
namespace {

absl::StatusOr<nlohmann::ordered_json> ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string text;
  if (google::protobuf::util::MessageToJsonString(message, &text, options).ok()) {
    nlohmann::ordered_json json = nlohmann::ordered_json::parse(text, nullptr, false);
    if (!json.is_discarded()) return json;
  }
  return Error(absl::StatusCode::kInvalidArgument, "REPORT_MALFORMED",
               "the report holds something that JSON cannot");
}

using Json = nlohmann::ordered_json;
using evidence::Interval;

Json RangeOf(const std::optional<Interval>& range) {
  return range.has_value() ? Json{range->low, range->high} : Json(nullptr);
}

Json StepsOf(const std::optional<double>& steps) {
  return steps.has_value() ? Json(*steps) : Json(nullptr);
}

Json TriedOf(const evidence::ReportView& view) {
  Json rows = Json::array();
  for (const evidence::FamilyRow& row : evidence::FamilyRows(view)) {
    rows.push_back({{"title", row.title},
                    {"tries", row.attacks.size()},
                    {"left_out", row.left_out},
                    {"shown", row.shown},
                    {"figure", row.figure},
                    {"before", row.before},
                    {"now", row.after},
                    {"unseen_now", row.control_after},
                    {"result", std::string(evidence::StandingWord(row.standing))},
                    {"sentence", row.sentence}});
  }
  return rows;
}

Json MembershipOf(const v1::Measurements& m) {
  Json rows = Json::array();
  for (const evidence::MembershipRow& row : evidence::MembershipRows(m)) {
    rows.push_back({{"attack", m.attacks(row.attack).attack()},
                    {"auc_before", row.before},
                    {"auc_before_95", RangeOf(row.before_range)},
                    {"auc_now", row.now},
                    {"auc_now_95", RangeOf(row.now_range)},
                    {"tpr_at_1_fpr_before", row.tpr_before},
                    {"tpr_at_1_fpr_now", row.tpr_now}});
  }
  return rows;
}

Json RelearningOf(const v1::Measurements& m) {
  Json rows = Json::array();
  for (const evidence::RelearnCurve& curve : evidence::RelearnCurves(m)) {
    rows.push_back({{"text", curve.title},
                    {"attack", curve.attack},
                    {"steps", curve.steps},
                    {"forgotten_before", curve.forgotten_before},
                    {"forgotten_now", curve.forgotten_now},
                    {"unseen_before", curve.control_before},
                    {"unseen_now", curve.control_now},
                    {"steps_to_half_forgotten",
                     StepsOf(evidence::StepsTo(curve.steps, curve.forgotten_now, 0.5))},
                    {"steps_to_half_unseen",
                     StepsOf(evidence::StepsTo(curve.steps, curve.control_now, 0.5))}});
  }
  return rows;
}

}  // namespace

absl::StatusOr<std::string> ReportToJson(const v1::VerificationReport& report) {
  v1::Measurements measurements;
  v1::VerdictPolicy policy;
  if (!measurements.ParseFromString(report.measurements()) ||
      !policy.ParseFromString(report.policy())) {
    return Error(absl::StatusCode::kInvalidArgument, "REPORT_MALFORMED",
                 "the report's measurements or policy cannot be decoded");
  }
  LETHE_ASSIGN_OR_RETURN(nlohmann::ordered_json json, ToJson(report));
  LETHE_ASSIGN_OR_RETURN(json["policy_decoded"], ToJson(policy));
  LETHE_ASSIGN_OR_RETURN(json["measurements_decoded"], ToJson(measurements));
  // A report whose verdict does not compute has nothing derived; its bytes are still kept.
  const absl::StatusOr<evidence::ReportView> view = evidence::ViewOf(report);
  if (view.ok()) {
    json["derived"] = {{"tried", TriedOf(*view)},
                       {"membership", MembershipOf(view->m())},
                       {"relearning", RelearningOf(view->m())}};
  }
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace lethe
