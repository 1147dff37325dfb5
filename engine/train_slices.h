// Trains a model slice by slice and keeps the state after each, so that a deletion costs the slices
// from the deleted sequence's on, and no others (SISA: Bourtoule et al., IEEE S&P 2021).
//
//   TrainSlicesRequest request{.states_folder = "/models/m/shard-3", .config_json = config,
//                              .tokenizer_json = tokenizer, .slices = slices, .epochs = 8};
//   LETHE_ASSIGN_OR_RETURN(TrainSlicesResult result, TrainSlices(request, progress));
//   result.states.back().model_folder;          // the model that has seen all slices, ...
//   request.states_folder / "model";            // ... and a link to it, switched when it is whole
//
//   request.slices[2] = without_them;           // a deletion: slice 2 has other content now
//   request.remove_others = true;               // states that saw the deleted go
//   TrainSlices(request);                       // goes on from the state after slice 1
//
// Stages      stage r trains on slices 0 to r together, from the weights and Adam's moments of stage
//             r - 1, for 2 epochs/(R + 1) epochs: R stages cost what `epochs` epochs over all would.
//             Each has its own order of sequences, made of seed and stage, and its own warm-up. A
//             stage of which no sequence is left trains nothing.
// Keys        a state's key is an HMAC under `digest_key` over all that it depends on: configuration,
//             tokenizer, every parameter, seed, and the digests of slices 0 to r in their order. A
//             state whose key is there is not trained again; one whose content has changed has
//             another key, and so have all behind it.
// Exact       the states after a deletion equal, bit for bit, those of a training that never saw the
//             sequence: on one kind of CPU with the same number of threads, and as long as memory
//             does not force a smaller micro-batch (`micro_batch_tokens` of the result says so).
// Killed      at any time, the same request goes on behind the last state that was kept, to the same
//             bits. A state that was changed on disk since is removed and made again.
// Threads     as Evaluate; one process at a time in a states folder.
// Errors      INVALID_ARGUMENT  NO_SLICES, BAD_PARAMETER, DIGEST_MISSING, CheckSequence's reasons
//                               (metadata "slice", "index"); config's as ParseDecoderConfig
//             ABORTED           STATES_IN_USE
//             METHOD_DIVERGED, STOPPED, OUT_OF_MEMORY, DISK_FULL as Train; states that were done
//             stay, and the next call goes on from them.
// Privacy     files hold no text; keys say nothing to who has not `digest_key`.
#ifndef LETHE_ENGINE_TRAIN_SLICES_H_
#define LETHE_ENGINE_TRAIN_SLICES_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/progress.h"
#include "engine/run_record.h"
#include "text/sequence_list.h"

namespace lethe {

struct TrainingSlice {
  // SHA-256 of the sequences in their order, as the corpus has it: equal digests, equal content.
  std::string digest;
  SequenceList sequences;  // may be empty
};

struct TrainSlicesRequest {
  std::filesystem::path states_folder;  // made where it is not there
  std::string config_json;              // of a supported family
  std::string tokenizer_json;           // may be empty
  std::vector<TrainingSlice> slices;    // in the order of their arrival
  double epochs = 8;                    // over all slices, in all
  int64_t batch_tokens = 4096;
  int64_t micro_batch_tokens = 4096;
  double learning_rate = 1e-3;  // the peak of each stage: warm-up, then down to a tenth
  int64_t warmup_steps = 20;
  double max_grad_norm = 1.0;
  std::string precision = "auto";  // precision.h
  bool recompute = false;
  uint64_t seed = 0;
  std::string digest_key;
  bool remove_others = false;  // in the end, every state that this training did not go through
  Device device;
};

struct SliceStateInfo {
  std::string key;
  std::filesystem::path
      model_folder;      // a Hugging Face folder; of a state that was passed over: empty
  bool trained = false;  // by this call; else it was there
  double last_loss = 0;  // nats a token, of a stage that was trained
};

struct TrainSlicesResult {
  RunRecord run;                       // steps: those of this call
  std::vector<SliceStateInfo> states;  // after slice 0, 1, ...
  int64_t micro_batch_tokens = 0;      // the least that was used; 0: nothing was trained
  int damaged = 0;                     // states that were not as they were written, made again
  int removed = 0;                     // others
};

absl::StatusOr<TrainSlicesResult> TrainSlices(const TrainSlicesRequest& request,
                                              const ProgressCallback& progress = nullptr);

// The keys that the states of this request have or would have, without training.
absl::StatusOr<std::vector<std::string>> SliceStateKeys(const TrainSlicesRequest& request);

}  // namespace lethe

#endif  // LETHE_ENGINE_TRAIN_SLICES_H_
