// DecoderConfig: what config.json of a Hugging Face folder says about a decoder, as numbers.
//
//   LETHE_ASSIGN_OR_RETURN(DecoderConfig config, ParseDecoderConfig(folder.config_json()));
//   for (const TensorRule& t : DecoderTensors(config)) ...   // every weight by name and shape
//
// Families   are rows of a table in decoder_families.cc: architecture, model_type, tensor names,
//            which fields change the computation. Now: LlamaForCausalLM.
// Dialects   `rope_parameters` and `dtype` (transformers 5) and `rope_theta`, `rope_scaling` and
//            `torch_dtype` (before). Both at once must agree.
// Refused    whatever is not understood: another architecture, activation or RoPE, quantised
//            weights, custom code. Fields that Llama does not read change nothing; those that are
//            not known even by name are listed in `unknown_fields`, for a log line.
// Errors     INVALID_ARGUMENT: BAD_CHECKPOINT a field is missing, of the wrong kind or out of
//            range; MODEL_UNSUPPORTED it is well-formed, and this engine cannot compute it. Both
//            name the field, in the message and in metadata "field".
// Threads    values; any.
#ifndef LETHE_ENGINE_CHECKPOINT_DECODER_CONFIG_H_
#define LETHE_ENGINE_CHECKPOINT_DECODER_CONFIG_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/checkpoint/safetensors.h"

namespace lethe {

class CheckpointFolder;

enum class DecoderFamily { kLlama };

enum class RopeType { kDefault, kLinear, kLlama3 };

struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double factor = 1.0;            // kLinear, kLlama3
  double low_freq_factor = 1.0;   // kLlama3, as the next two
  double high_freq_factor = 4.0;  // above low_freq_factor
  int64_t original_context = 0;   // tokens
};

struct DecoderConfig {
  DecoderFamily family = DecoderFamily::kLlama;
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;  // divides num_heads
  int64_t head_dim = 0;      // even; need not be hidden_size / num_heads
  int64_t intermediate_size = 0;
  int64_t context = 0;  // tokens (max_position_embeddings)
  double rms_norm_eps = 1e-6;
  RopeConfig rope;
  bool tied_embeddings = false;
  bool qkv_bias = false;
  bool out_bias = false;  // of the attention's output
  bool mlp_bias = false;
  double initializer_range = 0.02;  // standard deviation of fresh weights
  std::optional<int32_t> bos_token_id;
  std::vector<int32_t> eos_token_ids;  // a config may name several, or none
  std::optional<int32_t> pad_token_id;
  // What config.json says of the weights; the tensors themselves decide.
  std::optional<DType> dtype;
  std::vector<std::string> unknown_fields;
};

absl::StatusOr<DecoderConfig> ParseDecoderConfig(std::string_view config_json);

// A weight that a decoder needs.
struct TensorRule {
  std::string name;  // as in the checkpoint: "model.layers.0.self_attn.q_proj.weight"
  std::vector<int64_t> shape;
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

#endif  // LETHE_ENGINE_CHECKPOINT_DECODER_CONFIG_H_
