// The families of decoders as data: one row each, read by decoder_config.cc and decoder_tensors.cc.
//
// A row says what its config.json calls things, what transformers takes for a field that is absent,
// and which parts the decoder is made of. What it does not say is as in Llama. docs/engine.md tells
// how a family is added.
#ifndef LETHE_ENGINE_CHECKPOINT_DECODER_FAMILIES_H_
#define LETHE_ENGINE_CHECKPOINT_DECODER_FAMILIES_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/checkpoint/decoder_config.h"
#include "engine/checkpoint/decoder_tensors.h"

namespace lethe {

// --- Tensors ---------------------------------------------------------------------------------

// A length that a tensor's dimension may have, as config.json gives it.
enum class Dim {
  kNone,  // there is no such dimension
  kVocab,
  kHidden,
  kEmbedding,
  kPositions,  // context + position_offset
  kQueries,    // num_heads * head_dim
  kKeys,       // num_kv_heads * head_dim
  kQkv,        // kQueries + 2 kKeys
  kHead,
  kIntermediate,
};

// When a decoder has a tensor.
enum class Needed {
  kAlways,
  kQkvBias,
  kOutBias,
  kMlpBias,
  kUntied,
  kHeadNorms,
  kNormWeights,
  kFinalNorm,
  kProjections,  // between embedding_size and hidden_size
};

// "{}" in a name stands for the layer's number; names without it come once. `rows` and `columns`
// are those of the decoder's weight, (outputs, inputs), however the file stores it.
struct TensorRow {
  std::string_view name;
  Slot slot;
  Dim rows;
  Dim columns = Dim::kNone;
  Needed needed = Needed::kAlways;
  Stored stored = Stored::kAsIs;
};

// A tensor that may be stored although it is tied or computed. `copy_of` is empty where nobody
// reads it.
struct ExtraRow {
  std::string_view name;
  std::string_view copy_of = "";
};

struct TensorTable {
  std::string_view prefix;  // that some writers leave off all names that have it
  std::span<const TensorRow> rows;
  std::span<const ExtraRow> extras;
};

// --- Fields of config.json -------------------------------------------------------------------

// `absent` of a count: it must be there, or it follows from other fields (as null always does).
inline constexpr int64_t kRequired = -1;
inline constexpr int64_t kDerived = -2;

struct CountField {
  const char* name = nullptr;  // null: the family has no such field
  int64_t absent = kRequired;
};
struct RealField {
  const char* name;
  double absent;
};
struct Switch {
  const char* name = nullptr;  // null: `absent`, always
  bool absent = false;
};
inline constexpr Switch kYes = {nullptr, true};
inline constexpr Switch kNo = {nullptr, false};

struct ActivationName {
  std::string_view name;
  Activation activation;
};
struct ActivationField {
  const char* name;
  std::string_view absent;
  std::span<const ActivationName> known;
};
inline constexpr ActivationName kGatedActivations[] = {{"silu", Activation::kSwiGlu},
                                                       {"swish", Activation::kSwiGlu}};

struct RopeFields {
  RealField theta = {"rope_theta", 10000.0};
  const char* fraction = "partial_rotary_factor";
  double fraction_absent = 1.0;
  bool may_be_partial = false;
};

// Which fields say how far back each layer sees.
enum class WindowFields {
  kNone,
  kEveryLayer,   // sliding_window
  kUpperLayers,  // use_sliding_window, sliding_window, max_window_layers, layer_types
  kListed,       // attention_types or attention_layers, window_size
};

struct TokenFields {  // absent ids; -1: none
  int32_t bos = 1, eos = 2, pad = -1;
  bool padding_row = true;  // the model class gives pad_token_id to its embedding
};

struct FamilyRow {
  DecoderFamily family;
  std::string_view architecture;
  std::string_view model_type;
  const TensorTable& tensors;

  CountField hidden = {"hidden_size"};
  CountField layers = {"num_hidden_layers"};
  CountField heads = {"num_attention_heads"};
  CountField kv_heads = {};                         // derived: as many as heads
  CountField head_dim = {};                         // derived: hidden / heads
  CountField intermediate = {"intermediate_size"};  // derived: 4 hidden
  CountField embedding = {};                        // derived: hidden
  CountField context = {"max_position_embeddings", 2048};

  Norm norm = Norm::kRms;
  RealField norm_eps = {"rms_norm_eps", 1e-6};  // a name of null: always this
  Switch norm_weights = kYes;
  Switch norm_before = kYes;
  Switch no_final_norm = kNo;
  bool head_norms = false;
  Switch parallel_parts = kNo;
  ActivationField activation = {"hidden_act", "silu", kGatedActivations};

  Positions positions = Positions::kRotary;
  RopeFields rope = {};
  int64_t position_offset = 0;

  Switch scale_scores = kYes;
  Switch scale_scores_by_layer = kNo;
  WindowFields windows = WindowFields::kNone;

  Switch tied = {"tie_word_embeddings", false};
  Switch qkv_bias = kNo;
  Switch out_bias = kNo;
  Switch mlp_bias = kNo;

  RealField initializer_range = {"initializer_range", 0.02};
  TokenFields tokens = {};
  std::span<const std::string_view> harmless = {};  // fields known to change nothing here
};

std::span<const FamilyRow> DecoderFamilies();
const FamilyRow& RowOf(const DecoderConfig& config);

// Fields that are known to change nothing in any family: there is no dropout here, and how
// transformers runs or labels the model is its affair.
std::span<const std::string_view> HarmlessFields();

}  // namespace lethe

#endif  // LETHE_ENGINE_CHECKPOINT_DECODER_FAMILIES_H_
