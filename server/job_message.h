// A leased job as the worker gets it, payloads unsealed.
//
//   LETHE_ASSIGN_OR_RETURN(v1::Job job, BuildJob(core, record));   // blocks: reads and decrypts
//
// Secret     the message holds what is to be forgotten: it is sent
//            and dropped, never logged, never stored.
// Errors     of the store and the vault; then the lease is given back.
#ifndef LETHE_SERVER_JOB_MESSAGE_H_
#define LETHE_SERVER_JOB_MESSAGE_H_

#include <lethe/v1/job.pb.h>

#include <string>

#include "absl/status/statusor.h"
#include "server/core.h"

namespace lethe {

absl::StatusOr<v1::Job> BuildJob(const Core& core, const storage::JobRecord& record);

// What is attacked and what it is compared with.
void SetCheckpoints(const storage::CheckpointRecord& candidate,
                    const storage::CheckpointRecord& base, v1::VerifyWork* work);

// Key of a job's data_digest: the same at each attempt, known to nobody who has only the reports.
std::string JobDigestKey(const Core& core, const std::string& job_id);

// The checkpoint that registration made: the oldest. The tokenised sets carry its id.
// FAILED_PRECONDITION/MODEL_NOT_READY when there is none.
absl::StatusOr<CheckpointId> RegisteredCheckpoint(const storage::Snapshot& snapshot,
                                                  const ModelId& model);

}  // namespace lethe

#endif  // LETHE_SERVER_JOB_MESSAGE_H_
