// Trains the deployed model again on its corpus without what is to be forgotten, from the state before
// it was first read: the exact way to forget (SISA: Bourtoule et al., IEEE S&P 2021), and the dearest.
//
//   RetrainRequest request{.states_folder = "/models/m/base", .recipe = recipe,
//                          .without = {SequenceId{17}}, .out_folder = "/models/m/candidate"};
//   LETHE_ASSIGN_OR_RETURN(RetrainResult result, RetrainWithout(corpus, request, progress));
//   ... promoted: EraseFromCorpus(...), and then
//   LETHE_RETURN_IF_ERROR(RemoveStaleBaseStates(corpus, request).status());
//
// Slices      slice r of the training is slice r of every shard, shard after shard: as many stages as
//             the corpus has slices, and a state is kept after each (train_slices.h). The first call
//             trains all of them; later ones go on from the last state that saw nothing of `without`.
// Exact       the candidate equals, bit for bit, a model that was trained from the start on the corpus
//             without the sequences: where train_slices.h says so. Nothing of the model that is
//             deployed now goes in but its configuration, so it may come from anywhere; whether the
//             new one is as good is the verifier's to say.
// Before      the corpus still holds the sequences while this runs; what is written is keyed as it
//             will be once they are erased.
// Threads     as TrainSlices.
// Errors      as TrainSlices; those of Corpus; OUT_FOLDER_EXISTS; INVALID_ARGUMENT/TOKENIZER_DIFFERS.
#ifndef LETHE_ENGINE_RETRAIN_H_
#define LETHE_ENGINE_RETRAIN_H_

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "corpus/corpus.h"
#include "engine/progress.h"
#include "engine/run_record.h"
#include "engine/train_slices.h"

namespace lethe {

struct RetrainRequest {
  std::filesystem::path states_folder;
  TrainSlicesRequest recipe;  // states_folder, slices, digest_key and remove_others are set by this
  std::vector<SequenceId> without;   // ascending; those that are erased already do not matter
  std::filesystem::path out_folder;  // must not exist; of RemoveStaleBaseStates: not used
  // A checkpoint whose files beside the weights go along where the states have none of that name.
  std::filesystem::path companions_of;
  std::map<std::string, std::string> lineage;  // into lethe.json
};

struct RetrainResult {
  RunRecord run;
  std::string out_digest;
  int stages = 0;          // of the training
  int trained_stages = 0;  // by this call; the others were there
};

absl::StatusOr<RetrainResult> RetrainWithout(const Corpus& corpus, const RetrainRequest& request,
                                             const ProgressCallback& progress = nullptr);

// Removes the states that saw what the corpus no longer holds. How many went.
absl::StatusOr<int> RemoveStaleBaseStates(const Corpus& corpus, const RetrainRequest& request);

}  // namespace lethe

#endif  // LETHE_ENGINE_RETRAIN_H_
