// DecoderConfig: what config.json of a Hugging Face folder says about a decoder, as numbers.
//
//   LETHE_ASSIGN_OR_RETURN(DecoderConfig config, ReadDecoderConfig(folder));
//   LETHE_RETURN_IF_ERROR(CheckTensors(config, folder).status());
//
// Families   are rows of a table in decoder_families.cc: architecture, model_type, names of fields
//            and tensors, and which parts the decoder is made of. docs/engine.md tells how one is
//            added.
// Dialects   `rope_parameters` and `dtype` (transformers 5) and `rope_theta`, `rope_scaling` and
//            `torch_dtype` (before). Both at once must agree.
// Refused    whatever is not understood: another architecture, activation or RoPE, quantised
//            weights, custom code. Fields that a family does not read change nothing; those that
//            are not known even by name are listed in `unknown_fields`, for a log line.
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

enum class DecoderFamily { kLlama, kMistral, kQwen2, kQwen3, kGpt2, kGptNeo, kGptNeoX, kOpt };

enum class Norm { kRms, kLayer };

// What stands between the two matrices of an MLP. kSwiGlu has a gate; the others have none.
enum class Activation { kSwiGlu, kGeluTanh, kGelu, kRelu };

enum class Positions { kRotary, kLearned };

enum class RopeType { kDefault, kLinear, kLlama3, kYarn };

struct RopeConfig {
  RopeType type = RopeType::kDefault;
  double theta = 10000.0;
  double fraction = 1.0;          // of each head that turns: its first values; the rest stays
  double factor = 1.0;            // kLinear, kLlama3, kYarn
  double low_freq_factor = 1.0;   // kLlama3
  double high_freq_factor = 4.0;  // kLlama3; above low_freq_factor
  double beta_fast = 32.0;        // kYarn: turns over the original context that stay as they are
  double beta_slow = 1.0;         // kYarn: turns that are slowed by the whole factor
  bool truncate = true;           // kYarn: between whole pairs
  double attention_factor = 1.0;  // kYarn: multiplies cosine and sine
  int64_t original_context = 0;   // tokens; kLlama3, kYarn

  bool operator==(const RopeConfig&) const = default;
};

// The defaults are Llama's.
struct DecoderConfig {
  DecoderFamily family = DecoderFamily::kLlama;
  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t embedding_size = 0;  // of the embedding and the output; 0: hidden_size
  int64_t num_layers = 0;
  int64_t num_heads = 0;
  int64_t num_kv_heads = 0;  // divides num_heads
  int64_t head_dim = 0;      // need not be hidden_size / num_heads
  int64_t intermediate_size = 0;
  int64_t context = 0;  // tokens (max_position_embeddings)

  Norm norm = Norm::kRms;
  double norm_eps = 1e-6;
  bool norm_weights = true;  // false: the norms have no weights of their own
  bool norm_after = false;   // after each part and what it is added to, instead of before the part
  bool final_norm = true;    // after the last layer
  bool head_norms = false;   // an RMS norm over each head of the queries and of the keys
  bool parallel_parts = false;  // attention and MLP read the same x, and both are added to it

  Activation activation = Activation::kSwiGlu;

  Positions positions = Positions::kRotary;
  RopeConfig rope;              // kRotary
  int64_t position_offset = 0;  // kLearned: position t is row t + this of its table

  bool scale_scores = true;            // by 1 / sqrt(head_dim)
  bool scale_scores_by_layer = false;  // by 1 / (layer + 1), too
  std::vector<int64_t> windows;  // by layer: tokens that a token sees, itself among them; 0: all.
                                 // Empty: all of them everywhere

  bool tied_embeddings = false;
  bool qkv_bias = false;
  bool out_bias = false;  // of the attention's output
  bool mlp_bias = false;

  double initializer_range = 0.02;  // standard deviation of fresh weights
  std::optional<int32_t> bos_token_id;
  std::vector<int32_t> eos_token_ids;  // a config may name several, or none
  std::optional<int32_t> pad_token_id;
  // The row of the embedding that learns nothing from being read (nn.Embedding's padding_idx).
  std::optional<int32_t> padding_row;
  // What config.json says of the weights; the tensors themselves decide.
  std::optional<DType> dtype;
  // The tensors go without the family's prefix: "h.0.ln_1.weight". ReadDecoderConfig sets it.
  bool bare_names = false;
  std::vector<std::string> unknown_fields;

  int64_t RotaryDim() const;  // values of each head that turn; 0: positions are learned
  int64_t EmbeddingSize() const { return embedding_size > 0 ? embedding_size : hidden_size; }
  int64_t Window(int64_t layer) const { return windows.empty() ? 0 : windows[layer]; }
  double ScoreScale(int64_t layer) const;
};

absl::StatusOr<DecoderConfig> ParseDecoderConfig(std::string_view config_json);

// The same of a folder, whose tensors also say whether their names have the family's prefix.
absl::StatusOr<DecoderConfig> ReadDecoderConfig(const CheckpointFolder& folder);

}  // namespace lethe

#endif  // LETHE_ENGINE_CHECKPOINT_DECODER_CONFIG_H_
