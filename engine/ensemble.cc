#include "engine/ensemble.h"

#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/file.h"
#include "engine/checkpoint/checkpoint_folder.h"
#include "engine/checkpoint/ensemble_folder.h"

namespace lethe {
namespace fs = std::filesystem;
namespace {

absl::Status CopyMember(const fs::path& from, const fs::path& to) {
  LETHE_ASSIGN_OR_RETURN(const CheckpointFolder source, CheckpointFolder::Open(from));
  LETHE_ASSIGN_OR_RETURN(const std::string digest, FolderDigest(from));
  return SaveLike(source,
                  {.out = to, .lineage_json = absl::StrCat("{\"copy_of\": \"", digest, "\"}")})
      .status();
}

// Into `folder`, which is there and hidden.
absl::Status WriteWhole(const MakeEnsembleRequest& request, const fs::path& folder,
                        std::vector<std::string>& names) {
  for (size_t i = 0; i < request.members.size(); ++i) {
    const std::string name = absl::StrCat("member-", i);
    const absl::Status copied = CopyMember(request.members[i], folder / name);
    if (!copied.ok()) return OfMember(copied, i);
    names.push_back(name);
  }
  return WriteEnsemble(folder, names);
}

}  // namespace

absl::StatusOr<EnsembleInfo> MakeEnsemble(const MakeEnsembleRequest& request) {
  std::error_code error;
  fs::path out = fs::absolute(request.out_folder, error).lexically_normal();
  if (!out.has_filename()) out = out.parent_path();  // "a/b/"
  if (fs::exists(fs::symlink_status(out, error))) {
    return Error(absl::StatusCode::kInvalidArgument, "OUT_FOLDER_EXISTS",
                 out.string() + " is there already; name a folder that is not");
  }
  const fs::path hidden = out.parent_path() / absl::StrCat(".", out.filename().string(), ".new");
  LETHE_RETURN_IF_ERROR(RemoveFolder(hidden));  // of a process that was killed
  fs::create_directory(hidden, error);
  if (error) return SystemError("cannot create", hidden, error.value());
  EnsembleInfo info{.folder = out};
  const absl::Status written = WriteWhole(request, hidden, info.members);
  const absl::Status published = written.ok() ? PublishFolder(hidden, out) : written;
  if (!published.ok()) {
    RemoveFolder(hidden).IgnoreError();
    return published;
  }
  LETHE_ASSIGN_OR_RETURN(info.digest, ModelDigest(out));
  return info;
}

absl::StatusOr<std::string> ModelDigest(const fs::path& folder) {
  return IsEnsemble(folder) ? FileDigest(folder / kEnsembleFile) : FolderDigest(folder);
}

}  // namespace lethe
