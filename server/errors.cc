#include "server/errors.h"

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "base/log.h"
#include "server/field_violations.h"

namespace lethe {
namespace {

std::string Text(absl::string_view text) { return std::string(text.data(), text.size()); }

std::string Find(const ErrorMetadata& metadata, const std::string& key) {
  const auto it = metadata.find(key);
  return it == metadata.end() ? std::string() : it->second;
}

void AddRetryInfo(const std::string& milliseconds, google::rpc::Status& out) {
  int64_t pause_ms = 0;
  if (!absl::SimpleAtoi(milliseconds, &pause_ms)) return;
  google::rpc::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(pause_ms / 1000);
  retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(pause_ms % 1000) * 1'000'000);
  out.add_details()->PackFrom(retry);
}

// The details that only some codes have.
void AddDetails(const absl::Status& status, const std::string& reason,
                const ErrorMetadata& metadata, google::rpc::Status& out) {
  const std::string message = Text(status.message());
  const google::rpc::BadRequest bad = ViolationsOf(status);
  if (!bad.field_violations().empty()) out.add_details()->PackFrom(bad);
  if (status.code() == absl::StatusCode::kFailedPrecondition) {
    google::rpc::PreconditionFailure failure;
    auto* violation = failure.add_violations();
    violation->set_type(reason);
    for (const char* key : {"ticket", "model", "checkpoint", "job"}) {
      if (violation->subject().empty()) violation->set_subject(Find(metadata, key));
    }
    violation->set_description(message);
    out.add_details()->PackFrom(failure);
  }
  if (status.code() == absl::StatusCode::kNotFound) {
    for (const char* key : {"ticket", "model", "checkpoint", "job", "report"}) {
      if (!metadata.count(key)) continue;
      google::rpc::ResourceInfo resource;
      resource.set_resource_type(key);
      resource.set_resource_name(Find(metadata, key));
      out.add_details()->PackFrom(resource);
      break;
    }
  }
  AddRetryInfo(Find(metadata, "retry_after_ms"), out);
}

}  // namespace

grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const std::string reason = ErrorReason(status);
  if (reason.empty()) {
    // The message may hold anything, so it goes neither to the caller nor to the log.
    LogError("an error without a reason", {{"code", absl::StatusCodeToString(status.code())}});
    return ToGrpcStatus(Error(absl::StatusCode::kInternal, "UNEXPECTED",
                              "an unexpected error; the server's log has its time"));
  }
  const ErrorMetadata metadata = ErrorDetails(status);
  google::rpc::Status out;
  out.set_code(static_cast<int>(status.code()));
  out.set_message(Text(status.message()));
  google::rpc::ErrorInfo info;
  info.set_reason(reason);
  info.set_domain("lethe");
  for (const auto& [key, value] : metadata) (*info.mutable_metadata())[key] = value;
  out.add_details()->PackFrom(info);
  AddDetails(status, reason, metadata, out);
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), out.message(),
                      out.SerializeAsString());
}

absl::Status FieldError(std::string_view reason, std::string_view field, std::string_view message,
                        ErrorMetadata metadata) {
  metadata["field"] = std::string(field);
  return Error(absl::StatusCode::kInvalidArgument, reason, message, metadata);
}

absl::Status RetryLater(absl::StatusCode code, std::string_view reason, std::string_view message,
                        absl::Duration pause) {
  return Error(code, reason, message,
               {{"retry_after_ms", absl::StrCat(absl::ToInt64Milliseconds(pause))}});
}

absl::Status ServerDraining() {
  return RetryLater(absl::StatusCode::kUnavailable, "SERVER_DRAINING",
                    "this server is stopping; call again, another or the restarted one will answer",
                    absl::Seconds(1));
}

absl::Status LeaseLost(const std::string& job) {
  const bool known = IsRandomId(job, 'j') || IsRandomId(job, 'a');
  return Error(absl::StatusCode::kAborted, "LEASE_LOST",
               "the lease of this job is not yours; drop the work and acquire again",
               known ? ErrorMetadata{{"job", job}} : ErrorMetadata{});
}

}  // namespace lethe
