// CheckpointFolder: a Hugging Face model folder, read with care and written whole or not at all.
//
//   LETHE_ASSIGN_OR_RETURN(CheckpointFolder base, CheckpointFolder::Open("/models/m/base"));
//   for (const TensorInfo& t : base.tensors()) Load(t.name, t.dtype, t.shape, base.Bytes(t));
//
//   SaveOptions save{.out = "/models/m/checkpoints/c-7", .lineage_json = R"({"job": "j-1"})"};
//   save.overrides["lm_head.weight"] = [&](const TensorInfo& t, const BytesSink& sink) {
//     return sink(BytesOf(weight, t.dtype));
//   };
//   LETHE_ASSIGN_OR_RETURN(SavedCheckpoint saved, SaveLike(base, save));
//
// Weights    `model.safetensors`, or else the shards that `model.safetensors.index.json` names:
//            files of this folder itself, each tensor in exactly the shard that the index gives it.
// Copies     of the other files only a list of known small ones goes into a saved folder
//            (kCompanionFiles). Weights in other formats stay behind: they still remember.
// Saved      same tensor names, dtypes, shapes, order, split, metadata, config and tokenizer; a
//            tensor that is not overridden byte for byte. `lethe.json` holds the lineage and, as
//            "folder_digest", base/digest.h's FolderDigest of everything else.
// Whole      a save writes to a hidden folder beside `out` (IsUnfinishedSave tells its name), syncs
//            and renames it. A killed process leaves only the hidden folder.
// Memory     tensors are mapped, not read; a save needs what one provider hands over at a time.
// Errors     INVALID_ARGUMENT: BAD_CHECKPOINT the folder's fault, naming file and tensor;
//            MODEL_UNSUPPORTED no safetensors in it, or a dtype that is not known;
//            MODEL_IS_ENSEMBLE (ensemble_folder.h), with what to do instead;
//            OUT_FOLDER_EXISTS, TENSOR_UNKNOWN and BAD_TENSOR_BYTES (SaveLike). NOT_FOUND and the
//            file system's codes with FILE_ERROR; RESOURCE_EXHAUSTED/DISK_FULL. Whatever a provider
//            returns.
// Threads    a CheckpointFolder never changes: any.
#ifndef LETHE_ENGINE_CHECKPOINT_CHECKPOINT_FOLDER_H_
#define LETHE_ENGINE_CHECKPOINT_CHECKPOINT_FOLDER_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/checkpoint/safetensors.h"

namespace lethe {

// Files that a saved folder takes over from its source, where they are there.
inline constexpr std::string_view kCompanionFiles[] = {
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
    "sentencepiece.bpe.model",
    "chat_template.jinja",
    "chat_template.json",
    "README.md",
    "LICENSE",
    "LICENSE.md",
    "LICENSE.txt",
    "NOTICE",
    "USE_POLICY.md",
};

class CheckpointFolder {
 public:
  static absl::StatusOr<CheckpointFolder> Open(const std::filesystem::path& folder);

  const std::filesystem::path& path() const { return path_; }
  const std::string& config_json() const { return config_json_; }  // as it stands in the file

  // All tensors: file by file (shards by name), in each as their bytes lie.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const TensorInfo* Find(std::string_view name) const;  // null: not there
  // Of an info that this folder gave out. They need not be aligned.
  std::string_view Bytes(const TensorInfo& tensor) const;

  const std::vector<SafetensorsFile>& files() const { return files_; }  // one, or the shards
  uint64_t weight_bytes() const;                                        // of all tensors
  const std::vector<std::string>& companions() const { return companions_; }
  const std::vector<std::string>& left_out() const { return left_out_; }  // never copied

 private:
  CheckpointFolder() = default;
  absl::Status OpenWeights();
  absl::Status OpenShards(const std::string& index_json);
  absl::Status ListFiles();

  std::filesystem::path path_;
  std::string config_json_;
  bool sharded_ = false;
  std::vector<SafetensorsFile> files_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string, std::pair<size_t, size_t>> by_name_;  // file, place in tensors_
  std::vector<std::string> companions_;
  std::vector<std::string> left_out_;
  friend class FolderWriter;
};

// Takes a tensor's bytes, in pieces of any length, in order.
using BytesSink = std::function<absl::Status(std::string_view)>;
// Hands the new bytes of `tensor`, in its dtype and shape, to the sink. What it hands over may go
// when it returns, so one tensor at a time is in memory.
using TensorProvider = std::function<absl::Status(const TensorInfo& tensor, const BytesSink& sink)>;

struct SaveOptions {
  std::filesystem::path out;  // must not exist; its parent must
  std::map<std::string, TensorProvider> overrides;
  std::string lineage_json = "{}";  // a JSON object for lethe.json; no personal data
};

struct SavedCheckpoint {
  std::filesystem::path folder;
  std::string digest;  // FolderDigest without lethe.json
};

// Writes a folder like `source` with some tensors replaced.
absl::StatusOr<SavedCheckpoint> SaveLike(const CheckpointFolder& source,
                                         const SaveOptions& options);

struct NewCheckpoint {
  std::filesystem::path out;                 // must not exist; its parent must
  std::string config_json;                   // a JSON object
  std::map<std::string, std::string> files;  // companions by name: "tokenizer.json"
  std::vector<TensorInfo> tensors;           // name, dtype and shape, in the order of the file
  TensorProvider provider;                   // asked for each, in that order
  std::string lineage_json = "{}";
  std::string config_name = "config.json", weights_name = "model.safetensors";
};

// Writes a folder from nothing, with one file of weights.
absl::StatusOr<SavedCheckpoint> SaveNew(const NewCheckpoint& checkpoint);

// The digest that lethe.json claims, after comparing it with the folder's own.
// FAILED_PRECONDITION/CHECKPOINT_CHANGED when they differ; INVALID_ARGUMENT/BAD_CHECKPOINT when
// lethe.json is missing or claims none.
absl::StatusOr<std::string> VerifySaved(const std::filesystem::path& folder);

// True for the name of a hidden folder that an unfinished save left behind: safe to remove once its
// process is gone.
bool IsUnfinishedSave(std::string_view folder_name);

}  // namespace lethe

#endif  // LETHE_ENGINE_CHECKPOINT_CHECKPOINT_FOLDER_H_
