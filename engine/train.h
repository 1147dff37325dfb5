// Trains a small model from nothing, or goes on from a folder: for demos, tests and shards.
//
//   TrainRequest request{.config_json = SmallLlamaConfig(2048, 128), .tokenizer_json = tokenizer,
//                        .out_folder = out, .sequences = corpus, .steps = 600,
//                        .learning_rate = 2e-3};
//   LETHE_ASSIGN_OR_RETURN(TrainResult result, Train(request, progress));
//
// Each sequence is one row, never packed with another. Batches are drawn epoch by epoch in an order
// made from the seed.
// Ranks      as Unlearn.
// Guarantee  as Unlearn: whole or not at all, and the same bits again.
// Threads    as Evaluate.
// Errors     INVALID_ARGUMENT: NOTHING_TO_TRAIN_ON, BAD_PARAMETER, OUT_FOLDER_EXISTS; else as
//            Unlearn; METHOD_DIVERGED when the loss leaves its band or a weight is not finite.
#ifndef LETHE_ENGINE_TRAIN_H_
#define LETHE_ENGINE_TRAIN_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/progress.h"
#include "engine/ranks.h"
#include "engine/run_record.h"
#include "text/sequence.h"

namespace lethe {

struct TrainRequest {
  std::filesystem::path base_folder;  // empty: from nothing, with config_json and tokenizer_json
  std::string config_json;            // of a supported family
  std::string tokenizer_json;
  std::filesystem::path out_folder;
  std::vector<Sequence> sequences;
  int64_t steps = 500;
  int64_t batch_tokens = 4096;  // a batch takes rows until this many tokens are there, pads apart
  int64_t micro_batch_tokens = 4096;  // at a time; halved where memory does not suffice
  // The peak: linear warm-up over warmup_steps, then linear down to a tenth.
  double learning_rate = 1e-3;
  int64_t warmup_steps = 20;
  double max_grad_norm = 1.0;
  std::string precision = "auto";  // auto, fp32, bf16, bf16_pure (precision.h)
  bool recompute = false;          // activations, in the backward pass
  uint64_t seed = 0;
  std::string digest_key;
  Device device;
  Ranks* ranks = nullptr;  // null: this process works alone
};

struct TrainResult {
  RunRecord run;
  double first_loss = 0, last_loss = 0;  // nats a token; the last is a mean over the last 20 steps
  int64_t parameters = 0;
  std::string out_digest;
};

// config.json of a Llama with tied output: 2 KV heads a 4 heads, head size 32.
std::string SmallLlamaConfig(int vocab_size, int context_length, int hidden = 128, int layers = 4);

absl::StatusOr<TrainResult> Train(const TrainRequest& request,
                                  const ProgressCallback& progress = nullptr);

}  // namespace lethe

#endif  // LETHE_ENGINE_TRAIN_H_
