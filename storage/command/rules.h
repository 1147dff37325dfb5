// Rules: the figures that decisions depend on beside the records. Values; passed in, never read
// from a global.
#ifndef LETHE_STORAGE_COMMAND_RULES_H_
#define LETHE_STORAGE_COMMAND_RULES_H_

#include <cstdint>
#include <functional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lethe/v1/policy.pb.h"
#include "lethe/v1/report.pb.h"

namespace lethe::storage {

struct Rules {
  // The verdict: evidence/verdict.h's ComputeVerdict. Pure. A refusal is the answer to the
  // CompleteVerify and changes nothing.
  std::function<absl::StatusOr<lethe::v1::Verdict>(const lethe::v1::Measurements&,
                                                   const lethe::v1::VerdictPolicy&)>
      judge;
  int32_t max_losses = 5;    // so many lost leases of one job count as a failure of the method
  int32_t max_retries = 10;  // after so many failures of infrastructure a job FAILED
  absl::Duration backoff_first =
      absl::Seconds(5);  // doubles with each failure in a row, less up to half of it (jitter)
  absl::Duration backoff_most = absl::Minutes(5);
  absl::Duration request_keep = absl::Hours(24 * 180);  // idempotency keys
};

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_COMMAND_RULES_H_
