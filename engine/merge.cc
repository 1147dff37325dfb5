#include "engine/lora.h"
#include "engine/model/model_folder.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

absl::StatusOr<std::string> LoadAndMerge(const MergeRequest& request) {
  std::error_code error;
  if (std::filesystem::exists(std::filesystem::symlink_status(request.out_folder, error))) {
    return Error(absl::StatusCode::kInvalidArgument, "OUT_FOLDER_EXISTS",
                 "the folder for the merged model is already there");
  }
  LETHE_ASSIGN_OR_RETURN(ModelFolder loaded, ModelFolder::Load(request.base_folder, request.device,
                                                               request.adapter_folder));
  loaded.model.Merge();
  RunRecord run = NewRunRecord(request.device);
  run.method = "merge_adapter";
  LETHE_ASSIGN_OR_RETURN(const SavedCheckpoint saved,
                         loaded.SaveAs(request.out_folder, RunRecordJson(run, {})));
  return saved.digest;
}

}  // namespace

absl::StatusOr<std::string> MergeAdapter(const MergeRequest& request) {
  if (request.adapter_folder.empty()) {
    return Error(absl::StatusCode::kInvalidArgument, "BAD_ADAPTER", "no adapter was named");
  }
  return CatchTorch("merging an adapter", [&] { return LoadAndMerge(request); });
}

}  // namespace lethe
