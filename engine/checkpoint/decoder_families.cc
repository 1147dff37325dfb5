#include "engine/checkpoint/decoder_families.h"

#include <algorithm>
#include <iterator>

namespace lethe {
namespace {

// --- Tensors: Llama, Mistral, Qwen2, Qwen3 ---------------------------------------------------

constexpr TensorRow kLlamaRows[] = {
    {"model.embed_tokens.weight", Slot::kTokens, Dim::kVocab, Dim::kHidden},
    {"model.layers.{}.input_layernorm.weight", Slot::kAttnNorm, Dim::kHidden},
    {"model.layers.{}.self_attn.q_proj.weight", Slot::kQkv, Dim::kQueries, Dim::kHidden},
    {"model.layers.{}.self_attn.q_proj.bias", Slot::kQkvBias, Dim::kQueries, Dim::kNone,
     Needed::kQkvBias},
    {"model.layers.{}.self_attn.k_proj.weight", Slot::kQkv, Dim::kKeys, Dim::kHidden},
    {"model.layers.{}.self_attn.k_proj.bias", Slot::kQkvBias, Dim::kKeys, Dim::kNone,
     Needed::kQkvBias},
    {"model.layers.{}.self_attn.v_proj.weight", Slot::kQkv, Dim::kKeys, Dim::kHidden},
    {"model.layers.{}.self_attn.v_proj.bias", Slot::kQkvBias, Dim::kKeys, Dim::kNone,
     Needed::kQkvBias},
    {"model.layers.{}.self_attn.q_norm.weight", Slot::kQueryNorm, Dim::kHead, Dim::kNone,
     Needed::kHeadNorms},
    {"model.layers.{}.self_attn.k_norm.weight", Slot::kKeyNorm, Dim::kHead, Dim::kNone,
     Needed::kHeadNorms},
    {"model.layers.{}.self_attn.o_proj.weight", Slot::kAttnOut, Dim::kHidden, Dim::kQueries},
    {"model.layers.{}.self_attn.o_proj.bias", Slot::kAttnOutBias, Dim::kHidden, Dim::kNone,
     Needed::kOutBias},
    {"model.layers.{}.post_attention_layernorm.weight", Slot::kMlpNorm, Dim::kHidden},
    {"model.layers.{}.mlp.gate_proj.weight", Slot::kUp, Dim::kIntermediate, Dim::kHidden},
    {"model.layers.{}.mlp.gate_proj.bias", Slot::kUpBias, Dim::kIntermediate, Dim::kNone,
     Needed::kMlpBias},
    {"model.layers.{}.mlp.up_proj.weight", Slot::kUp, Dim::kIntermediate, Dim::kHidden},
    {"model.layers.{}.mlp.up_proj.bias", Slot::kUpBias, Dim::kIntermediate, Dim::kNone,
     Needed::kMlpBias},
    {"model.layers.{}.mlp.down_proj.weight", Slot::kDown, Dim::kHidden, Dim::kIntermediate},
    {"model.layers.{}.mlp.down_proj.bias", Slot::kDownBias, Dim::kHidden, Dim::kNone,
     Needed::kMlpBias},
    {"model.norm.weight", Slot::kFinalNorm, Dim::kHidden},
    {"lm_head.weight", Slot::kOutput, Dim::kVocab, Dim::kHidden, Needed::kUntied},
};
constexpr ExtraRow kLlamaExtras[] = {
    {"lm_head.weight", "model.embed_tokens.weight"},  // stored by some writers although tied
    {"model.layers.{}.self_attn.rotary_emb.inv_freq"},
    {"model.rotary_emb.inv_freq"},
};
constexpr TensorTable kLlamaTensors = {"model.", kLlamaRows, kLlamaExtras};

// --- Tensors: GPT-2 --------------------------------------------------------------------------

constexpr TensorRow kGpt2Rows[] = {
    {"transformer.wte.weight", Slot::kTokens, Dim::kVocab, Dim::kHidden},
    {"transformer.wpe.weight", Slot::kPositions, Dim::kPositions, Dim::kHidden},
    {"transformer.h.{}.ln_1.weight", Slot::kAttnNorm, Dim::kHidden},
    {"transformer.h.{}.ln_1.bias", Slot::kAttnNormBias, Dim::kHidden},
    {"transformer.h.{}.attn.c_attn.weight", Slot::kQkv, Dim::kQkv, Dim::kHidden, Needed::kAlways,
     Stored::kTransposed},
    {"transformer.h.{}.attn.c_attn.bias", Slot::kQkvBias, Dim::kQkv},
    {"transformer.h.{}.attn.c_proj.weight", Slot::kAttnOut, Dim::kHidden, Dim::kQueries,
     Needed::kAlways, Stored::kTransposed},
    {"transformer.h.{}.attn.c_proj.bias", Slot::kAttnOutBias, Dim::kHidden},
    {"transformer.h.{}.ln_2.weight", Slot::kMlpNorm, Dim::kHidden},
    {"transformer.h.{}.ln_2.bias", Slot::kMlpNormBias, Dim::kHidden},
    {"transformer.h.{}.mlp.c_fc.weight", Slot::kUp, Dim::kIntermediate, Dim::kHidden,
     Needed::kAlways, Stored::kTransposed},
    {"transformer.h.{}.mlp.c_fc.bias", Slot::kUpBias, Dim::kIntermediate},
    {"transformer.h.{}.mlp.c_proj.weight", Slot::kDown, Dim::kHidden, Dim::kIntermediate,
     Needed::kAlways, Stored::kTransposed},
    {"transformer.h.{}.mlp.c_proj.bias", Slot::kDownBias, Dim::kHidden},
    {"transformer.ln_f.weight", Slot::kFinalNorm, Dim::kHidden},
    {"transformer.ln_f.bias", Slot::kFinalNormBias, Dim::kHidden},
    {"lm_head.weight", Slot::kOutput, Dim::kVocab, Dim::kHidden, Needed::kUntied},
};
constexpr ExtraRow kGpt2Extras[] = {
    {"lm_head.weight", "transformer.wte.weight"},
    {"transformer.h.{}.attn.bias"},  // causal masks
    {"transformer.h.{}.attn.masked_bias"},
};
constexpr TensorTable kGpt2Tensors = {"transformer.", kGpt2Rows, kGpt2Extras};

// --- Tensors: GPT-Neo ------------------------------------------------------------------------

constexpr TensorRow kGptNeoRows[] = {
    {"transformer.wte.weight", Slot::kTokens, Dim::kVocab, Dim::kHidden},
    {"transformer.wpe.weight", Slot::kPositions, Dim::kPositions, Dim::kHidden},
    {"transformer.h.{}.ln_1.weight", Slot::kAttnNorm, Dim::kHidden},
    {"transformer.h.{}.ln_1.bias", Slot::kAttnNormBias, Dim::kHidden},
    {"transformer.h.{}.attn.attention.q_proj.weight", Slot::kQkv, Dim::kQueries, Dim::kHidden},
    {"transformer.h.{}.attn.attention.k_proj.weight", Slot::kQkv, Dim::kKeys, Dim::kHidden},
    {"transformer.h.{}.attn.attention.v_proj.weight", Slot::kQkv, Dim::kKeys, Dim::kHidden},
    {"transformer.h.{}.attn.attention.out_proj.weight", Slot::kAttnOut, Dim::kHidden,
     Dim::kQueries},
    {"transformer.h.{}.attn.attention.out_proj.bias", Slot::kAttnOutBias, Dim::kHidden},
    {"transformer.h.{}.ln_2.weight", Slot::kMlpNorm, Dim::kHidden},
    {"transformer.h.{}.ln_2.bias", Slot::kMlpNormBias, Dim::kHidden},
    {"transformer.h.{}.mlp.c_fc.weight", Slot::kUp, Dim::kIntermediate, Dim::kHidden},
    {"transformer.h.{}.mlp.c_fc.bias", Slot::kUpBias, Dim::kIntermediate},
    {"transformer.h.{}.mlp.c_proj.weight", Slot::kDown, Dim::kHidden, Dim::kIntermediate},
    {"transformer.h.{}.mlp.c_proj.bias", Slot::kDownBias, Dim::kHidden},
    {"transformer.ln_f.weight", Slot::kFinalNorm, Dim::kHidden},
    {"transformer.ln_f.bias", Slot::kFinalNormBias, Dim::kHidden},
    {"lm_head.weight", Slot::kOutput, Dim::kVocab, Dim::kHidden, Needed::kUntied},
};
constexpr ExtraRow kGptNeoExtras[] = {
    {"lm_head.weight", "transformer.wte.weight"},
    {"transformer.h.{}.attn.attention.bias"},  // causal and local masks
    {"transformer.h.{}.attn.attention.masked_bias"},
};
constexpr TensorTable kGptNeoTensors = {"transformer.", kGptNeoRows, kGptNeoExtras};

// --- Tensors: GPT-NeoX, Pythia ---------------------------------------------------------------

constexpr TensorRow kGptNeoXRows[] = {
    {"gpt_neox.embed_in.weight", Slot::kTokens, Dim::kVocab, Dim::kHidden},
    {"gpt_neox.layers.{}.input_layernorm.weight", Slot::kAttnNorm, Dim::kHidden},
    {"gpt_neox.layers.{}.input_layernorm.bias", Slot::kAttnNormBias, Dim::kHidden},
    {"gpt_neox.layers.{}.attention.query_key_value.weight", Slot::kQkv, Dim::kQkv, Dim::kHidden,
     Needed::kAlways, Stored::kHeadwise},
    {"gpt_neox.layers.{}.attention.query_key_value.bias", Slot::kQkvBias, Dim::kQkv, Dim::kNone,
     Needed::kQkvBias, Stored::kHeadwise},
    {"gpt_neox.layers.{}.attention.dense.weight", Slot::kAttnOut, Dim::kHidden, Dim::kQueries},
    {"gpt_neox.layers.{}.attention.dense.bias", Slot::kAttnOutBias, Dim::kHidden, Dim::kNone,
     Needed::kOutBias},
    {"gpt_neox.layers.{}.post_attention_layernorm.weight", Slot::kMlpNorm, Dim::kHidden},
    {"gpt_neox.layers.{}.post_attention_layernorm.bias", Slot::kMlpNormBias, Dim::kHidden},
    {"gpt_neox.layers.{}.mlp.dense_h_to_4h.weight", Slot::kUp, Dim::kIntermediate, Dim::kHidden},
    {"gpt_neox.layers.{}.mlp.dense_h_to_4h.bias", Slot::kUpBias, Dim::kIntermediate},
    {"gpt_neox.layers.{}.mlp.dense_4h_to_h.weight", Slot::kDown, Dim::kHidden, Dim::kIntermediate},
    {"gpt_neox.layers.{}.mlp.dense_4h_to_h.bias", Slot::kDownBias, Dim::kHidden},
    {"gpt_neox.final_layer_norm.weight", Slot::kFinalNorm, Dim::kHidden},
    {"gpt_neox.final_layer_norm.bias", Slot::kFinalNormBias, Dim::kHidden},
    {"embed_out.weight", Slot::kOutput, Dim::kVocab, Dim::kHidden, Needed::kUntied},
};
constexpr ExtraRow kGptNeoXExtras[] = {
    {"embed_out.weight", "gpt_neox.embed_in.weight"},
    {"gpt_neox.layers.{}.attention.bias"},  // causal masks
    {"gpt_neox.layers.{}.attention.masked_bias"},
    {"gpt_neox.layers.{}.attention.rotary_emb.inv_freq"},
    {"gpt_neox.rotary_emb.inv_freq"},
};
constexpr TensorTable kGptNeoXTensors = {"gpt_neox.", kGptNeoXRows, kGptNeoXExtras};

// --- Tensors: OPT ----------------------------------------------------------------------------

constexpr TensorRow kOptRows[] = {
    {"model.decoder.embed_tokens.weight", Slot::kTokens, Dim::kVocab, Dim::kEmbedding},
    {"model.decoder.embed_positions.weight", Slot::kPositions, Dim::kPositions, Dim::kHidden},
    {"model.decoder.project_in.weight", Slot::kProjectIn, Dim::kHidden, Dim::kEmbedding,
     Needed::kProjections},
    {"model.decoder.layers.{}.self_attn_layer_norm.weight", Slot::kAttnNorm, Dim::kHidden,
     Dim::kNone, Needed::kNormWeights},
    {"model.decoder.layers.{}.self_attn_layer_norm.bias", Slot::kAttnNormBias, Dim::kHidden,
     Dim::kNone, Needed::kNormWeights},
    {"model.decoder.layers.{}.self_attn.q_proj.weight", Slot::kQkv, Dim::kQueries, Dim::kHidden},
    {"model.decoder.layers.{}.self_attn.q_proj.bias", Slot::kQkvBias, Dim::kQueries, Dim::kNone,
     Needed::kQkvBias},
    {"model.decoder.layers.{}.self_attn.k_proj.weight", Slot::kQkv, Dim::kKeys, Dim::kHidden},
    {"model.decoder.layers.{}.self_attn.k_proj.bias", Slot::kQkvBias, Dim::kKeys, Dim::kNone,
     Needed::kQkvBias},
    {"model.decoder.layers.{}.self_attn.v_proj.weight", Slot::kQkv, Dim::kKeys, Dim::kHidden},
    {"model.decoder.layers.{}.self_attn.v_proj.bias", Slot::kQkvBias, Dim::kKeys, Dim::kNone,
     Needed::kQkvBias},
    {"model.decoder.layers.{}.self_attn.out_proj.weight", Slot::kAttnOut, Dim::kHidden,
     Dim::kQueries},
    {"model.decoder.layers.{}.self_attn.out_proj.bias", Slot::kAttnOutBias, Dim::kHidden,
     Dim::kNone, Needed::kOutBias},
    {"model.decoder.layers.{}.final_layer_norm.weight", Slot::kMlpNorm, Dim::kHidden, Dim::kNone,
     Needed::kNormWeights},
    {"model.decoder.layers.{}.final_layer_norm.bias", Slot::kMlpNormBias, Dim::kHidden, Dim::kNone,
     Needed::kNormWeights},
    {"model.decoder.layers.{}.fc1.weight", Slot::kUp, Dim::kIntermediate, Dim::kHidden},
    {"model.decoder.layers.{}.fc1.bias", Slot::kUpBias, Dim::kIntermediate, Dim::kNone,
     Needed::kMlpBias},
    {"model.decoder.layers.{}.fc2.weight", Slot::kDown, Dim::kHidden, Dim::kIntermediate},
    {"model.decoder.layers.{}.fc2.bias", Slot::kDownBias, Dim::kHidden, Dim::kNone,
     Needed::kMlpBias},
    {"model.decoder.final_layer_norm.weight", Slot::kFinalNorm, Dim::kHidden, Dim::kNone,
     Needed::kFinalNorm},
    {"model.decoder.final_layer_norm.bias", Slot::kFinalNormBias, Dim::kHidden, Dim::kNone,
     Needed::kFinalNorm},
    {"model.decoder.project_out.weight", Slot::kProjectOut, Dim::kEmbedding, Dim::kHidden,
     Needed::kProjections},
    {"lm_head.weight", Slot::kOutput, Dim::kVocab, Dim::kEmbedding, Needed::kUntied},
};
constexpr ExtraRow kOptExtras[] = {
    {"lm_head.weight", "model.decoder.embed_tokens.weight"},
    {"model.decoder.version"},
};
constexpr TensorTable kOptTensors = {"model.", kOptRows, kOptExtras};

// --- The families ----------------------------------------------------------------------------

// transformers has several names for the formula with tanh; they differ in the last bits.
constexpr ActivationName kPlainActivations[] = {
    {"gelu_new", Activation::kGeluTanh},          {"gelu_fast", Activation::kGeluTanh},
    {"gelu_pytorch_tanh", Activation::kGeluTanh}, {"gelu", Activation::kGelu},
    {"gelu_python", Activation::kGelu},           {"relu", Activation::kRelu}};

constexpr std::string_view kGpt2Harmless[] = {"attn_pdrop",
                                              "embd_pdrop",
                                              "resid_pdrop",
                                              "n_ctx",
                                              "reorder_and_upcast_attn",
                                              "summary_activation",
                                              "summary_first_dropout",
                                              "summary_proj_to_labels",
                                              "summary_type",
                                              "summary_use_proj"};
constexpr std::string_view kGptNeoHarmless[] = {
    "classifier_dropout",    "embed_dropout",          "resid_dropout", "summary_activation",
    "summary_first_dropout", "summary_proj_to_labels", "summary_type",  "summary_use_proj"};
constexpr std::string_view kGptNeoXHarmless[] = {"classifier_dropout", "hidden_dropout"};
constexpr std::string_view kOptHarmless[] = {"activation_dropout", "dropout", "layerdrop",
                                             "prefix"};

constexpr FamilyRow kFamilies[] = {
    {.family = DecoderFamily::kLlama,
     .architecture = "LlamaForCausalLM",
     .model_type = "llama",
     .tensors = kLlamaTensors,
     .kv_heads = {"num_key_value_heads", kDerived},
     .head_dim = {"head_dim", kDerived},
     .qkv_bias = {"attention_bias", false},
     .out_bias = {"attention_bias", false},
     .mlp_bias = {"mlp_bias", false}},
    {.family = DecoderFamily::kMistral,
     .architecture = "MistralForCausalLM",
     .model_type = "mistral",
     .tensors = kLlamaTensors,
     .kv_heads = {"num_key_value_heads", 8},
     .head_dim = {"head_dim", kDerived},
     .context = {"max_position_embeddings", 131072},
     .windows = WindowFields::kEveryLayer},
    {.family = DecoderFamily::kQwen2,
     .architecture = "Qwen2ForCausalLM",
     .model_type = "qwen2",
     .tensors = kLlamaTensors,
     .kv_heads = {"num_key_value_heads", 32},
     .head_dim = {"head_dim", kDerived},
     .context = {"max_position_embeddings", 32768},
     .windows = WindowFields::kUpperLayers,
     .qkv_bias = kYes,
     .tokens = {.bos = -1, .eos = -1}},
    {.family = DecoderFamily::kQwen3,
     .architecture = "Qwen3ForCausalLM",
     .model_type = "qwen3",
     .tensors = kLlamaTensors,
     .kv_heads = {"num_key_value_heads", 32},
     .head_dim = {"head_dim", 128},
     .context = {"max_position_embeddings", 32768},
     .head_norms = true,
     .windows = WindowFields::kUpperLayers,
     .qkv_bias = {"attention_bias", false},
     .out_bias = {"attention_bias", false},
     .tokens = {.bos = -1, .eos = -1}},
    {.family = DecoderFamily::kGpt2,
     .architecture = "GPT2LMHeadModel",
     .model_type = "gpt2",
     .tensors = kGpt2Tensors,
     .hidden = {"n_embd"},
     .layers = {"n_layer"},
     .heads = {"n_head"},
     .intermediate = {"n_inner", kDerived},
     .context = {"n_positions", 1024},
     .norm = Norm::kLayer,
     .norm_eps = {"layer_norm_epsilon", 1e-5},
     .activation = {"activation_function", "gelu_new", kPlainActivations},
     .positions = Positions::kLearned,
     .scale_scores = {"scale_attn_weights", true},
     .scale_scores_by_layer = {"scale_attn_by_inverse_layer_idx", false},
     .tied = {"tie_word_embeddings", true},
     .qkv_bias = kYes,
     .out_bias = kYes,
     .mlp_bias = kYes,
     .tokens = {.bos = 50256, .eos = 50256, .padding_row = false},
     .harmless = kGpt2Harmless},
    {.family = DecoderFamily::kGptNeo,
     .architecture = "GPTNeoForCausalLM",
     .model_type = "gpt_neo",
     .tensors = kGptNeoTensors,
     .layers = {"num_layers"},
     .heads = {"num_heads"},
     .intermediate = {"intermediate_size", kDerived},
     .norm = Norm::kLayer,
     .norm_eps = {"layer_norm_epsilon", 1e-5},
     .activation = {"activation_function", "gelu_new", kPlainActivations},
     .positions = Positions::kLearned,
     .scale_scores = kNo,
     .windows = WindowFields::kListed,
     .tied = {"tie_word_embeddings", true},
     .out_bias = kYes,
     .mlp_bias = kYes,
     .tokens = {.bos = 50256, .eos = 50256, .padding_row = false},
     .harmless = kGptNeoHarmless},
    {.family = DecoderFamily::kGptNeoX,
     .architecture = "GPTNeoXForCausalLM",
     .model_type = "gpt_neox",
     .tensors = kGptNeoXTensors,
     .norm = Norm::kLayer,
     .norm_eps = {"layer_norm_eps", 1e-5},
     .parallel_parts = {"use_parallel_residual", true},
     .activation = {"hidden_act", "gelu", kPlainActivations},
     .rope = {{"rotary_emb_base", 10000.0}, "rotary_pct", 0.25, /*may_be_partial=*/true},
     .qkv_bias = {"attention_bias", true},
     .out_bias = {"attention_bias", true},
     .mlp_bias = kYes,
     .tokens = {.bos = 0, .eos = 2, .padding_row = false},
     .harmless = kGptNeoXHarmless},
    {.family = DecoderFamily::kOpt,
     .architecture = "OPTForCausalLM",
     .model_type = "opt",
     .tensors = kOptTensors,
     .intermediate = {"ffn_dim"},
     .embedding = {"word_embed_proj_dim", kDerived},
     .norm = Norm::kLayer,
     .norm_eps = {nullptr, 1e-5},
     .norm_weights = {"layer_norm_elementwise_affine", true},
     .norm_before = {"do_layer_norm_before", true},
     .no_final_norm = {"_remove_final_layer_norm", false},
     .activation = {"activation_function", "relu", kPlainActivations},
     .positions = Positions::kLearned,
     .position_offset = 2,
     .tied = {"tie_word_embeddings", true},
     .qkv_bias = {"enable_bias", true},
     .out_bias = {"enable_bias", true},
     .mlp_bias = {"enable_bias", true},
     .initializer_range = {"init_std", 0.02},
     .tokens = {.bos = 2, .eos = 2, .pad = 1},
     .harmless = kOptHarmless},
};

constexpr std::string_view kHarmless[] = {
    "_attn_implementation",
    "_name_or_path",
    "attention_dropout",
    "gradient_checkpointing",
    "id2label",
    "is_decoder",
    "label2id",
    "output_attentions",
    "output_hidden_states",
    "pretraining_tp",
    "return_dict",
    "task_specific_params",
    "tokenizer_class",
    "transformers_version",
    "use_cache",
};

}  // namespace

std::span<const FamilyRow> DecoderFamilies() { return kFamilies; }

const FamilyRow& RowOf(const DecoderConfig& config) {
  return *std::find_if(std::begin(kFamilies), std::end(kFamilies),
                       [&](const FamilyRow& row) { return row.family == config.family; });
}

std::span<const std::string_view> HarmlessFields() { return kHarmless; }

}  // namespace lethe
