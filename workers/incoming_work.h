// The folder in which a lease works until its checkpoint is whole: IncomingFolder of
// base/model_layout.h. Nobody else writes there, and the server leaves it alone for as long as the
// lease lives; beside the published checkpoints it sweeps away what it does not know.
//
//   LETHE_ASSIGN_OR_RETURN(IncomingWork incoming, IncomingWork::Start(models, job));
//   ... make incoming.checkpoint() ...
//   LETHE_RETURN_IF_ERROR(incoming.Publish(output));
//
// Lifetime   the destructor removes what was not published; after a crash the server does, once
//            the lease is over.
// Errors     INVALID_ARGUMENT/PATH_OUTSIDE, FILE_ERROR, DISK_FULL.
#ifndef LETHE_WORKERS_INCOMING_WORK_H_
#define LETHE_WORKERS_INCOMING_WORK_H_

#include <filesystem>
#include <utility>

#include "absl/status/statusor.h"
#include "lethe/v1/job.pb.h"

namespace lethe {

class IncomingWork {
 public:
  // An empty folder of the lease (job, fence).
  static absl::StatusOr<IncomingWork> Start(const std::filesystem::path& models,
                                            const v1::Job& job);
  IncomingWork(IncomingWork&& other) noexcept
      : folder_(std::exchange(other.folder_, std::filesystem::path())) {}
  IncomingWork& operator=(IncomingWork&&) = delete;
  ~IncomingWork();

  // Not yet there; its parent is.
  std::filesystem::path checkpoint() const { return folder_ / "checkpoint"; }

  // Syncs the checkpoint and gives it its name, whole. `output` must not exist.
  absl::Status Publish(const std::filesystem::path& output);

 private:
  explicit IncomingWork(std::filesystem::path folder) : folder_(std::move(folder)) {}
  std::filesystem::path folder_;
};

}  // namespace lethe

#endif  // LETHE_WORKERS_INCOMING_WORK_H_
