// An ensemble as the model itself: the mean probability of several models, such as the teachers of a
// corpus's shards. Forgetting is exact then: what held a person is one member, and it is trained again
// without them.
//
//   LETHE_ASSIGN_OR_RETURN(EnsembleInfo made, EnsembleOfTeachers(corpus, request));  // teachers.h
//   Evaluate({.model_folder = request.teachers_folder, .sequences = sequences});
//   LETHE_ASSIGN_OR_RETURN(made, MakeEnsemble({.members = {"a", "b"}, .out_folder = "deployed"}));
//
// Read       wherever a model folder is: Evaluate, Generate, RunAttacks.
// Changed    by nothing: methods, training, adapters and `prepare` refuse it with MODEL_IS_ENSEMBLE.
// Threads    any, on different folders.
// Errors     as checkpoint/ensemble_folder.h says, which has the grammar of ensemble.json;
//            INVALID_ARGUMENT/OUT_FOLDER_EXISTS; as SaveLike.
#ifndef LETHE_ENGINE_ENSEMBLE_H_
#define LETHE_ENGINE_ENSEMBLE_H_

#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"

namespace lethe {

struct MakeEnsembleRequest {
  std::vector<std::filesystem::path> members;  // Hugging Face folders of one tokenizer
  std::filesystem::path out_folder;            // must not exist; its parent must
};

struct EnsembleInfo {
  std::filesystem::path folder;
  std::vector<std::string> members;  // below it
  std::string digest;                // as ModelDigest
};

// A folder with copies of the members, which can be moved as a whole. What of a member is no part of
// the model (weights in other formats, optimizer states) stays behind.
absl::StatusOr<EnsembleInfo> MakeEnsemble(const MakeEnsembleRequest& request);

// Of a model of either kind: FolderDigest, or SHA-256 of ensemble.json, which has its members'.
absl::StatusOr<std::string> ModelDigest(const std::filesystem::path& folder);

}  // namespace lethe

#endif  // LETHE_ENGINE_ENSEMBLE_H_
