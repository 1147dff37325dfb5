#include "client/watch_ticket.h"

#include <optional>

namespace lethe {

bool IsSettled(v1::TicketState state) {
  switch (state) {
    case v1::TICKET_STATE_COMPLETED:
    case v1::TICKET_STATE_CANCELLED:
    case v1::TICKET_STATE_DENIED:
    case v1::TICKET_STATE_FAILED:
      return true;
    default:
      return false;
  }
}

absl::Status WatchTicket(v1::DeletionService::StubInterface* stub, const std::string& ticket_id,
                         const Caller& caller,
                         const std::function<Watch(const v1::Ticket&)>& on_update) {
  const CallerOptions& options = caller.options();
  v1::WatchTicketRequest request;
  request.set_ticket_id(ticket_id);
  Backoff backoff(options.retry, options.random);
  std::string seen;  // the last update, serialised

  while (true) {
    grpc::ClientContext context;  // no deadline: a ticket may wait for days
    std::optional<Stop::Subscription> cancel;
    if (options.stop != nullptr) cancel.emplace(options.stop, [&context] { context.TryCancel(); });
    auto stream = stub->WatchTicket(&context, request);
    v1::WatchTicketResponse update;
    bool enough = false;
    while (!enough && stream->Read(&update)) {
      backoff.Reset();
      std::string bytes = update.ticket().SerializeAsString();
      if (bytes == seen) continue;
      seen = std::move(bytes);
      enough = on_update(update.ticket()) == Watch::kEnough;
    }
    if (enough) context.TryCancel();
    const absl::Status status = FromGrpc(stream->Finish());
    if (enough || status.ok()) return absl::OkStatus();
    if (options.stop != nullptr && options.stop->requested()) return StoppedError();
    if (!ShouldRetry(status, Repeat::kSafe)) return status;
    if (options.retry.max_attempts > 0 && backoff.pauses() + 1 >= options.retry.max_attempts)
      return status;
    const absl::Duration pause = backoff.Next(status);
    if (options.stop == nullptr) {
      absl::SleepFor(pause);
    } else if (options.stop->WaitFor(pause)) {
      return StoppedError();
    }
  }
}

}  // namespace lethe
