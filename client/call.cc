#include "client/call.h"

#include <optional>

namespace lethe {

absl::Status StoppedError() {
  return Error(absl::StatusCode::kCancelled, "STOPPED",
               "the call was given up because the process was asked to stop");
}

absl::Status Caller::Once(absl::Duration deadline,
                          const std::function<grpc::Status(grpc::ClientContext*)>& attempt) const {
  grpc::ClientContext context;
  context.set_deadline(absl::ToChronoTime(absl::Now() + deadline));
  std::optional<Stop::Subscription> cancel;
  if (options_.stop != nullptr) cancel.emplace(options_.stop, [&context] { context.TryCancel(); });
  absl::Status status = FromGrpc(attempt(&context));
  if (!status.ok() && options_.stop != nullptr && options_.stop->requested()) return StoppedError();
  return status;
}

bool Caller::MayTryAgain(const absl::Status& status, Repeat repeat, Backoff* backoff) const {
  if (ErrorReason(status) == "STOPPED" || !ShouldRetry(status, repeat)) return false;
  const int attempts = backoff->pauses() + 1;
  if (options_.retry.max_attempts > 0 && attempts >= options_.retry.max_attempts) return false;
  const absl::Duration pause = backoff->Next(status);
  if (options_.stop != nullptr) return !options_.stop->WaitFor(pause);
  absl::SleepFor(pause);
  return true;
}

}  // namespace lethe
