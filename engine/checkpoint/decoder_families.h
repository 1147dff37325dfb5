// The families of decoders as data: one row each, read by decoder_config.cc and the tensor check.
//
// To add a family, add its row, its tensors and the fields of config.json that it reads; where it
// computes something that no row could say yet, DecoderConfig gets a field for it.
#ifndef LETHE_ENGINE_CHECKPOINT_DECODER_FAMILIES_H_
#define LETHE_ENGINE_CHECKPOINT_DECODER_FAMILIES_H_

#include <span>
#include <string_view>

#include "engine/checkpoint/decoder_config.h"

namespace lethe {

// A length that a tensor's dimension may have, as config.json gives it.
enum class Dim {
  kNone,  // there is no such dimension
  kVocab,
  kHidden,
  kQueries,  // num_heads * head_dim
  kKeys,     // num_kv_heads * head_dim
  kIntermediate,
};

// When a decoder has a tensor.
enum class Needed { kAlways, kQkvBias, kOutBias, kMlpBias, kUntied };

// "{}" in a name stands for the layer's number; names without it come once.
struct TensorRow {
  std::string_view name;
  Dim rows;
  Dim columns;
  Needed needed;
};

// A tensor that may be stored although it is tied or computed. `copy_of` is empty where nobody
// reads it.
struct ExtraRow {
  std::string_view name;
  std::string_view copy_of;
};

struct FamilyRow {
  DecoderFamily family;
  std::string_view architecture;
  std::string_view model_type;
  std::span<const TensorRow> before_layers;
  std::span<const TensorRow> in_layer;
  std::span<const TensorRow> after_layers;
  std::span<const ExtraRow> extras;
};

std::span<const FamilyRow> DecoderFamilies();

// True for fields of config.json that are read, refused unless off, or known to change nothing.
bool IsKnownConfigField(std::string_view field);

}  // namespace lethe

#endif  // LETHE_ENGINE_CHECKPOINT_DECODER_FAMILIES_H_
