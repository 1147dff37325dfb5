#include "engine/ensemble/slice_states.h"

#include <ATen/ops/empty.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "base/digest.h"
#include "base/file.h"
#include "engine/checkpoint/checked_json.h"
#include "engine/checkpoint/safetensors.h"
#include "engine/model/decoder_io.h"
#include "engine/model/model_folder.h"

namespace lethe {
namespace fs = std::filesystem;
namespace {

constexpr const char* kModel = "model";
constexpr const char* kOptimizer = "optimizer.safetensors";
constexpr const char* kState = "state.json";
constexpr std::string_view kHalfWritten = ".new-";
constexpr size_t kStateLimitBytes = size_t{1} << 16;

absl::Status BadState(std::string_view message) {
  return Error(absl::StatusCode::kFailedPrecondition, "BAD_STATE",
               std::string(message) + "; remove the state's folder, and it is trained again");
}

bool IsKey(const std::string& name) {
  return name.size() == 64 && name.find_first_not_of("0123456789abcdef") == std::string::npos;
}

absl::Status RemoveAll(const fs::path& folder) {
  std::error_code error;
  fs::remove_all(folder, error);
  if (error) return SystemError("cannot remove", folder, error.value());
  return absl::OkStatus();
}

absl::Status WriteMoments(const fs::path& file, const Adam::State& state) {
  std::vector<TensorInfo> infos;
  for (size_t i = 0; i < state.moments.size(); ++i) {
    const at::Tensor& tensor = state.moments[i];
    infos.push_back({.name = std::to_string(i),
                     .dtype = tensor.scalar_type() == at::kBFloat16 ? DType::kBF16 : DType::kF32,
                     .shape = tensor.sizes().vec()});
  }
  LETHE_ASSIGN_OR_RETURN(SafetensorsWriter writer, SafetensorsWriter::Create(file, infos, {}));
  for (const at::Tensor& tensor : state.moments) {
    const at::Tensor flat = tensor.cpu().contiguous();
    LETHE_RETURN_IF_ERROR(
        writer.Write({static_cast<const char*>(flat.const_data_ptr()), flat.nbytes()}));
  }
  return writer.Finish();
}

absl::StatusOr<Adam::State> ReadMoments(const fs::path& path) {
  LETHE_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(path));
  Adam::State state;
  for (size_t i = 0; i < file.tensors().size(); ++i) {
    const TensorInfo* info = file.Find(std::to_string(i));
    if (info == nullptr || (info->dtype != DType::kF32 && info->dtype != DType::kBF16)) {
      return BadState("the optimizer's file is not one of ours");
    }
    const std::string_view bytes = file.Bytes(*info);
    at::Tensor tensor =
        at::empty(info->shape, info->dtype == DType::kF32 ? at::kFloat : at::kBFloat16);
    std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
    state.moments.push_back(std::move(tensor));
  }
  return state;
}

// Steps so far, of a state whose files are as they were written.
absl::StatusOr<int64_t> CheckFiles(const fs::path& folder) {
  LETHE_ASSIGN_OR_RETURN(const std::string text, ReadFile(folder / kState, kStateLimitBytes));
  const auto parsed = ParseJsonObject(text, kState);
  if (!parsed.ok()) return BadState("state.json is damaged");
  const nlohmann::json& json = *parsed;
  if (!json.contains("model") || !json["model"].is_string() || !json.contains("optimizer") ||
      !json["optimizer"].is_string() || !json.contains("steps") ||
      !json["steps"].is_number_integer()) {
    return BadState("state.json is damaged");
  }
  LETHE_ASSIGN_OR_RETURN(const std::string model, FolderDigest(folder / kModel));
  LETHE_ASSIGN_OR_RETURN(const std::string optimizer, FileDigest(folder / kOptimizer));
  if (model != json["model"] || optimizer != json["optimizer"]) {
    return BadState("weights or optimizer are not as they were written");
  }
  return json["steps"].get<int64_t>();
}

// Into `folder`, which is there and hidden.
absl::Status WriteState(const fs::path& folder, const SliceState& state,
                        const SliceStateFiles& files) {
  NewCheckpoint checkpoint{.out = folder / kModel, .config_json = files.config_json};
  checkpoint.lineage_json = files.lineage_json;
  if (!files.tokenizer_json.empty()) checkpoint.files["tokenizer.json"] = files.tokenizer_json;
  LETHE_ASSIGN_OR_RETURN(const SavedCheckpoint saved,
                         SaveNewDecoder(state.model, std::move(checkpoint)));
  LETHE_RETURN_IF_ERROR(WriteMoments(folder / kOptimizer, state.moments));
  LETHE_ASSIGN_OR_RETURN(const std::string optimizer, FileDigest(folder / kOptimizer));
  const nlohmann::ordered_json json = {{"slice", files.slice},
                                       {"steps", state.steps},
                                       {"model", saved.digest},
                                       {"optimizer", optimizer}};
  return WriteFileAtomically(folder / kState, json.dump(2) + "\n");
}

}  // namespace

