#include "server/field_violations.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace lethe {
namespace {

// A serialised BadRequest; only where there are several violations.
constexpr char kViolationsUrl[] = "lethe/field-violations";

absl::Status With(absl::Status status, const google::rpc::BadRequest& violations) {
  if (violations.field_violations_size() > 1) {
    status.SetPayload(kViolationsUrl, absl::Cord(violations.SerializeAsString()));
  }
  return status;
}

}  // namespace

void FieldViolations::Add(const absl::Status& status) {
  if (status.ok() || Enough()) return;
  if (first_.ok()) first_ = status;
  const google::rpc::BadRequest found = ViolationsOf(status);
  for (const auto& violation : found.field_violations()) {
    if (all_.field_violations_size() < kMost) *all_.add_field_violations() = violation;
  }
}

bool FieldViolations::Enough() const {
  return all_.field_violations_size() >= kMost || (!first_.ok() && all_.field_violations().empty());
}

absl::Status FieldViolations::status() const { return With(first_, all_); }

google::rpc::BadRequest ViolationsOf(const absl::Status& status) {
  google::rpc::BadRequest bad;
  if (status.code() != absl::StatusCode::kInvalidArgument) return bad;
  if (const auto payload = status.GetPayload(kViolationsUrl); payload.has_value()) {
    bad.ParseFromString(std::string(*payload));
    return bad;
  }
  const ErrorMetadata metadata = ErrorDetails(status);
  const auto field = metadata.find("field");
  if (field == metadata.end()) return bad;
  auto* violation = bad.add_field_violations();
  violation->set_field(field->second);
  violation->set_description(std::string(status.message()));
  violation->set_reason(ErrorReason(status));
  return bad;
}

absl::Status AboutField(const absl::Status& status, std::string_view prefix,
                        const ErrorMetadata& more) {
  ErrorMetadata metadata = ErrorDetails(status);
  if (const auto field = metadata.find("field"); field != metadata.end()) {
    field->second = std::string(prefix) + field->second;
  }
  metadata.insert(more.begin(), more.end());
  google::rpc::BadRequest violations = ViolationsOf(status);
  for (auto& violation : *violations.mutable_field_violations()) {
    violation.set_field(std::string(prefix) + violation.field());
  }
  const std::string message(status.message());
  return With(Error(status.code(), ErrorReason(status), message, metadata), violations);
}

}  // namespace lethe
