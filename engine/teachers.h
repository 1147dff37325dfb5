// A teacher for each shard of a corpus: trained slice by slice, and again from the touched slice on
// when something was erased from it.
//
//   LETHE_ASSIGN_OR_RETURN(const Corpus corpus, Corpus::Open("/data/corpus", key));
//   LETHE_ASSIGN_OR_RETURN(std::vector<ShardTraining> trained,
//                          TrainTeachers(corpus, {.teachers_folder = "/data/teachers",
//                                                 .recipe = {.config_json = config, ...}}));
//   TeacherFolder("/data/teachers", 3);                     // a Hugging Face folder
//   LETHE_ASSIGN_OR_RETURN(ShardsThatSaw saw, WhoSaw(corpus, forget));
//   saw.sequences[3];                                       // places in `forget` that shard 3 saw
//   LETHE_ASSIGN_OR_RETURN(request.teachers, TeachersFor(corpus, "/data/teachers", forget));
//
// Again       after EraseFromCorpus or AppendToCorpus, the same call trains what has changed and
//             nothing else (train_slices.h: keys, exactness, kills).
// Shards      each is trained alone, with seed + shard; several processes may train different shards
//             of one folder at the same time.
// Saw         a shard has seen a sequence that stands in it, whoever it belongs to, equal or nearly
//             (corpus/near.h), as the corpus is now. Ask before erasing: what is erased is not
//             found any more, and teachers that were not yet trained again know it still.
// Ensemble    the teachers together may be the deployed model (ensemble.h). It names states, not
//             links: it is switched from the old ones to the new ones in one step, and never has one
//             of each.
// Threads     as TrainSlices.
// Errors      INVALID_ARGUMENT  SHARD_UNKNOWN, TOKENIZER_DIFFERS; as TrainSlices, "shard" in the
//                               metadata; those of Corpus.
#ifndef LETHE_ENGINE_TEACHERS_H_
#define LETHE_ENGINE_TEACHERS_H_

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "corpus/corpus.h"
#include "corpus/near.h"
#include "engine/ensemble.h"
#include "engine/progress.h"
#include "engine/teacher.h"
#include "engine/train_slices.h"
#include "text/sequence.h"

namespace lethe {

struct TrainTeachersRequest {
  std::filesystem::path teachers_folder;
  std::vector<uint32_t> shards;  // empty: all
  // How each is trained; states_folder, slices and digest_key are the shard's own.
  TrainSlicesRequest recipe;
};

struct ShardTraining {
  uint32_t shard = 0;
  TrainSlicesResult result;
};

// Shards in ascending order. Those before one that failed are done.
absl::StatusOr<std::vector<ShardTraining>> TrainTeachers(
    const Corpus& corpus, const TrainTeachersRequest& request,
    const ProgressCallback& progress = nullptr);

// After an erasure: removes the shards' states that saw what the corpus no longer holds, so that they
// do not live on where training again is interrupted. A shard whose last state goes has no teacher
// until it is trained again. Of states that are left TrainTeachers, by the same request, goes on. How
// many went.
absl::StatusOr<int> RemoveStaleStates(const Corpus& corpus, const TrainTeachersRequest& request);

// Where TrainTeachers leaves the shard's model.
std::filesystem::path TeacherFolder(const std::filesystem::path& teachers_folder, uint32_t shard);

// Makes or replaces ensemble.json in the teachers' folder: the states that this request has trained,
// of all shards, whatever `shards` says. Nothing is trained. FAILED_PRECONDITION/TEACHER_STALE where a
// shard's state is not of what the corpus holds now (or of other options): an ensemble that was
// there stays as it was, and still knows what was erased.
absl::StatusOr<EnsembleInfo> EnsembleOfTeachers(const Corpus& corpus,
                                                const TrainTeachersRequest& request);

struct ShardsThatSaw {
  std::vector<std::vector<size_t>>
      sequences;  // for each shard, places in what was asked, ascending
};

absl::StatusOr<ShardsThatSaw> WhoSaw(const Corpus& corpus, std::span<const Sequence> forget,
                                     const NearOptions& options = {});

// All teachers of the corpus, each with what its shard saw: for UnlearnRequest.teachers. A teacher that
// was not trained yet is NOT_FOUND/TEACHER_MISSING.
absl::StatusOr<std::vector<Teacher>> TeachersFor(const Corpus& corpus,
                                                 const std::filesystem::path& teachers_folder,
                                                 std::span<const Sequence> forget,
                                                 const NearOptions& options = {});

}  // namespace lethe

#endif  // LETHE_ENGINE_TEACHERS_H_
