// Where a job writes until its work is whole: a folder of its own lease (base/model_layout.h), which
// the server removes when the lease is gone and nobody published it.
//
//   LETHE_ASSIGN_OR_RETURN(Incoming incoming, Incoming::Make(models, job));
//   ... write into incoming.folder() / "checkpoint" ...
//   LETHE_RETURN_IF_ERROR(Publish(incoming.folder() / "checkpoint", output));
//
// Errors     FILE_ERROR, DISK_FULL.
#ifndef LETHE_WORKERS_INCOMING_H_
#define LETHE_WORKERS_INCOMING_H_

#include <filesystem>
#include <system_error>

#include "absl/status/statusor.h"
#include "lethe/v1/job.pb.h"

namespace lethe {

class Incoming {
 public:
  // An empty folder for this lease.
  static absl::StatusOr<Incoming> Make(const std::filesystem::path& models, const v1::Job& job);
  ~Incoming();  // removes it
  Incoming(Incoming&& other) noexcept : folder_(std::move(other.folder_)) { other.folder_.clear(); }
  Incoming& operator=(Incoming&&) = delete;

  const std::filesystem::path& folder() const { return folder_; }

 private:
  explicit Incoming(std::filesystem::path folder) : folder_(std::move(folder)) {}
  std::filesystem::path folder_;
};

// Syncs `from` and gives it the name `to`, which shows whole or not at all; makes `to`'s parent.
absl::Status Publish(const std::filesystem::path& from, const std::filesystem::path& to);

absl::Status FileSystemError(std::string_view what, const std::filesystem::path& path,
                             std::error_code error);

}  // namespace lethe

#endif  // LETHE_WORKERS_INCOMING_H_
