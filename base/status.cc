#include "base/status.h"

#include "absl/strings/cord.h"
#include "absl/strings/str_cat.h"

namespace lethe {
namespace {

constexpr char kReasonUrl[] = "lethe/reason";
constexpr char kMetadataPrefix[] = "lethe/metadata/";

}  // namespace

absl::Status Error(absl::StatusCode code, std::string_view reason, std::string_view message,
                   const ErrorMetadata& metadata) {
  absl::Status status(code, absl::string_view(message.data(), message.size()));
  status.SetPayload(kReasonUrl, absl::Cord(absl::string_view(reason.data(), reason.size())));
  return WithDetails(std::move(status), metadata);
}

std::string ErrorReason(const absl::Status& status) {
  auto payload = status.GetPayload(kReasonUrl);
  return payload.has_value() ? std::string(*payload) : std::string();
}

ErrorMetadata ErrorDetails(const absl::Status& status) {
  ErrorMetadata details;
  status.ForEachPayload([&](absl::string_view url, const absl::Cord& value) {
    const absl::string_view prefix = kMetadataPrefix;
    if (url.substr(0, prefix.size()) == prefix) {
      details[std::string(url.substr(prefix.size()))] = std::string(value);
    }
  });
  return details;
}

absl::Status Annotate(const absl::Status& status, std::string_view context) {
  if (status.ok()) return status;
  absl::Status out(status.code(), absl::StrCat(absl::string_view(context.data(), context.size()),
                                               ": ", status.message()));
  status.ForEachPayload(
      [&](absl::string_view url, const absl::Cord& value) { out.SetPayload(url, value); });
  return out;
}

absl::Status WithDetails(absl::Status status, const ErrorMetadata& metadata) {
  for (const auto& [key, value] : metadata) {
    status.SetPayload(absl::StrCat(kMetadataPrefix, key), absl::Cord(value));
  }
  return status;
}

}  // namespace lethe
