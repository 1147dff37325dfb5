#include "workers/incoming_work.h"

#include <system_error>

#include "base/file.h"
#include "base/ids.h"
#include "base/model_layout.h"
#include "base/status.h"
#include "workers/host/job_input.h"

namespace lethe {

namespace fs = std::filesystem;

absl::StatusOr<IncomingWork> IncomingWork::Start(const fs::path& models, const v1::Job& job) {
  LETHE_ASSIGN_OR_RETURN(
      const fs::path folder,
      UnderModels(models, IncomingFolder(ModelId{job.model_id()}, JobId{job.job_id()},
                                         Fence{job.fence()})));
  LETHE_RETURN_IF_ERROR(RemoveFolder(folder));
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return SystemError("cannot create", folder, error.value());
  return IncomingWork(folder);
}

IncomingWork::~IncomingWork() {
  if (!folder_.empty()) RemoveFolder(folder_).IgnoreError();
}

absl::Status IncomingWork::Publish(const fs::path& output) {
  std::error_code error;
  fs::create_directories(output.parent_path(), error);
  if (error) return SystemError("cannot create", output.parent_path(), error.value());
  return PublishFolder(checkpoint(), output);
}

}  // namespace lethe
