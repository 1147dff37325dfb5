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

#include "absl/status/statusor.h"
#include "server/core.h"

namespace lethe {

absl::StatusOr<v1::Job> BuildJob(const Core& core, const storage::JobRecord& record);

}  // namespace lethe

#endif  // LETHE_SERVER_JOB_MESSAGE_H_
