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

// The line of a corpus at fault; 0: none is.
struct LineAtFault {
  int32_t source = 0;
  int64_t line = 0;
};

// UNLEARN and VERIFY: where they fail, another rung may do.
bool HasRungs(const JobRecord& job);

// After the algorithm failed (or workers kept dying): the job takes `event`, then as a rejected
// candidate; PREPARE: the model FAILED; INGEST: the corpus; TRAIN: the teacher; RETRAIN: its tickets
// FAILED for `last_reason`, its teachers STALE still.
absl::Status FailMethod(Draft* draft, JobRecord* job, JobEvent event, std::string_view reason,
                        lethe::v1::TicketReason last_reason, const LineAtFault& place = {});

// The corpus READY when it is TRAINING and no teacher waits any more.
absl::Status FinishTraining(Draft* draft, ModelRecord* model);

// The job's tickets FAILED, the model idle.
absl::Status GiveUpTickets(Draft* draft, const JobRecord& job, lethe::v1::TicketReason reason);

// The tickets of a job that did not succeed: those of `failed` to the next rung, to half the batch,
// or FAILED for `last_reason`; the others wait again at their rung. The model idle.
absl::Status TryAgain(Draft* draft, const JobRecord& job, const std::set<std::string>& failed,
                      lethe::v1::TicketReason last_reason);

// The candidate of a VERIFY job REJECTED.
absl::Status RejectCandidate(Draft* draft, const JobRecord& job, std::string_view reason);

// How a promotion came about, and what it is called.
struct PromotionOf {
  TicketEvent event = TicketEvent::kForgotten;
  lethe::v1::TicketReason ticket_reason = lethe::v1::TICKET_REASON_FORGOTTEN;
  std::string_view reason;
  JobId retrain_job;  // fresh; used when there is something to erase
};

// The compare-and-set of a promotion: the candidate PROMOTED, the old one RETIRED, the tickets
// COMPLETED and the model idle. Of tickets that the corpus holds something of: ERASING, in a RETRAIN
// job that is the model's active one. FAILED_PRECONDITION: GENERATION_MISMATCH, TICKET_HELD.
absl::Status Promote(Draft* draft, ModelRecord* model, CheckpointRecord* candidate,
                     const JobRecord& verify_job, const PromotionOf& how);

void SetIdle(Draft* draft, ModelRecord* model);

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_COMMAND_OUTCOMES_H_
