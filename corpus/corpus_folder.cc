#include "corpus/corpus_folder.h"

#include <unistd.h>

#include <cerrno>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/file.h"
#include "base/status.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

// base/file.h writes the manifest beside its name first.
bool IsManifestDraft(const std::string& name) {
  return name.starts_with(absl::StrCat(".", kManifestName, ".tmp-"));
}

bool IsSliceName(const std::string& name) {
  return name.starts_with("s") && name.ends_with(".slice");
}

bool IsLeftover(const std::string& name, const std::set<std::string>& named) {
  if (IsSpillName(name) || IsManifestDraft(name)) return true;
  return IsSliceName(name) && !named.contains(name);
}

}  // namespace

std::string SliceFileName(SlicePlace place, uint64_t generation) {
  return absl::StrFormat("s%03d-r%03d-g%d.slice", place.shard, place.slice, generation);
}

bool IsCorpusFile(const std::string& name) {
  return name == kLockName || name == kManifestName || IsSpillName(name) || IsManifestDraft(name) ||
         IsSliceName(name);
}

absl::Status Sweep(const fs::path& folder, const Manifest* manifest) {
  std::set<std::string> named;
  if (manifest != nullptr) {
    for (const SliceEntry& entry : manifest->files) named.insert(entry.file);
  }
  std::error_code ec;
  bool removed = false;
  for (auto it = fs::directory_iterator(folder, ec); !ec && it != fs::directory_iterator();
       it.increment(ec)) {
    if (!IsLeftover(it->path().filename().string(), named)) continue;
    if (unlink(it->path().c_str()) != 0) return SystemError("cannot unlink", it->path(), errno);
    removed = true;
  }
  if (ec) return SystemError("cannot list", folder, ec.value());
  return removed ? SyncFolder(folder) : absl::OkStatus();
}

absl::Status CommitState(const fs::path& folder, const Manifest& next) {
  LETHE_RETURN_IF_ERROR(SyncFolder(folder));  // the names of the new files, before one names them
  LETHE_RETURN_IF_ERROR(WriteManifest(folder, next));
  return Sweep(folder, &next);
}

}  // namespace lethe
