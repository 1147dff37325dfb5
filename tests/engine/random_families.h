// A small random decoder of every family, in the variants that compute something different.
//
//   for (const FamilyCase& c : FamilyCases(/*vocab=*/12)) {
//     const Decoder model = RandomDecoder(c.config, seed);
#ifndef LETHE_TESTS_ENGINE_RANDOM_FAMILIES_H_
#define LETHE_TESTS_ENGINE_RANDOM_FAMILIES_H_

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/model/decoder.h"

namespace lethe {

struct FamilyCase {
  std::string name;
  std::string config_json;
  DecoderConfig config;
};

// Contexts of 64 tokens; windows are shorter than that. `change` is merged into every config.json.
inline std::vector<FamilyCase> FamilyCases(
    int64_t vocab, const nlohmann::json& change = nlohmann::json::object()) {
  static constexpr std::pair<const char*, const char*> kCases[] = {
      {"llama", R"({"architectures": ["LlamaForCausalLM"], "num_key_value_heads": 2})"},
      {"llama_yarn", R"({"architectures": ["LlamaForCausalLM"], "attention_bias": true,
        "rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 16}})"},
      {"mistral", R"({"architectures": ["MistralForCausalLM"], "num_key_value_heads": 1,
        "sliding_window": 5})"},
      {"qwen2", R"({"architectures": ["Qwen2ForCausalLM"], "num_key_value_heads": 2,
        "use_sliding_window": true, "sliding_window": 18, "max_window_layers": 1})"},
      {"qwen3", R"({"architectures": ["Qwen3ForCausalLM"], "num_key_value_heads": 2, "head_dim": 10,
        "tie_word_embeddings": true})"},
      {"gpt2", R"({"architectures": ["GPT2LMHeadModel"], "n_embd": 24, "n_layer": 2, "n_head": 4,
        "n_inner": 20, "n_positions": 64, "scale_attn_by_inverse_layer_idx": true})"},
      {"gpt_neo", R"({"architectures": ["GPTNeoForCausalLM"], "num_layers": 2, "num_heads": 4,
        "window_size": 3, "attention_types": [[["global", "local"], 1]]})"},
      {"gpt_neox", R"({"architectures": ["GPTNeoXForCausalLM"], "hidden_size": 32,
        "rotary_pct": 0.25})"},
      {"gpt_neox_sequential", R"({"architectures": ["GPTNeoXForCausalLM"], "hidden_size": 32,
        "rotary_pct": 0.5, "use_parallel_residual": false, "tie_word_embeddings": true})"},
      {"opt", R"({"architectures": ["OPTForCausalLM"], "ffn_dim": 20})"},
      {"opt_norm_after", R"({"architectures": ["OPTForCausalLM"], "ffn_dim": 20,
        "do_layer_norm_before": false, "word_embed_proj_dim": 16, "pad_token_id": null})"},
  };
  std::vector<FamilyCase> cases;
  for (const auto& [name, text] : kCases) {
    nlohmann::json json = {{"vocab_size", vocab},      {"hidden_size", 24},
                           {"intermediate_size", 20},  {"num_hidden_layers", 2},
                           {"num_attention_heads", 4}, {"max_position_embeddings", 64},
                           {"initializer_range", 0.5}, {"init_std", 0.5},
                           {"bos_token_id", nullptr},  {"eos_token_id", nullptr}};
    json.update(nlohmann::json::parse(text));
    json.update(change);
    const absl::StatusOr<DecoderConfig> config = ParseDecoderConfig(json.dump());
    if (!config.ok()) throw std::runtime_error(name + std::string(config.status().message()));
    cases.push_back({name, json.dump(), *config});
  }
  return cases;
}

// Wide weights, so that what the model says depends on what it read; norms and biases are random,
// too, since ones and zeros would hide mistakes.
inline Decoder RandomDecoder(const DecoderConfig& config, uint64_t seed) {
  absl::StatusOr<Decoder> model = Decoder::Init(config, seed, Device{});
  if (!model.ok()) throw std::runtime_error(std::string(model.status().message()));
  std::mt19937_64 random(seed);
  at::NoGradGuard no_grad;
  for (const at::Tensor& leaf : model->Leaves()) {
    if (leaf.dim() != 1) continue;
    at::Tensor values = leaf.detach();
    for (int64_t i = 0; i < values.size(0); ++i) {
      values.data_ptr<float>()[i] += static_cast<float>(random() % 1000) * 4e-4f - 0.2f;
    }
  }
  return *std::move(model);
}

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_RANDOM_FAMILIES_H_
