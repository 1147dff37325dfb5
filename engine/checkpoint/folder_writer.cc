// SaveLike, SaveNew and VerifySaved of checkpoint_folder.h: a folder is written beside its place,
// digested, synced and then renamed, so that its name never shows half of it.
#include <errno.h>
#include <unistd.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/status.h"
#include "engine/checkpoint/checked_json.h"
#include "engine/checkpoint/checkpoint_folder.h"

namespace lethe {
namespace fs = std::filesystem;
namespace {

constexpr size_t kSmallFileLimitBytes = size_t{256} << 20;
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr const char* kLineage = "lethe.json";
constexpr const char* kDigestField = "folder_digest";
constexpr std::string_view kUnfinished = ".lethe-save-";

absl::Status Invalid(std::string_view reason, std::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message);
}

}  // namespace

// A hidden folder that becomes `out`, or goes.
class FolderWriter {
 public:
  static absl::StatusOr<FolderWriter> Start(const fs::path& out, const std::string& lineage_json);
  FolderWriter(FolderWriter&& other) noexcept
      : out_(std::move(other.out_)),
        hidden_(std::exchange(other.hidden_, fs::path())),
        lineage_(std::move(other.lineage_)) {}
  FolderWriter& operator=(FolderWriter&&) = delete;
  ~FolderWriter() {
    if (!hidden_.empty()) RemoveFolder(hidden_).IgnoreError();
  }

  absl::Status WriteSmall(const std::string& name, std::string_view content) {
    return WriteFileAtomically(hidden_ / name, content);
  }
  absl::Status CopySmall(const fs::path& from) {
    LETHE_ASSIGN_OR_RETURN(const std::string content, ReadFile(from, kSmallFileLimitBytes));
    return WriteSmall(from.filename().string(), content);
  }
  absl::Status CopyIndex(const CheckpointFolder& source) {
    return source.sharded_ ? CopySmall(source.path_ / kIndex) : absl::OkStatus();
  }

  // One file of weights, tensor by tensor.
  template <typename WriteTensor>
  absl::Status WriteWeights(SafetensorsWriter writer, std::span<const TensorInfo> tensors,
                            const WriteTensor& write_tensor) {
    for (const TensorInfo& tensor : tensors) {
      uint64_t missing = TensorBytes(tensor.dtype, tensor.shape).value_or(0);
      const BytesSink sink = [&](std::string_view bytes) -> absl::Status {
        if (bytes.size() > missing) return WrongSize(tensor, "too many");
        missing -= bytes.size();
        return writer.Write(bytes);
      };
      LETHE_RETURN_IF_ERROR(write_tensor(tensor, sink));
      if (missing != 0) return WrongSize(tensor, "too few");
    }
    return writer.Finish();
  }

  fs::path Place(const std::string& name) const { return hidden_ / name; }

  absl::StatusOr<SavedCheckpoint> Publish() {
    LETHE_ASSIGN_OR_RETURN(std::string digest, FolderDigest(hidden_));
    lineage_[kDigestField] = digest;
    LETHE_RETURN_IF_ERROR(WriteSmall(kLineage, lineage_.dump(2) + "\n"));
    LETHE_RETURN_IF_ERROR(PublishFolder(hidden_, out_));
    hidden_.clear();
    return SavedCheckpoint{out_, std::move(digest)};
  }

 private:
  FolderWriter() = default;
  static absl::Status WrongSize(const TensorInfo& tensor, std::string_view how) {
    return Error(absl::StatusCode::kInvalidArgument, "BAD_TENSOR_BYTES",
                 absl::StrCat(absl::string_view(how.data(), how.size()), " bytes were given for ",
                              tensor.name),
                 {{"tensor", tensor.name}});
  }

  fs::path out_;
  fs::path hidden_;
  nlohmann::ordered_json lineage_;
};

absl::StatusOr<FolderWriter> FolderWriter::Start(const fs::path& out,
                                                 const std::string& lineage_json) {
  static std::atomic<uint64_t> counter{0};
  LETHE_RETURN_IF_ERROR(ParseJsonObject(lineage_json, "the lineage").status());
  FolderWriter writer;
  writer.lineage_ = nlohmann::ordered_json::parse(lineage_json);
  std::error_code ec;
  writer.out_ = fs::absolute(out, ec).lexically_normal();
  if (ec) return SystemError("cannot find", out, ec.value());
  if (!writer.out_.has_filename()) writer.out_ = writer.out_.parent_path();  // "a/b/"
  if (fs::exists(fs::symlink_status(writer.out_, ec))) {
    return Invalid("OUT_FOLDER_EXISTS",
                   absl::StrCat(writer.out_.string(), " is there already; choose a new name"));
  }
  const fs::path hidden = writer.out_.parent_path() / absl::StrCat(std::string(kUnfinished),
                                                                   writer.out_.filename().string(),
                                                                   "-", getpid(), "-", counter++);
  LETHE_RETURN_IF_ERROR(RemoveFolder(hidden));  // of an earlier process with our number
  if (!fs::create_directory(hidden, ec)) {
    return SystemError("cannot create", hidden, ec ? ec.value() : EEXIST);
  }
  writer.hidden_ = hidden;
  return writer;
}