absl::StatusOr<SliceStates> SliceStates::Open(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return SystemError("cannot create", folder, error.value());
  LETHE_ASSIGN_OR_RETURN(FolderLock lock, FolderLock::Take(folder, "STATES_IN_USE"));
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().filename().string().rfind(kHalfWritten, 0) != 0) continue;
    LETHE_RETURN_IF_ERROR(RemoveAll(entry.path()));
  }
  if (error) return SystemError("cannot list", folder, error.value());
  return SliceStates(folder, std::move(lock));
}

bool SliceStates::Has(const std::string& key) const {
  std::error_code ignored;
  return fs::exists(folder_ / key, ignored);
}

fs::path SliceStates::ModelFolderOf(const std::string& key) const { return folder_ / key / kModel; }

absl::StatusOr<SliceState> SliceStates::Load(const std::string& key, const Device& device) const {
  const fs::path folder = folder_ / key;
  LETHE_ASSIGN_OR_RETURN(const int64_t steps, CheckFiles(folder));
  LETHE_ASSIGN_OR_RETURN(ModelFolder loaded, ModelFolder::Load(folder / kModel, device));
  LETHE_ASSIGN_OR_RETURN(Adam::State moments, ReadMoments(folder / kOptimizer));
  return SliceState{
      .model = std::move(loaded.model), .moments = std::move(moments), .steps = steps};
}

absl::Status SliceStates::Save(const std::string& key, const SliceState& state,
                               const SliceStateFiles& files) {
  const fs::path hidden = folder_ / (std::string(kHalfWritten) + key.substr(0, 16));
  LETHE_RETURN_IF_ERROR(RemoveAll(hidden));  // of a save that failed
  std::error_code error;
  fs::create_directory(hidden, error);
  if (error) return SystemError("cannot create", hidden, error.value());
  const absl::Status written = WriteState(hidden, state, files);
  const absl::Status published = written.ok() ? PublishFolder(hidden, folder_ / key) : written;
  if (!published.ok()) RemoveAll(hidden).IgnoreError();
  return published;
}

absl::Status SliceStates::Remove(const std::string& key) {
  // Out of sight first: what a crash leaves of it is then swept and never taken for a state.
  const fs::path hidden = folder_ / (std::string(kHalfWritten) + "gone-" + key.substr(0, 16));
  LETHE_RETURN_IF_ERROR(RemoveAll(hidden));
  std::error_code error;
  fs::rename(folder_ / key, hidden, error);
  if (error) return SystemError("cannot rename", folder_ / key, error.value());
  LETHE_RETURN_IF_ERROR(RemoveAll(hidden));
  return SyncFolder(folder_);
}

absl::Status SliceStates::Point(const std::string& key) {
  return SwitchSymlink(folder_ / kModel, fs::path(key) / kModel);
}

absl::Status SliceStates::UnlinkUnless(const std::set<std::string>& keys) {
  std::error_code error;
  const fs::path target = fs::read_symlink(folder_ / kModel, error);  // <key>/model
  if (error || keys.count(target.begin()->string()) > 0) return absl::OkStatus();
  fs::remove(folder_ / kModel, error);
  if (error) return SystemError("cannot remove", folder_ / kModel, error.value());
  return SyncFolder(folder_);
}

absl::StatusOr<int> SliceStates::KeepOnly(const std::set<std::string>& keys) {
  LETHE_RETURN_IF_ERROR(UnlinkUnless(keys));
  std::vector<std::string> others;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_, error)) {
    const std::string name = entry.path().filename().string();
    if (IsKey(name) && keys.count(name) == 0) others.push_back(name);
  }
  if (error) return SystemError("cannot list", folder_, error.value());
  for (const std::string& key : others) LETHE_RETURN_IF_ERROR(Remove(key));
  return static_cast<int>(others.size());
}

}  // namespace lethe
