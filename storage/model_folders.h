// Brings a model's folder in line with the store: effects of decisions that are already durable.
//
//   LETHE_ASSIGN_OR_RETURN(
//       FolderRepair done, ReconcileModelFolder(store, "/data/models", ModelId{"m"}, "server"));
//
// Does       `current` shows the promoted checkpoint; folders of REJECTED checkpoints go,
//            of RETIRED ones beyond the policy's retired_checkpoints_kept too (newest
//            generations stay); so do checkpoints, data and incoming work that no record
//            and no live lease explains. A checkpoint that is removed is marked in the
//            store first (MarkFolderRemoved).
// Audits     are in no store: `explained` says of a name below incoming/ that one of them needs it.
// When       at start-up for every model, and after each promotion, roll-back, rejection or lost
//            lease. Doing it twice changes nothing.
// Blocks     it reads and writes files and waits for commits: never on the
//            committer's thread. One call a model at a time.
// Errors     FILE_ERROR, DISK_FULL; DATA_LOSS/CHECKPOINT_FOLDER_MISSING when the promoted folder is
//            not there (`current` is then left alone).
#ifndef LETHE_STORAGE_MODEL_FOLDERS_H_
#define LETHE_STORAGE_MODEL_FOLDERS_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "storage/ticket_store.h"

namespace lethe::storage {

struct FolderRepair {
  bool current_switched = false;
  int32_t folders_removed = 0;
};

using ExplainedWork = std::function<bool(const std::string& name)>;

absl::StatusOr<FolderRepair> ReconcileModelFolder(TicketStore* store,
                                                  const std::filesystem::path& models,
                                                  const ModelId& model, const std::string& actor,
                                                  const ExplainedWork& explained = nullptr);

// Every model of the store; the first error is returned after all have been tried.
absl::StatusOr<FolderRepair> ReconcileAllModelFolders(TicketStore* store,
                                                      const std::filesystem::path& models,
                                                      const std::string& actor);

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_MODEL_FOLDERS_H_
