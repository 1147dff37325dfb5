// fsck: what lies in the models folder against what the store says.
#include <set>

#include "base/digest.h"
#include "base/model_layout.h"
#include "base/status.h"
#include "storage/folder_plan.h"
#include "storage/fsck_internal.h"
#include "storage/state/corpus_state.h"

namespace lethe::storage {
namespace {

namespace fs = std::filesystem;

void Unexplained(const fs::path& folder, const std::set<std::string>& known,
                 const std::string& model, Findings* out) {
  std::error_code ec;
  for (fs::directory_iterator it(folder, ec), end; !ec && it != end; it.increment(ec)) {
    const std::string name = it->path().filename();
    if (!known.contains(name)) {
      out->Repairable("ORPHAN_FOLDER", model + "/" + folder.filename().string() + "/" + name +
                                           " is explained by nothing");
    }
  }
}

absl::Status CheckModelFolder(const Snapshot& snapshot, const ModelId& model,
                              const fs::path& models, bool digests, Findings* out) {
  LETHE_ASSIGN_OR_RETURN(FolderPlan plan, PlanFolder(snapshot, model));
  const fs::path root = models / model.value;
  std::error_code ec;
  for (const std::string& id : plan.required) {
    if (!fs::is_directory(root / "checkpoints" / id, ec)) {
      out->Folder("CHECKPOINT_FOLDER_MISSING", model.value + "/checkpoints/" + id + " is not there",
                  "restore the folder from a backup, or roll the model back to another checkpoint");
    }
  }
  for (const CheckpointId& id : plan.expendable) {
    out->Repairable("CHECKPOINT_FOLDER_LEFT",
                    model.value + "/checkpoints/" + id.value + " is not needed any more");
    plan.checkpoints.insert(id.value);  // said once is enough
  }
  Unexplained(root / "checkpoints", plan.checkpoints, model.value, out);
  Unexplained(root / "data", plan.data, model.value, out);
  Unexplained(root / "incoming", plan.incoming, model.value, out);
  Unexplained(root / "corpora", plan.corpora, model.value, out);
  const auto corpus = static_cast<CorpusState>(plan.model.corpus().state());
  if ((corpus == CorpusState::kTraining || corpus == CorpusState::kReady) &&
      !fs::is_directory(models / CorpusFolder(model, JobId{plan.model.corpus().job_id()}), ec)) {
    out->Folder(
        "CORPUS_FOLDER_MISSING", model.value + "/corpora holds no corpus",
        "restore the folder as it was after the model's last COMPLETED ticket: an older copy "
        "brings back whom it has forgotten since");
  }
  for (fs::directory_iterator it(root, ec), end; !ec && it != end; it.increment(ec)) {
    if (it->path().filename().string().starts_with(".")) {
      out->Repairable("ORPHAN_FOLDER", model.value + "/" + it->path().filename().string() +
                                           " was left by an interrupted switch");
    }
  }
  ec.clear();
  const fs::path link = fs::read_symlink(root / "current", ec);
  if (plan.current.empty()) {
    if (!ec)
      out->Folder("CURRENT_UNEXPECTED",
                  model.value + "/current shows a model that was never promoted",
                  "remove the link");
    return absl::OkStatus();
  }
  if (ec || link != fs::path(plan.current)) {
    out->Repairable("CURRENT_STALE",
                    model.value + "/current does not show the promoted checkpoint");
  }
  if (!fs::is_directory(models / plan.model.data_folder(), ec)) {
    out->Folder("DATA_FOLDER_MISSING", plan.model.data_folder() + " is not there",
                "restore the folder from a backup, or register the model again");
  }
  if (digests) {
    LETHE_ASSIGN_OR_RETURN(
        CheckpointRecord c,
        snapshot.GetCheckpoint(CheckpointId{plan.model.current_checkpoint_id()}));
    const absl::StatusOr<std::string> digest = FolderDigest(root / plan.current);
    if (!digest.ok() || *digest != c.digest()) {
      out->Folder("DIGEST_DIFFERS", model.value + "/" + plan.current + " is not what was promoted",
                  "restore the folder from a backup, or roll the model back to another checkpoint");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckFolders(const Snapshot& snapshot, const Everything& all, const fs::path& models,
                          bool digests, Findings* out) {
  for (const auto& [id, model] : all.models) {
    LETHE_RETURN_IF_ERROR(CheckModelFolder(snapshot, ModelId{id}, models, digests, out));
  }
  std::error_code ec;
  for (fs::directory_iterator it(models, ec), end; !ec && it != end; it.increment(ec)) {
    const std::string name = it->path().filename();
    if (!all.models.contains(name) && fs::is_directory(it->path() / "checkpoints", ec)) {
      out->Folder(
          "UNKNOWN_MODEL_FOLDER", name + " holds checkpoints of a model that the store lacks",
          "move it away if it is yours; it may hold what others were promised to be forgotten");
    }
  }
  return absl::OkStatus();
}

}  // namespace lethe::storage
