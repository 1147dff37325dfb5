#include "storage/model_folders.h"

#include <set>
#include <vector>

#include "base/file.h"
#include "base/log.h"
#include "base/model_layout.h"
#include "base/status.h"
#include "storage/folder_plan.h"

namespace lethe::storage {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> Entries(const fs::path& folder) {
  std::vector<fs::path> out;
  std::error_code ec;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec)) {
    out.push_back(it->path());
  }
  return out;
}

absl::Status RemoveUnknown(const std::vector<fs::path>& entries, const std::set<std::string>& known,
                           FolderRepair* repair) {
  for (const fs::path& entry : entries) {
    if (known.contains(entry.filename())) continue;
    LETHE_RETURN_IF_ERROR(RemoveFolder(entry));
    ++repair->folders_removed;
    LogInfo("folder removed", {{"folder", entry.filename().string()}});
  }
  return absl::OkStatus();
}

// Names that an interrupted switch of `current` left behind: ".current.tmp-…".
std::vector<fs::path> Temporaries(const fs::path& root) {
  std::vector<fs::path> out;
  for (const fs::path& entry : Entries(root)) {
    if (entry.filename().string().starts_with(".current.tmp-")) out.push_back(entry);
  }
  return out;
}

}  // namespace

absl::StatusOr<FolderRepair> ReconcileModelFolder(TicketStore* store, const fs::path& models,
                                                  const ModelId& model, const std::string& actor,
                                                  const ExplainedWork& explained) {
  FolderRepair repair;
  const fs::path root = models / model.value;
  std::error_code ec;
  if (!fs::exists(root, ec)) {
    fs::create_directories(root, ec);
    if (ec) {
      return Error(absl::StatusCode::kUnavailable, "FILE_ERROR",
                   "cannot create " + root.string() + ": " + ec.message());
    }
  }
  // Look at the folder first and at the store then: what lies there and no later record or lease
  // explains is nobody's.
  const std::vector<fs::path> checkpoints = Entries(root / "checkpoints");
  const std::vector<fs::path> data = Entries(root / "data");
  const std::vector<fs::path> incoming = Entries(root / "incoming");
  const std::vector<fs::path> corpora = Entries(root / "corpora");
  LETHE_ASSIGN_OR_RETURN(FolderPlan plan, PlanFolder(*store->Snapshot(), model));

  if (!plan.current.empty()) {
    if (!fs::is_directory(root / plan.current, ec)) {
      return Error(absl::StatusCode::kDataLoss, "CHECKPOINT_FOLDER_MISSING",
                   "the folder of the promoted checkpoint is not there; restore it, or roll back",
                   {{"model", model.value}, {"checkpoint", plan.model.current_checkpoint_id()}});
    }
    if (fs::read_symlink(root / "current", ec) != fs::path(plan.current)) {
      LETHE_RETURN_IF_ERROR(SwitchSymlink(root / "current", plan.current));
      repair.current_switched = true;
    }
  }
  for (const CheckpointId& id : plan.expendable) {
    LETHE_RETURN_IF_ERROR(
        store->Commit(MarkFolderRemoved{.actor = actor, .checkpoint = id}).status());
  }
  LETHE_RETURN_IF_ERROR(RemoveUnknown(checkpoints, plan.checkpoints, &repair));
  LETHE_RETURN_IF_ERROR(RemoveUnknown(data, plan.data, &repair));
  LETHE_RETURN_IF_ERROR(RemoveUnknown(corpora, plan.corpora, &repair));
  for (const fs::path& path : incoming) {
    const std::string name = path.filename();
    if (explained && explained(name)) plan.incoming.insert(name);
  }
  LETHE_RETURN_IF_ERROR(RemoveUnknown(incoming, plan.incoming, &repair));
  LETHE_RETURN_IF_ERROR(RemoveUnknown(Temporaries(root), {}, &repair));
  return repair;
}

absl::StatusOr<FolderRepair> ReconcileAllModelFolders(TicketStore* store, const fs::path& models,
                                                      const std::string& actor) {
  FolderRepair all;
  absl::Status first;
  std::vector<ModelId> ids;
  LETHE_RETURN_IF_ERROR(
      store->Snapshot()->ForEachModel([&](const std::string& id, const ModelRecord&) {
        ids.push_back(ModelId{id});
        return absl::OkStatus();
      }));
  for (const ModelId& id : ids) {
    absl::StatusOr<FolderRepair> one = ReconcileModelFolder(store, models, id, actor);
    if (!one.ok()) {
      LogError("model folder cannot be reconciled",
               {{"model", id.value}, {"reason", ErrorReason(one.status())}});
      first.Update(one.status());
      continue;
    }
    all.current_switched |= one->current_switched;
    all.folders_removed += one->folders_removed;
  }
  if (!first.ok()) return first;
  return all;
}

}  // namespace lethe::storage
