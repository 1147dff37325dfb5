// One overload a command; decide.cc dispatches. Internal to command/.
#ifndef LETHE_STORAGE_COMMAND_DECIDE_INTERNAL_H_
#define LETHE_STORAGE_COMMAND_DECIDE_INTERNAL_H_

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/command/changes.h"
#include "storage/command/commands.h"
#include "storage/command/rules.h"
#include "storage/snapshot.h"

namespace lethe::storage {

struct Context {
  const View& view;
  absl::Time now;
  const Rules& rules;
};

using Decision = absl::StatusOr<Changes>;

// decide_tickets.cc
Decision Decide(const CreateTickets& c, const Context& context);
Decision Decide(const ApproveTicket& c, const Context& context);
Decision Decide(const DenyTicket& c, const Context& context);
Decision Decide(const HoldTicket& c, const Context& context);
Decision Decide(const ReleaseTicket& c, const Context& context);
Decision Decide(const ExtendTicket& c, const Context& context);
Decision Decide(const CancelTicket& c, const Context& context);
Decision Decide(const RetryTicket& c, const Context& context);
// decide_models.cc
Decision Decide(const RegisterModel& c, const Context& context);
Decision Decide(const PromoteCheckpoint& c, const Context& context);
Decision Decide(const RollbackModel& c, const Context& context);
Decision Decide(const MarkFolderRemoved& c, const Context& context);
// decide_corpora.cc
Decision Decide(const RegisterCorpus& c, const Context& context);
Decision Decide(const CompleteIngest& c, const Context& context);
Decision Decide(const CompleteTrain& c, const Context& context);
Decision Decide(const CompleteRetrain& c, const Context& context);
// decide_jobs.cc
Decision Decide(const FormUnlearnJob& c, const Context& context);
Decision Decide(const LeaseJob& c, const Context& context);
Decision Decide(const Heartbeat& c, const Context& context);
Decision Decide(const FailJob& c, const Context& context);
Decision Decide(const ExpireLeases& c, const Context& context);
Decision Decide(const RestartLeases& c, const Context& context);
// decide_results.cc
Decision Decide(const CompletePrepare& c, const Context& context);
Decision Decide(const CompleteUnlearn& c, const Context& context);
Decision Decide(const CompleteVerify& c, const Context& context);
// decide.cc
Decision Decide(const PurgeRequests& c, const Context& context);
Decision Decide(const RaiseKeyEpoch& c, const Context& context);
Decision Decide(const ReplaceKeys& c, const Context& context);

absl::Status LeaseLost(const JobId& job);
absl::Status Malformed(std::string_view what);

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_COMMAND_DECIDE_INTERNAL_H_
