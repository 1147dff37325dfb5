// VERIFY and AUDIT: attacks a checkpoint and its base with the engine and hands in raw figures. The
// verdict is the server's, computed by evidence/.
//
//   VerifyRunner runner(model_folder, device, {.max_control = 256}, &metrics);
//   LeaseLoop loop(channel, options, &runner, &metrics);
//
// Control    of the registered holdout set, the sequences that are most like the forgotten text
//            (engine/control.h), at most `max_control`; the same every time.
// Resumed    each attack on each model is kept below incoming/ when it is done (KeptWorkFolder of
//            base/model_layout.h), so that after a crash the next verifier goes on where this one
//            was. The server removes the folder when the job is over.
// Bytes      measurements are serialised once, deterministically; their SHA-256 names the report.
// Privacy    the text to forget stays in memory; measurements hold figures and lengths only.
// Errors     what engine/attack.h says; FILE_ERROR for sets that are not where the job says.
#ifndef LETHE_VERIFIER_VERIFY_JOB_H_
#define LETHE_VERIFIER_VERIFY_JOB_H_

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "client/lease_loop.h"
#include "engine/attack.h"
#include "engine/device.h"
#include "workers/host/metrics.h"

namespace lethe {

struct VerifyLimits {
  size_t max_control = kMaxControl;  // control sequences that are attacked
  size_t max_utility = kMaxUtility;  // sequences of each other set whose likelihood is measured
};

class VerifyRunner : public JobRunner {
 public:
  VerifyRunner(std::filesystem::path models, Device device, VerifyLimits limits,
               HostMetrics* metrics)
      : models_(std::move(models)),
        device_(std::move(device)),
        limits_(limits),
        metrics_(metrics) {}

  JobOutcome Run(const v1::Job& job, JobControl* control) override;

 private:
  absl::StatusOr<v1::VerifyResult> Verify(const v1::Job& job, const ProgressCallback& progress);
  // The audit of a job, and how many sequences the holdout set has.
  struct Order {
    AttackRequest request;
    size_t holdout = 0;
  };
  absl::StatusOr<Order> OrderOf(const v1::Job& job) const;

  const std::filesystem::path models_;
  const Device device_;
  const VerifyLimits limits_;
  HostMetrics* const metrics_;
};

// What the engine found, as the message that is judged.
v1::Measurements MeasurementsOf(const v1::Job& job, const AttackRequest& request,
                                const AttackReport& report);

// The same bytes for the same message, whatever the order in which its maps were filled.
std::string DeterministicBytes(const google::protobuf::Message& message);

}  // namespace lethe

#endif  // LETHE_VERIFIER_VERIFY_JOB_H_
