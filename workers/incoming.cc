#include "workers/incoming.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/ids.h"
#include "base/model_layout.h"
#include "base/status.h"

namespace lethe {

namespace fs = std::filesystem;

absl::Status FileSystemError(std::string_view what, const fs::path& path, std::error_code error) {
  const bool full = error == std::errc::no_space_on_device;
  return Error(full ? absl::StatusCode::kResourceExhausted : absl::StatusCode::kUnavailable,
               full ? "DISK_FULL" : "FILE_ERROR",
               absl::StrCat(std::string(what), " ", path.string(), ": ", error.message()));
}

absl::StatusOr<Incoming> Incoming::Make(const fs::path& models, const v1::Job& job) {
  if (!IsModelName(job.model_id()) || !IsRandomId(job.job_id(), 'j')) {
    return Error(absl::StatusCode::kInternal, "JOB_MALFORMED",
                 "the job's model or id cannot be a name of a folder");
  }
  const fs::path folder =
      models / IncomingFolder(ModelId{job.model_id()}, JobId{job.job_id()}, Fence{job.fence()});
  LETHE_RETURN_IF_ERROR(RemoveFolder(folder));
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return FileSystemError("cannot create", folder, error);
  return Incoming(folder);
}

Incoming::~Incoming() {
  if (!folder_.empty()) RemoveFolder(folder_).IgnoreError();
}

absl::Status Publish(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_directories(to.parent_path(), error);
  if (error) return FileSystemError("cannot create", to.parent_path(), error);
  return PublishFolder(from, to);
}

}  // namespace lethe
