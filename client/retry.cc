#include "client/retry.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/status.h"
#include "client/error_info.h"

namespace lethe {

bool ShouldRetry(const absl::Status& status, Repeat repeat) {
  const std::string reason = ErrorReason(status);
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      return repeat == Repeat::kSafe || reason == "SERVER_DRAINING";
    case absl::StatusCode::kResourceExhausted:
      return RetryDelay(status).has_value();
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kDeadlineExceeded:
      return repeat == Repeat::kSafe;
    default:
      return false;
  }
}

absl::Duration Jitter(absl::Duration bound, Random* random) {
  const std::string bytes = random->Bytes(4);
  uint32_t number = 0;
  std::memcpy(&number, bytes.data(), sizeof(number));
  return bound * (static_cast<double>(number) / 4294967296.0);
}

absl::Duration Backoff::Next(const absl::Status& status) {
  absl::Duration bound = policy_.first_pause;
  for (int i = 0; i < pauses_ && bound < policy_.longest_pause; ++i) bound *= 2;
  bound = std::min(bound, policy_.longest_pause);
  ++pauses_;
  return std::max(Jitter(bound, random_), RetryDelay(status).value_or(absl::ZeroDuration()));
}

}  // namespace lethe
