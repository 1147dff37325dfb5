#include "storage/command/decide.h"

#include "base/digest.h"
#include "base/status.h"
#include "storage/command/decide_internal.h"
#include "storage/command/draft.h"

namespace lethe::storage {

absl::StatusOr<Changes> Decide(const Command& command, const View& view, absl::Time now,
                               const Rules& rules) {
  const Context context{view, now, rules};
  return std::visit([&](const auto& c) { return Decide(c, context); }, command);
}

std::string RequestKey(std::string_view request_id) { return Sha256Hex(request_id); }

absl::Status LeaseLost(const JobId& job) {
  return Error(absl::StatusCode::kAborted, "LEASE_LOST",
               "this lease is no longer the job's; drop the work and acquire again",
               {{"job", job.value}});
}

absl::Status Malformed(std::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, "COMMAND_MALFORMED", what);
}

Decision Decide(const PurgeRequests& c, const Context& context) {
  Changes changes;
  LETHE_ASSIGN_OR_RETURN(std::vector<std::string> expired,
                         context.view.ExpiredRequests(absl::ToUnixMicros(context.now), c.limit));
  for (const std::string& key : expired) {
    LETHE_ASSIGN_OR_RETURN(std::optional<RequestRecord> request, context.view.FindRequest(key));
    if (request.has_value()) changes.requests_removed.emplace(key, *std::move(request));
  }
  changes.receipt.count = static_cast<int64_t>(changes.requests_removed.size());
  return changes;
}

Decision Decide(const RaiseKeyEpoch& c, const Context& context) {
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(CountersRecord * counters, draft.Counters());
  if (c.epoch <= counters->key_epoch()) return Changes{.receipt = {.repeated = true}};
  counters->set_key_epoch(c.epoch);
  draft.NoteKeyEpoch(c.epoch);
  return draft.Finish({});
}

Decision Decide(const ReplaceKeys& c, const Context& context) {
  Changes changes;
  for (const auto& [ticket, key] : c.keys) {
    LETHE_ASSIGN_OR_RETURN(std::optional<KeyRecord> old, context.view.FindKey(TicketId{ticket}));
    if (old.has_value() && old->epoch() < key.epoch()) changes.keys.emplace(ticket, key);
  }
  changes.receipt.count = static_cast<int64_t>(changes.keys.size());
  return changes;
}

}  // namespace lethe::storage