absl::StatusOr<SavedCheckpoint> SaveLike(const CheckpointFolder& source,
                                         const SaveOptions& options) {
  for (const auto& [name, provider] : options.overrides) {
    if (source.Find(name) == nullptr) {
      return Error(absl::StatusCode::kInvalidArgument, "TENSOR_UNKNOWN",
                   absl::StrCat(source.path().string(), " has no tensor ", name),
                   {{"tensor", name}});
    }
  }
  LETHE_ASSIGN_OR_RETURN(FolderWriter folder,
                         FolderWriter::Start(options.out, options.lineage_json));
  LETHE_RETURN_IF_ERROR(folder.WriteSmall("config.json", source.config_json()));
  for (const std::string& name : source.companions()) {
    LETHE_RETURN_IF_ERROR(folder.CopySmall(source.path() / name));
  }
  LETHE_RETURN_IF_ERROR(folder.CopyIndex(source));
  for (const SafetensorsFile& file : source.files()) {
    const fs::path place = folder.Place(file.path().filename().string());
    LETHE_ASSIGN_OR_RETURN(SafetensorsWriter writer, SafetensorsWriter::CreateLike(place, file));
    const auto write_tensor = [&](const TensorInfo& tensor, const BytesSink& sink) -> absl::Status {
      const auto provider = options.overrides.find(tensor.name);
      if (provider == options.overrides.end()) return sink(file.Bytes(tensor));
      return provider->second(tensor, sink);
    };
    LETHE_RETURN_IF_ERROR(folder.WriteWeights(std::move(writer), file.tensors(), write_tensor));
  }
  return folder.Publish();
}

absl::StatusOr<SavedCheckpoint> SaveNew(const NewCheckpoint& checkpoint) {
  LETHE_RETURN_IF_ERROR(ParseJsonObject(checkpoint.config_json, checkpoint.config_name).status());
  LETHE_ASSIGN_OR_RETURN(FolderWriter folder,
                         FolderWriter::Start(checkpoint.out, checkpoint.lineage_json));
  LETHE_RETURN_IF_ERROR(folder.WriteSmall(checkpoint.config_name, checkpoint.config_json));
  for (const auto& [name, content] : checkpoint.files) {
    if (name.empty() || name[0] == '.' || name.find('/') != std::string::npos) {
      return Invalid("BAD_CHECKPOINT", "a file of a new checkpoint needs a plain name");
    }
    LETHE_RETURN_IF_ERROR(folder.WriteSmall(name, content));
  }
  LETHE_ASSIGN_OR_RETURN(SafetensorsWriter writer,
                         SafetensorsWriter::Create(folder.Place(checkpoint.weights_name),
                                                   checkpoint.tensors, {{"format", "pt"}}));
  LETHE_RETURN_IF_ERROR(
      folder.WriteWeights(std::move(writer), checkpoint.tensors, checkpoint.provider));
  return folder.Publish();
}

absl::StatusOr<std::string> VerifySaved(const fs::path& folder) {
  LETHE_ASSIGN_OR_RETURN(const std::string text, ReadFile(folder / kLineage, kSmallFileLimitBytes));
  LETHE_ASSIGN_OR_RETURN(const nlohmann::json lineage,
                         ParseJsonObject(text, (folder / kLineage).string()));
  const auto claimed = lineage.find(kDigestField);
  if (claimed == lineage.end() || !claimed->is_string()) {
    return Invalid("BAD_CHECKPOINT",
                   absl::StrCat((folder / kLineage).string(), " claims no ", kDigestField));
  }
  LETHE_ASSIGN_OR_RETURN(std::string digest, FolderDigest(folder));
  if (digest != claimed->get_ref<const std::string&>()) {
    return Error(absl::StatusCode::kFailedPrecondition, "CHECKPOINT_CHANGED",
                 absl::StrCat(folder.string(), " is not what was saved: its digest differs"),
                 {{"claimed", claimed->get<std::string>()}, {"found", digest}});
  }
  return digest;
}

bool IsUnfinishedSave(std::string_view folder_name) {
  return folder_name.substr(0, kUnfinished.size()) == kUnfinished;
}

}  // namespace lethe
