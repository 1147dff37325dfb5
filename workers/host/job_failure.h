// Whose fault it is when the engine, the disk or a message says no: decides whether a ticket burns
// an attempt. One table, read by worker and verifier.
//
//   if (!result.ok()) return FailureOf(result.status(), job.kind());
//
// Threads    pure; any.
#ifndef LETHE_WORKERS_HOST_JOB_FAILURE_H_
#define LETHE_WORKERS_HOST_JOB_FAILURE_H_

#include "absl/status/status.h"
#include "client/lease_loop.h"

namespace lethe {

// `status` is not OK.
JobFailure FailureOf(const absl::Status& status, v1::JobKind kind);

}  // namespace lethe

#endif  // LETHE_WORKERS_HOST_JOB_FAILURE_H_
