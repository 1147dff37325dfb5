#include "client/error_info.h"

#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace lethe {
namespace {

constexpr char kDomain[] = "lethe";
constexpr char kRetryDelayUrl[] = "lethe/retry-delay-ms";

// What an error without ErrorInfo means; "" when its code says enough.
std::string ReasonOfTransport(grpc::StatusCode code) {
  if (code == grpc::StatusCode::UNAVAILABLE) return "NOT_REACHABLE";
  if (code == grpc::StatusCode::DEADLINE_EXCEEDED) return "NO_ANSWER";
  return "";
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  // The two enumerations have the same numbers; what is out of range becomes UNKNOWN.
  const int number = status.error_code();
  const auto code = number > 0 && number <= 16 ? static_cast<absl::StatusCode>(number)
                                               : absl::StatusCode::kUnknown;

  std::string reason;
  ErrorMetadata metadata;
  std::optional<int64_t> delay_ms;
  google::rpc::Status details;
  if (details.ParseFromString(status.error_details())) {
    for (const google::protobuf::Any& any : details.details()) {
      google::rpc::ErrorInfo info;
      google::rpc::BadRequest bad;
      google::rpc::RetryInfo retry;
      if (any.Is<google::rpc::ErrorInfo>() && any.UnpackTo(&info) && info.domain() == kDomain) {
        reason = info.reason();
        for (const auto& [key, value] : info.metadata()) metadata[key] = value;
      } else if (any.Is<google::rpc::BadRequest>() && any.UnpackTo(&bad)) {
        // The message speaks of the first; of the others their fields do.
        for (int i = 1; i < bad.field_violations_size(); ++i) {
          metadata.emplace(bad.field_violations(i).field(), bad.field_violations(i).description());
        }
      } else if (any.Is<google::rpc::RetryInfo>() && any.UnpackTo(&retry)) {
        delay_ms = retry.retry_delay().seconds() * 1000 + retry.retry_delay().nanos() / 1'000'000;
      }
    }
  }
  if (reason.empty()) reason = ReasonOfTransport(status.error_code());
  absl::Status out = reason.empty() ? absl::Status(code, status.error_message())
                                    : Error(code, reason, status.error_message(), metadata);
  if (delay_ms) out.SetPayload(kRetryDelayUrl, absl::Cord(absl::StrCat(*delay_ms)));
  return out;
}

std::optional<absl::Duration> RetryDelay(const absl::Status& status) {
  auto payload = status.GetPayload(kRetryDelayUrl);
  int64_t ms = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &ms) || ms < 0) {
    return std::nullopt;
  }
  return absl::Milliseconds(ms);
}

}  // namespace lethe
