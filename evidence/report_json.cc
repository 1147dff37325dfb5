#include "evidence/report_json.h"

#include <google/protobuf/util/json_util.h>

#include <nlohmann/json.hpp>

#include "base/status.h"
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
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace lethe
