// FolderPlan: which names a model's folder should hold, from the store alone. model_folders brings
// the folder there, fsck compares.
#ifndef LETHE_STORAGE_FOLDER_PLAN_H_
#define LETHE_STORAGE_FOLDER_PLAN_H_

#include <map>
#include <set>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/snapshot.h"

namespace lethe::storage {

struct FolderPlan {
  ModelRecord model;
  std::string current;                   // target of the link; empty: no link
  std::set<std::string> checkpoints;     // names below checkpoints/ that may be there
  std::set<std::string> required;        // of these, that must be there
  std::set<std::string> data;            // below data/
  std::set<std::string> corpora;         // below corpora/
  std::set<std::string> incoming;        // below incoming/
  std::vector<CheckpointId> expendable;  // not marked as removed yet, but no longer wanted
};

absl::StatusOr<FolderPlan> PlanFolder(const Snapshot& snapshot, const ModelId& model);

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_FOLDER_PLAN_H_
