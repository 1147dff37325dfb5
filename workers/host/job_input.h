// Between messages and the engine's structs: what worker and verifier both need.
//
//   LETHE_ASSIGN_OR_RETURN(fs::path base, UnderModels(models, work.base_folder()));
//   std::vector<Sequence> forget = SequencesOf(work.tickets());
//   *result.mutable_run() = ToProto(unlearned.run);
//
// Threads    free functions; any. A ProgressBridge belongs to the thread that runs the engine.
#ifndef LETHE_WORKERS_HOST_JOB_INPUT_H_
#define LETHE_WORKERS_HOST_JOB_INPUT_H_

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/lease_loop.h"
#include "engine/prepare.h"
#include "engine/progress.h"
#include "engine/run_record.h"
#include "lethe/v1/job.pb.h"
#include "text/sequence.h"
#include "workers/host/metrics.h"

namespace lethe {

// models / relative. INVALID_ARGUMENT/PATH_OUTSIDE when that would leave `models`.
absl::StatusOr<std::filesystem::path> UnderModels(const std::filesystem::path& models,
                                                  const std::string& relative);

// All sequences of all tickets, in their order.
std::vector<Sequence> SequencesOf(
    const google::protobuf::RepeatedPtrField<v1::TicketPayload>& tickets);
int64_t TokenCount(const std::vector<Sequence>& sequences);

// At most `count` of them, evenly spread and in order: the same every time.
std::vector<Sequence> Thinned(std::vector<Sequence> sequences, size_t count);

// The job's key of data digests; a random one when the server sends none.
std::string DigestKey(const v1::Job& job);

ModelThresholds FromProto(const v1::Thresholds& thresholds);
v1::Thresholds ToProto(const ModelThresholds& thresholds);
v1::ModelFacts ToProto(const ModelFacts& facts);
v1::ModelCosts ToProto(const ModelCosts& costs, const RunRecord& run);
v1::TextSize ToProto(const TextSize& size);
v1::RunRecord ToProto(const RunRecord& run);
v1::Progress ToProto(const EngineProgress& progress);

// Carries the engine's progress to the heartbeat and the lease's end to the engine.
class ProgressBridge {
 public:
  ProgressBridge(JobControl* control, HostMetrics* metrics)
      : control_(control), metrics_(metrics) {}
  ProgressCallback callback() {
    return [this](const EngineProgress& progress) { return OnProgress(progress); };
  }

 private:
  bool OnProgress(const EngineProgress& progress);

  JobControl* const control_;
  HostMetrics* const metrics_;
  std::string phase_;
  int64_t step_ = 0;
  std::optional<absl::Time> since_;
};

}  // namespace lethe

#endif  // LETHE_WORKERS_HOST_JOB_INPUT_H_
