#include "engine/checkpoint/decoder_families.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "engine/checkpoint/checkpoint_folder.h"

namespace lethe {
namespace {

constexpr TensorRow kLlamaBefore[] = {
    {"model.embed_tokens.weight", Dim::kVocab, Dim::kHidden, Needed::kAlways},
};
constexpr TensorRow kLlamaLayer[] = {
    {"model.layers.{}.input_layernorm.weight", Dim::kHidden, Dim::kNone, Needed::kAlways},
    {"model.layers.{}.self_attn.q_proj.weight", Dim::kQueries, Dim::kHidden, Needed::kAlways},
    {"model.layers.{}.self_attn.q_proj.bias", Dim::kQueries, Dim::kNone, Needed::kQkvBias},
    {"model.layers.{}.self_attn.k_proj.weight", Dim::kKeys, Dim::kHidden, Needed::kAlways},
    {"model.layers.{}.self_attn.k_proj.bias", Dim::kKeys, Dim::kNone, Needed::kQkvBias},
    {"model.layers.{}.self_attn.v_proj.weight", Dim::kKeys, Dim::kHidden, Needed::kAlways},
    {"model.layers.{}.self_attn.v_proj.bias", Dim::kKeys, Dim::kNone, Needed::kQkvBias},
    {"model.layers.{}.self_attn.o_proj.weight", Dim::kHidden, Dim::kQueries, Needed::kAlways},
    {"model.layers.{}.self_attn.o_proj.bias", Dim::kHidden, Dim::kNone, Needed::kOutBias},
    {"model.layers.{}.post_attention_layernorm.weight", Dim::kHidden, Dim::kNone, Needed::kAlways},
    {"model.layers.{}.mlp.gate_proj.weight", Dim::kIntermediate, Dim::kHidden, Needed::kAlways},
    {"model.layers.{}.mlp.gate_proj.bias", Dim::kIntermediate, Dim::kNone, Needed::kMlpBias},
    {"model.layers.{}.mlp.up_proj.weight", Dim::kIntermediate, Dim::kHidden, Needed::kAlways},
    {"model.layers.{}.mlp.up_proj.bias", Dim::kIntermediate, Dim::kNone, Needed::kMlpBias},
    {"model.layers.{}.mlp.down_proj.weight", Dim::kHidden, Dim::kIntermediate, Needed::kAlways},
    {"model.layers.{}.mlp.down_proj.bias", Dim::kHidden, Dim::kNone, Needed::kMlpBias},
};
constexpr TensorRow kLlamaAfter[] = {
    {"model.norm.weight", Dim::kHidden, Dim::kNone, Needed::kAlways},
    {"lm_head.weight", Dim::kVocab, Dim::kHidden, Needed::kUntied},
};
constexpr ExtraRow kLlamaExtras[] = {
    {"lm_head.weight", "model.embed_tokens.weight"},  // stored by some writers although tied
    {"model.layers.{}.self_attn.rotary_emb.inv_freq", ""},
    {"model.rotary_emb.inv_freq", ""},
};

constexpr FamilyRow kFamilies[] = {
    {DecoderFamily::kLlama, "LlamaForCausalLM", "llama", kLlamaBefore, kLlamaLayer, kLlamaAfter,
     kLlamaExtras},
};

constexpr std::string_view kKnownFields[] = {
    // read
    "architectures",
    "attention_bias",
    "bos_token_id",
    "dtype",
    "eos_token_id",
    "head_dim",
    "hidden_act",
    "hidden_size",
    "initializer_range",
    "intermediate_size",
    "max_position_embeddings",
    "mlp_bias",
    "model_type",
    "num_attention_heads",
    "num_hidden_layers",
    "num_key_value_heads",
    "pad_token_id",
    "rms_norm_eps",
    "rope_parameters",
    "rope_scaling",
    "rope_theta",
    "tie_word_embeddings",
    "torch_dtype",
    "vocab_size",
    // refused unless off
    "adapter_config",
    "add_cross_attention",
    "auto_map",
    "compression_config",
    "is_encoder_decoder",
    "layer_types",
    "partial_rotary_factor",
    "peft_config",
    "quantization_config",
    "rope_interleaved",
    "sliding_window",
    // change nothing: there is no dropout here, and how transformers runs the model is its affair
    "_attn_implementation",
    "_name_or_path",
    "attention_dropout",
    "is_decoder",
    "output_attentions",
    "output_hidden_states",
    "pretraining_tp",
    "return_dict",
    "task_specific_params",
    "transformers_version",
    "use_cache",
};

const FamilyRow& RowOf(const DecoderConfig& config) {
  return *std::find_if(std::begin(kFamilies), std::end(kFamilies),
                       [&](const FamilyRow& row) { return row.family == config.family; });
}

int64_t Length(Dim dim, const DecoderConfig& config) {
  switch (dim) {
    case Dim::kNone:
      return 0;
    case Dim::kVocab:
      return config.vocab_size;
    case Dim::kHidden:
      return config.hidden_size;
    case Dim::kQueries:
      return config.num_heads * config.head_dim;
    case Dim::kKeys:
      return config.num_kv_heads * config.head_dim;
    case Dim::kIntermediate:
      return config.intermediate_size;
  }
  return 0;
}

bool Has(Needed needed, const DecoderConfig& config) {
  switch (needed) {
    case Needed::kAlways:
      return true;
    case Needed::kQkvBias:
      return config.qkv_bias;
    case Needed::kOutBias:
      return config.out_bias;
    case Needed::kMlpBias:
      return config.mlp_bias;
    case Needed::kUntied:
      return !config.tied_embeddings;
  }
  return false;
}

std::string InLayer(std::string_view name, int64_t layer) {
  return absl::StrReplaceAll(absl::string_view(name.data(), name.size()),
                             {{"{}", absl::StrCat(layer)}});
}

void Append(std::span<const TensorRow> rows, const DecoderConfig& config, int64_t layer,
            std::vector<TensorRule>* rules) {
  for (const TensorRow& row : rows) {
    if (!Has(row.needed, config)) continue;
    TensorRule rule{InLayer(row.name, layer), {Length(row.rows, config)}};
    if (row.columns != Dim::kNone) rule.shape.push_back(Length(row.columns, config));
    rules->push_back(std::move(rule));
  }
}

std::string ShapeText(const std::vector<int64_t>& shape) {
  std::string text;
  for (const int64_t size : shape) absl::StrAppend(&text, text.empty() ? "" : ", ", size);
  return "[" + text + "]";
}

// Readers differ in whether they tie what is stored twice; where both are equal it does not matter.
bool SameTensor(const CheckpointFolder& folder, const StoredExtra& extra) {
  const TensorInfo& copy = *folder.Find(extra.name);
  const TensorInfo& original = *folder.Find(extra.copy_of);
  return copy.dtype == original.dtype && copy.shape == original.shape &&
         folder.Bytes(copy) == folder.Bytes(original);
}

}  // namespace

std::span<const FamilyRow> DecoderFamilies() { return kFamilies; }

bool IsKnownConfigField(std::string_view field) {
  return std::find(std::begin(kKnownFields), std::end(kKnownFields), field) !=
         std::end(kKnownFields);
}

std::vector<TensorRule> DecoderTensors(const DecoderConfig& config) {
  const FamilyRow& family = RowOf(config);
  std::vector<TensorRule> rules;
  Append(family.before_layers, config, 0, &rules);
  for (int64_t i = 0; i < config.num_layers; ++i) Append(family.in_layer, config, i, &rules);
  Append(family.after_layers, config, 0, &rules);
  return rules;
}

absl::StatusOr<std::vector<StoredExtra>> CheckTensors(const DecoderConfig& config,
                                                      const CheckpointFolder& folder) {
  const auto wrong = [](absl::StatusCode code, std::string_view reason, const std::string& tensor,
                        std::string_view what) {
    return Error(code, reason,
                 absl::StrCat("tensor ", tensor, " ", absl::string_view(what.data(), what.size())),
                 {{"tensor", tensor}});
  };
  constexpr auto kCode = absl::StatusCode::kInvalidArgument;
  // Said before the weights of thousands of layers are listed: each layer has one at least.
  if (static_cast<uint64_t>(config.num_layers) > folder.tensors().size()) {
    return Error(kCode, "BAD_CHECKPOINT",
                 absl::StrCat("config.json: num_hidden_layers is ", config.num_layers,
                              "; the weights have ", folder.tensors().size(), " tensors in all"),
                 {{"field", "num_hidden_layers"}});
  }
  std::set<std::string> expected;
  for (TensorRule& rule : DecoderTensors(config)) {
    const TensorInfo* tensor = folder.Find(rule.name);
    if (tensor == nullptr) return wrong(kCode, "BAD_CHECKPOINT", rule.name, "is missing");
    if (tensor->shape != rule.shape) {
      return wrong(kCode, "BAD_CHECKPOINT", rule.name,
                   absl::StrCat("has the shape ", ShapeText(tensor->shape),
                                "; config.json gives it ", ShapeText(rule.shape)));
    }
    if (tensor->dtype != DType::kF32 && tensor->dtype != DType::kF16 &&
        tensor->dtype != DType::kBF16) {
      return wrong(kCode, "MODEL_UNSUPPORTED", rule.name,
                   absl::StrCat("has the dtype ", std::string(DTypeName(tensor->dtype)),
                                "; weights must be F32, F16 or BF16"));
    }
    expected.insert(std::move(rule.name));
  }
  std::vector<StoredExtra> extras;
  std::set<std::string> known;
  for (const ExtraRow& row : RowOf(config).extras) {
    const bool per_layer = row.name.find("{}") != std::string_view::npos;
    for (int64_t i = 0; i < (per_layer ? config.num_layers : 1); ++i) {
      StoredExtra extra{InLayer(row.name, i), std::string(row.copy_of)};
      if (expected.count(extra.name) > 0 || folder.Find(extra.name) == nullptr) continue;
      if (!extra.copy_of.empty() && !SameTensor(folder, extra)) {
        return wrong(kCode, "BAD_CHECKPOINT", extra.name,
                     "is stored although config.json ties it, and differs from what it is tied to");
      }
      known.insert(extra.name);
      extras.push_back(std::move(extra));
    }
  }
  for (const TensorInfo& tensor : folder.tensors()) {
    if (expected.count(tensor.name) == 0 && known.count(tensor.name) == 0) {
      return wrong(kCode, "MODEL_UNSUPPORTED", tensor.name,
                   "is not one that this family has; what it does is not known");
    }
  }
  return extras;
}

}  // namespace lethe
