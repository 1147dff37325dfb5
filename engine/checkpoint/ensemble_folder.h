// A folder that is an ensemble: ensemble.json names Hugging Face folders below it whose mean
// probability is the model (model/ensemble_model.h).
//
//   if (IsEnsemble(path)) {
//     LETHE_ASSIGN_OR_RETURN(const EnsembleFolder ensemble, EnsembleFolder::Open(path));
//     LETHE_RETURN_IF_ERROR(ensemble.CheckMembers());   // reads them once
//     Load(ensemble.members()[0].path);
//   }
//   LETHE_RETURN_IF_ERROR(WriteEnsemble("/data/teachers", {"shard-0/5f.../model", "shard-1/..."}));
//
//   ensemble.json  {"kind": "ensemble", "version": 1,
//                   "members": [{"folder": FOLDER, "digest": SHA256}, ...],
//                   "tokenizer": SHA256}
//   FOLDER         relative, below this folder: names with '/' between, none of them "." or ".."
//   SHA256         64 lower-case hexadecimal digits: FolderDigest of the member (base/digest.h), and
//                  of the file tokenizer.json, which lies beside ensemble.json and in each member;
//                  absent where the members have none
//
// Other fields are refused: who reads past one that it does not know has another model. A folder with
// a config.json of its own is no ensemble.
// Whole      replaced by rename, and it names members by their content, so a reader has the old model
//            or the new one and never one member of each; a member that has gone or changed since
//            is an error, not another model.
// Threads    values; any.
// Errors     INVALID_ARGUMENT    BAD_ENSEMBLE (metadata "member": its place),
//                                ENSEMBLE_VOCABULARY_DIFFERS
//            NOT_FOUND           ENSEMBLE_MEMBER_MISSING
//            FAILED_PRECONDITION ENSEMBLE_CHANGED: a member or the tokenizer is not what it was
//            members': as CheckpointFolder and ReadDecoderConfig; FILE_ERROR, DISK_FULL
#ifndef LETHE_ENGINE_CHECKPOINT_ENSEMBLE_FOLDER_H_
#define LETHE_ENGINE_CHECKPOINT_ENSEMBLE_FOLDER_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"

namespace lethe {

inline constexpr char kEnsembleFile[] = "ensemble.json";

bool IsEnsemble(const std::filesystem::path& folder);

// INVALID_ARGUMENT/MODEL_IS_ENSEMBLE, with what to do instead, where the folder is one: for whoever
// changes a model.
absl::Status RefuseEnsemble(const std::filesystem::path& folder);

class EnsembleFolder {
 public:
  struct Member {
    std::filesystem::path path;
    std::string digest;
  };

  static absl::StatusOr<EnsembleFolder> Open(const std::filesystem::path& folder);

  const std::vector<Member>& members() const { return members_; }
  // Every member and the tokenizer are what the file says.
  absl::Status CheckMembers() const;

 private:
  std::filesystem::path folder_;
  std::vector<Member> members_;
  std::string tokenizer_;  // digest; empty: there is none
};

// The same error, said of a member.
absl::Status OfMember(const absl::Status& status, size_t member);

// Makes or replaces the folder's ensemble.json; members lie below it already. They must have one size
// of vocabulary and the same tokenizer.json, which is copied beside it.
absl::Status WriteEnsemble(const std::filesystem::path& folder,
                           const std::vector<std::string>& members);

// What a model of either kind reads.
struct ModelLimits {
  int64_t vocab_size = 0;
  int64_t context = 0;  // an ensemble's: the shortest of the members'
};
absl::StatusOr<ModelLimits> ReadModelLimits(const std::filesystem::path& folder);

}  // namespace lethe

#endif  // LETHE_ENGINE_CHECKPOINT_ENSEMBLE_FOLDER_H_
