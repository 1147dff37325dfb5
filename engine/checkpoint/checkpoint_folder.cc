#include "engine/checkpoint/checkpoint_folder.h"

#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "engine/checkpoint/checked_json.h"
#include "engine/checkpoint/ensemble_folder.h"

namespace lethe {
namespace fs = std::filesystem;
namespace {

constexpr size_t kConfigLimitBytes = size_t{16} << 20;
constexpr size_t kIndexLimitBytes = size_t{64} << 20;
constexpr size_t kMaxShards = 4096;
constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";

absl::Status Bad(const fs::path& path, std::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, "BAD_CHECKPOINT",
               absl::StrCat(path.string(), ": ", absl::string_view(what.data(), what.size())));
}

// A shard lies in the folder itself and has a plain name: what an index says is not a way out of
// it.
bool IsShardName(std::string_view name) {
  constexpr std::string_view kEnding = ".safetensors";
  if (name.size() <= kEnding.size() || name.size() > 255 || name[0] == '.') return false;
  if (name.substr(name.size() - kEnding.size()) != kEnding) return false;
  return std::all_of(name.begin(), name.end(),
                     [](unsigned char c) { return c > 0x20 && c < 0x7f && c != '/' && c != '\\'; });
}

bool IsCompanion(std::string_view name) {
  return std::find(std::begin(kCompanionFiles), std::end(kCompanionFiles), name) !=
         std::end(kCompanionFiles);
}

// tensor -> shard, as the index says.
absl::StatusOr<std::map<std::string, std::string>> ParseIndex(const std::string& text,
                                                              const fs::path& path) {
  LETHE_ASSIGN_OR_RETURN(const nlohmann::json json, ParseJsonObject(text, path.string()));
  const auto map = json.find("weight_map");
  if (map == json.end() || !map->is_object() || map->empty()) {
    return Bad(path, "weight_map is missing or empty");
  }
  std::map<std::string, std::string> shards;
  for (const auto& item : map->items()) {
    if (!item.value().is_string() || !IsShardName(item.value().get_ref<const std::string&>())) {
      return Bad(path, "weight_map names a file that is not a plain *.safetensors of this folder");
    }
    shards[item.key()] = item.value().get<std::string>();
  }
  return shards;
}

}  // namespace

absl::StatusOr<CheckpointFolder> CheckpointFolder::Open(const fs::path& path) {
  std::error_code ec;
  if (!fs::is_directory(path, ec)) {
    return SystemError("cannot open", path, fs::exists(path, ec) ? ENOTDIR : ENOENT);
  }
  LETHE_RETURN_IF_ERROR(RefuseEnsemble(path));
  CheckpointFolder folder;
  folder.path_ = path;
  LETHE_ASSIGN_OR_RETURN(folder.config_json_, ReadFile(path / "config.json", kConfigLimitBytes));
  LETHE_RETURN_IF_ERROR(
      ParseJsonObject(folder.config_json_, (path / "config.json").string()).status());
  LETHE_RETURN_IF_ERROR(folder.OpenWeights());
  LETHE_RETURN_IF_ERROR(folder.ListFiles());
  return folder;
}

absl::Status CheckpointFolder::OpenWeights() {
  std::error_code ec;
  // As transformers does: where both are there, the single file is the model.
  if (fs::exists(path_ / kSingle, ec)) {
    LETHE_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(path_ / kSingle));
    files_.push_back(std::move(file));
  } else if (fs::exists(path_ / kIndex, ec)) {
    sharded_ = true;
    LETHE_ASSIGN_OR_RETURN(const std::string index, ReadFile(path_ / kIndex, kIndexLimitBytes));
    LETHE_RETURN_IF_ERROR(OpenShards(index));
  } else {
    return Error(absl::StatusCode::kInvalidArgument, "MODEL_UNSUPPORTED",
                 absl::StrCat(path_.string(), " has neither ", kSingle, " nor ", kIndex,
                              "; convert the weights to safetensors first"));
  }
  for (size_t i = 0; i < files_.size(); ++i) {
    for (const TensorInfo& tensor : files_[i].tensors()) {
      by_name_[tensor.name] = {i, tensors_.size()};
      tensors_.push_back(tensor);
    }
  }
  return absl::OkStatus();
}

absl::Status CheckpointFolder::OpenShards(const std::string& index_json) {
  const fs::path index_path = path_ / kIndex;
  LETHE_ASSIGN_OR_RETURN(const auto shard_of, ParseIndex(index_json, index_path));
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : shard_of) shards.insert(shard);
  if (shards.size() > kMaxShards) return Bad(index_path, "it names too many shards");
  size_t found = 0;
  for (const std::string& shard : shards) {
    std::error_code ec;
    if (!fs::exists(path_ / shard, ec)) {
      return Bad(index_path, absl::StrCat("the shard ", shard, " is missing"));
    }
    LETHE_ASSIGN_OR_RETURN(SafetensorsFile file, SafetensorsFile::Open(path_ / shard));
    for (const TensorInfo& tensor : file.tensors()) {
      const auto said = shard_of.find(tensor.name);
      if (said == shard_of.end()) {
        return Bad(file.path(), "it holds a tensor that the index does not name");
      }
      if (said->second != shard) {
        return Bad(file.path(),
                   absl::StrCat("it holds a tensor that the index puts into ", said->second));
      }
      ++found;
    }
    files_.push_back(std::move(file));
  }
  // Every tensor that was found is named and in its shard, so equal counts mean equal sets.
  if (found != shard_of.size()) {
    return Bad(index_path, absl::StrCat("it names ", shard_of.size(), " tensors, of which ",
                                        shard_of.size() - found, " are in no shard"));
  }
  return absl::OkStatus();
}

absl::Status CheckpointFolder::ListFiles() {
  std::set<std::string> own = {"config.json", "lethe.json"};
  if (sharded_) own.insert(kIndex);
  for (const SafetensorsFile& file : files_) own.insert(file.path().filename().string());
  std::error_code ec;
  for (auto it = fs::directory_iterator(path_, ec); !ec && it != fs::directory_iterator();
       it.increment(ec)) {
    std::error_code unreadable;  // a link that leads nowhere is no file of ours
    const std::string name = it->path().filename().string();
    if (own.count(name) > 0) continue;
    const bool take = IsCompanion(name) && it->is_regular_file(unreadable);
    (take ? companions_ : left_out_).push_back(name);
  }
  if (ec) return SystemError("cannot list", path_, ec.value());
  std::sort(companions_.begin(), companions_.end());
  std::sort(left_out_.begin(), left_out_.end());
  return absl::OkStatus();
}

const TensorInfo* CheckpointFolder::Find(std::string_view name) const {
  const auto found = by_name_.find(std::string(name));
  return found == by_name_.end() ? nullptr : &tensors_[found->second.second];
}

std::string_view CheckpointFolder::Bytes(const TensorInfo& tensor) const {
  const auto found = by_name_.find(tensor.name);
  if (found == by_name_.end()) return {};
  return files_[found->second.first].Bytes(tensors_[found->second.second]);
}

uint64_t CheckpointFolder::weight_bytes() const {
  uint64_t bytes = 0;
  for (const SafetensorsFile& file : files_) bytes += file.data_bytes();
  return bytes;
}

}  // namespace lethe
