// The tensors of a decoder: what each is called in the checkpoint, how it lies there, and which
// weight it is.
//
//   for (const TensorRule& t : DecoderTensors(config)) ...   // every weight by name and shape
//   LETHE_ASSIGN_OR_RETURN(std::vector<StoredExtra> extras, CheckTensors(config, folder));
//
// The names stand in one table, decoder_families.cc; Decoder makes its weights from these rules.
// Errors     INVALID_ARGUMENT with metadata "tensor": see CheckTensors.
// Threads    free functions; any.
#ifndef LETHE_ENGINE_CHECKPOINT_DECODER_TENSORS_H_
#define LETHE_ENGINE_CHECKPOINT_DECODER_TENSORS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/checkpoint/decoder_config.h"

namespace lethe {

// What a tensor is in the decoder. Several tensors of one slot (q, k and v; gate and up) are one
// weight, one below the other in the table's order.
enum class Slot {
  kTokens,
  kPositions,
  kProjectIn,  // embedding_size -> hidden_size
  kAttnNorm,
  kAttnNormBias,
  kQkv,  // (H+2K)h rows: all queries, all keys, all values
  kQkvBias,
  kQueryNorm,  // (h)
  kKeyNorm,
  kAttnOut,
  kAttnOutBias,
  kMlpNorm,
  kMlpNormBias,
  kUp,  // with a gate: its rows first
  kUpBias,
  kDown,
  kDownBias,
  kFinalNorm,
  kFinalNormBias,
  kProjectOut,  // hidden_size -> embedding_size
  kOutput,
};
inline constexpr int kSlots = static_cast<int>(Slot::kOutput) + 1;

// How a tensor lies in the file, where the decoder wants (outputs, inputs).
enum class Stored {
  kAsIs,
  kTransposed,  // (inputs, outputs): Conv1D of GPT-2
  kHeadwise,    // q, k and v of head 0, then those of head 1, …: GPT-NeoX
};

// A weight that a decoder needs.
struct TensorRule {
  std::string name;            // as in the checkpoint: "model.layers.0.self_attn.q_proj.weight"
  std::vector<int64_t> shape;  // as in the checkpoint
  Slot slot;
  int64_t layer;  // -1: before or after the layers
  Stored stored;
};

// Every weight of the model, in the order of the layers; tied ones once.
std::vector<TensorRule> DecoderTensors(const DecoderConfig& config);

// A tensor that some writers store although it is computed or tied: "lm_head.weight" where the
// output is tied, or "…rotary_emb.inv_freq". `copy_of` is the weight whose bytes it repeats; empty:
// nobody reads it. Who overrides the weight must override its copies too.
struct StoredExtra {
  std::string name;
  std::string copy_of;
};

// Checks the folder's tensors against the config: every weight is there with its shape and a
// floating type, and whatever else is stored is one of the known extras, which are returned.
// INVALID_ARGUMENT: BAD_CHECKPOINT a weight is missing or has another shape; MODEL_UNSUPPORTED a
// tensor that this family does not have, or a weight of another dtype.
absl::StatusOr<std::vector<StoredExtra>> CheckTensors(const DecoderConfig& config,
                                                      const CheckpointFolder& folder);

}  // namespace lethe

#endif  // LETHE_ENGINE_CHECKPOINT_DECODER_TENSORS_H_
