// What follows for tickets, candidate and model when a job ends: shared by the commands that end
// one. Internal to command/.
#ifndef LETHE_STORAGE_COMMAND_OUTCOMES_H_
#define LETHE_STORAGE_COMMAND_OUTCOMES_H_

#include <set>
#include <string>
#include <string_view>

#include "lethe/v1/policy.pb.h"
#include "storage/command/draft.h"

namespace lethe::storage {

// The policy of a record; DATA_LOSS/RECORD_CORRUPT when it does not parse.
absl::StatusOr<lethe::v1::ModelPolicy> PolicyOf(const ModelRecord& model);
int32_t MaxTicketsPerJob(const lethe::v1::ModelPolicy& policy);

// The job CANCELLED, its candidate REJECTED, its tickets that are still in it back in the queue,
// the model idle.
absl::Status AbandonJob(Draft* draft, const JobId& id, std::string_view reason);

// After the algorithm failed (or workers kept dying): the job takes `event`, then as a rejected
// candidate, or for PREPARE the model FAILED.
absl::Status FailMethod(Draft* draft, JobRecord* job, JobEvent event, std::string_view reason,
                        lethe::v1::TicketReason last_reason);

// The tickets of a job that did not succeed: those of `failed` to the next rung, to half the batch,
// or FAILED for `last_reason`; the others wait again at their rung. The model idle.
absl::Status TryAgain(Draft* draft, const JobRecord& job, const std::set<std::string>& failed,
                      lethe::v1::TicketReason last_reason);

// The candidate of a VERIFY job REJECTED.
absl::Status RejectCandidate(Draft* draft, const JobRecord& job, std::string_view reason);

// The compare-and-set of a promotion: the candidate PROMOTED, the old one RETIRED, the tickets
// COMPLETED by `event`, the model idle. FAILED_PRECONDITION: GENERATION_MISMATCH, TICKET_HELD.
absl::Status Promote(Draft* draft, ModelRecord* model, CheckpointRecord* candidate,
                     const JobRecord& verify_job, TicketEvent event,
                     lethe::v1::TicketReason ticket_reason, std::string_view reason);

void SetIdle(Draft* draft, ModelRecord* model);

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_COMMAND_OUTCOMES_H_
