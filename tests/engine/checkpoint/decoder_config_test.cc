#include "engine/checkpoint/decoder_config.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/status.h"
#include "engine/checkpoint/checkpoint_folder.h"
#include "engine/checkpoint/decoder_tensors.h"
#include "tests/support/testdata.h"

namespace lethe {
namespace {
namespace fs = std::filesystem;
using Json = nlohmann::json;

Json Plain() {
  return Json::parse(R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
    "vocab_size": 100, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4})");
}

absl::StatusOr<DecoderConfig> Parse(const Json& json) { return ParseDecoderConfig(json.dump()); }

TEST(DecoderConfig, DefaultsAreThoseOfLlamaConfig) {
  const DecoderConfig config = *Parse(Plain());
  EXPECT_EQ(config.num_kv_heads, 4);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.context, 2048);
  EXPECT_EQ(config.norm_eps, 1e-6);
  EXPECT_EQ(config.rope.theta, 10000.0);
  EXPECT_EQ(config.rope.type, RopeType::kDefault);
  EXPECT_FALSE(config.tied_embeddings || config.qkv_bias || config.out_bias || config.mlp_bias);
  EXPECT_EQ(config.bos_token_id, 1);
  EXPECT_EQ(config.eos_token_ids, std::vector<int32_t>{2});
  EXPECT_EQ(config.pad_token_id, std::nullopt);
  EXPECT_EQ(config.dtype, std::nullopt);
  EXPECT_TRUE(config.unknown_fields.empty());
}

// What config.json says in words, checked for the real folders.
TEST(DecoderConfig, Stories260k) {
  LETHE_TESTDATA_OR_SKIP(const fs::path folder, "models/stories260k");
  const CheckpointFolder model = *CheckpointFolder::Open(folder);
  const auto config = ParseDecoderConfig(model.config_json());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->vocab_size, 512);
  EXPECT_EQ(config->hidden_size, 64);
  EXPECT_EQ(config->num_layers, 5);
  EXPECT_EQ(config->num_heads, 8);
  EXPECT_EQ(config->num_kv_heads, 4);
  EXPECT_EQ(config->head_dim, 8);
  EXPECT_EQ(config->intermediate_size, 172);
  EXPECT_EQ(config->context, 512);
  EXPECT_EQ(config->norm_eps, 1e-5);
  EXPECT_TRUE(config->tied_embeddings);
  EXPECT_EQ(config->dtype, DType::kF32);
  EXPECT_TRUE(config->unknown_fields.empty());
  const auto extras = CheckTensors(*config, model);
  ASSERT_TRUE(extras.ok()) << extras.status();
  EXPECT_TRUE(extras->empty());
  EXPECT_EQ(DecoderTensors(*config).size(), model.tensors().size());
}

TEST(DecoderConfig, TinyLlama3SpeaksTheOldDialect) {
  LETHE_TESTDATA_OR_SKIP(const fs::path folder, "models/tiny_llama3");
  const CheckpointFolder model = *CheckpointFolder::Open(folder);
  const auto config = ParseDecoderConfig(model.config_json());
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->rope.type, RopeType::kLlama3);
  EXPECT_EQ(config->rope.theta, 500.0);
  EXPECT_EQ(config->rope.factor, 8.0);
  EXPECT_EQ(config->rope.low_freq_factor, 1.0);
  EXPECT_EQ(config->rope.high_freq_factor, 4.0);
  EXPECT_EQ(config->rope.original_context, 32);
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->num_kv_heads, 1);
  EXPECT_EQ(config->bos_token_id, 302);
  EXPECT_EQ(config->eos_token_ids, std::vector<int32_t>{303});
  EXPECT_TRUE(CheckTensors(*config, model).ok()) << CheckTensors(*config, model).status();
}

TEST(DecoderConfig, TinyLlamaIsUntied) {
  LETHE_TESTDATA_OR_SKIP(const fs::path folder, "models/tiny_llama");
  const CheckpointFolder model = *CheckpointFolder::Open(folder);
  const DecoderConfig config = *ParseDecoderConfig(model.config_json());
  EXPECT_FALSE(config.tied_embeddings);
  EXPECT_TRUE(CheckTensors(config, model).ok()) << CheckTensors(config, model).status();
  DecoderConfig other = config;
  other.num_layers = 3;
  EXPECT_EQ(ErrorReason(CheckTensors(other, model).status()), "BAD_CHECKPOINT");
  other = config;
  other.num_layers = 1;  // a layer that nobody would read
  EXPECT_EQ(ErrorReason(CheckTensors(other, model).status()), "MODEL_UNSUPPORTED");
  other = config;
  other.intermediate_size = 81;
  EXPECT_EQ(ErrorReason(CheckTensors(other, model).status()), "BAD_CHECKPOINT");
}

struct Edit {
  const char* patch;  // merged into the plain config
  const char* reason;
  const char* field;
};

TEST(DecoderConfig, WhatIsNotUnderstoodIsRefusedByName) {
  const Edit edits[] = {
      {R"({"architectures": ["Other"]})", "MODEL_UNSUPPORTED", "architectures"},
      {R"({"architectures": []})", "MODEL_UNSUPPORTED", "architectures"},
      {R"({"architectures": ["LlamaForCausalLM", "X"]})", "MODEL_UNSUPPORTED", "architectures"},
      {R"({"architectures": "LlamaForCausalLM"})", "MODEL_UNSUPPORTED", "architectures"},
      {R"({"model_type": "mistral"})", "MODEL_UNSUPPORTED", "model_type"},
      {R"({"model_type": "gemma", "architectures": null})", "MODEL_UNSUPPORTED", "model_type"},
      {R"({"model_type": null, "architectures": null})", "BAD_CHECKPOINT", "architectures"},
      {R"({"model_type": 7})", "BAD_CHECKPOINT", "model_type"},
      {R"({"hidden_act": "gelu"})", "MODEL_UNSUPPORTED", "hidden_act"},
      {R"({"hidden_act": 1})", "MODEL_UNSUPPORTED", "hidden_act"},
      {R"({"quantization_config": {"bits": 4}})", "MODEL_UNSUPPORTED", "quantization_config"},
      {R"({"auto_map": {"AutoModel": "evil.py"}})", "MODEL_UNSUPPORTED", "auto_map"},
      {R"({"sliding_window": 4096})", "MODEL_UNSUPPORTED", "sliding_window"},
      {R"({"partial_rotary_factor": 0.5})", "MODEL_UNSUPPORTED", "partial_rotary_factor"},
      {R"({"layer_types": ["full_attention", "sliding_attention"]})", "MODEL_UNSUPPORTED",
       "layer_types"},
      {R"({"rope_interleaved": true})", "MODEL_UNSUPPORTED", "rope_interleaved"},
      {R"({"is_encoder_decoder": true})", "MODEL_UNSUPPORTED", "is_encoder_decoder"},
      {R"({"vocab_size": null})", "BAD_CHECKPOINT", "vocab_size"},
      {R"({"vocab_size": 0})", "BAD_CHECKPOINT", "vocab_size"},
      {R"({"vocab_size": -5})", "BAD_CHECKPOINT", "vocab_size"},
      {R"({"vocab_size": 1e9})", "BAD_CHECKPOINT", "vocab_size"},
      {R"({"vocab_size": 18446744073709551615})", "BAD_CHECKPOINT", "vocab_size"},
      {R"({"vocab_size": "100"})", "BAD_CHECKPOINT", "vocab_size"},
      {R"({"vocab_size": 100.0})", "BAD_CHECKPOINT", "vocab_size"},
      {R"({"num_hidden_layers": 1000000})", "BAD_CHECKPOINT", "num_hidden_layers"},
      {R"({"num_attention_heads": 5})", "BAD_CHECKPOINT", "num_attention_heads"},
      {R"({"num_key_value_heads": 3})", "BAD_CHECKPOINT", "num_key_value_heads"},
      {R"({"head_dim": 7})", "BAD_CHECKPOINT", "head_dim"},
      {R"({"rms_norm_eps": -1})", "BAD_CHECKPOINT", "rms_norm_eps"},
      {R"({"rms_norm_eps": "1e-5"})", "BAD_CHECKPOINT", "rms_norm_eps"},
      {R"({"tie_word_embeddings": 1})", "BAD_CHECKPOINT", "tie_word_embeddings"},
      {R"({"attention_bias": "no"})", "BAD_CHECKPOINT", "attention_bias"},
      {R"({"bos_token_id": 100})", "BAD_CHECKPOINT", "bos_token_id"},
      {R"({"eos_token_id": [2, 100]})", "BAD_CHECKPOINT", "eos_token_id"},
      {R"({"eos_token_id": {}})", "BAD_CHECKPOINT", "eos_token_id"},
      {R"({"dtype": "int8"})", "MODEL_UNSUPPORTED", "dtype"},
      {R"({"dtype": "float32", "torch_dtype": "float16"})", "BAD_CHECKPOINT", "torch_dtype"},
      {R"({"rope_theta": 0})", "BAD_CHECKPOINT", "rope_theta"},
      {R"({"rope_theta": "10000"})", "BAD_CHECKPOINT", "rope_theta"},
      {R"({"rope_scaling": []})", "BAD_CHECKPOINT", "rope_scaling"},
      {R"({"rope_scaling": {"type": "dynamic", "factor": 4}})", "MODEL_UNSUPPORTED",
       "rope_scaling.rope_type"},
      {R"({"rope_scaling": {"type": "linear"}})", "BAD_CHECKPOINT", "rope_scaling.factor"},
      {R"({"rope_scaling": {"type": "linear", "factor": 0.5}})", "BAD_CHECKPOINT",
       "rope_scaling.factor"},
      {R"({"rope_scaling": {"type": "linear", "rope_type": "llama3", "factor": 2}})",
       "BAD_CHECKPOINT", "rope_scaling.type"},
      {R"({"rope_scaling": {"type": "linear", "factor": 2, "attention_factor": 3}})",
       "MODEL_UNSUPPORTED", "rope_scaling.\"attention_factor\""},
      {R"({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
           "high_freq_factor": 4}})",
       "BAD_CHECKPOINT", "rope_scaling.original_max_position_embeddings"},
      {R"({"rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
           "high_freq_factor": 4, "original_max_position_embeddings": 32}})",
       "BAD_CHECKPOINT", "rope_scaling.high_freq_factor"},
      {R"({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}})",
       "MODEL_UNSUPPORTED", "rope_parameters.partial_rotary_factor"},
      {R"({"rope_parameters": {"full_attention": {"rope_type": "default"}}})", "MODEL_UNSUPPORTED",
       "rope_parameters.\"full_attention\""},
      {R"({"rope_parameters": {"rope_theta": 500.0}, "rope_theta": 10000.0})", "BAD_CHECKPOINT",
       "rope_theta"},
      {R"({"rope_parameters": {"rope_theta": 500.0}, "rope_scaling": {"type": "linear",
           "factor": 2}})",
       "BAD_CHECKPOINT", "rope_scaling"},
  };
  for (const Edit& edit : edits) {
    Json json = Plain();
    json.update(Json::parse(edit.patch));
    const absl::Status status = Parse(json).status();
    EXPECT_EQ(ErrorReason(status), edit.reason) << edit.patch << " " << status;
    EXPECT_EQ(ErrorDetails(status)["field"], edit.field) << edit.patch;
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST(DecoderConfig, WhatIsUnderstood) {
  const auto with = [](const char* patch) {
    Json json = Plain();
    json.update(Json::parse(patch));
    auto config = Parse(json);
    EXPECT_TRUE(config.ok()) << patch << " " << config.status();
    return config.ok() ? *config : DecoderConfig{};
  };
  EXPECT_EQ(with(R"({"rope_scaling": {"type": "linear", "factor": 2}})").rope.factor, 2.0);
  EXPECT_EQ(with(R"({"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}})").rope.theta,
            5e5);
  EXPECT_EQ(with(R"({"rope_parameters": {"rope_type": "default", "rope_theta": 500},
                     "rope_theta": 500, "rope_scaling": null})")
                .rope.theta,
            500.0);
  EXPECT_EQ(with(R"({"eos_token_id": [2, 3]})").eos_token_ids, (std::vector<int32_t>{2, 3}));
  EXPECT_EQ(with(R"({"eos_token_id": null})").eos_token_ids, std::vector<int32_t>{});
  EXPECT_EQ(with(R"({"pad_token_id": -1})").pad_token_id, std::nullopt);
  EXPECT_EQ(with(R"({"torch_dtype": "bfloat16"})").dtype, DType::kBF16);
  EXPECT_EQ(with(R"({"dtype": "torch.float16"})").dtype, DType::kF16);
  EXPECT_EQ(with(R"({"head_dim": 6})").head_dim, 6);
  const DecoderConfig biased = with(R"({"attention_bias": true, "mlp_bias": true})");
  EXPECT_TRUE(biased.qkv_bias && biased.out_bias && biased.mlp_bias);
  EXPECT_EQ(with(R"({"my_own_note": 1, "layer_types": ["full_attention"]})").unknown_fields,
            std::vector<std::string>{"my_own_note"});
}

TEST(DecoderTensors, NamesAndShapesByHand) {
  Json json = Plain();
  json.update(Json::parse(R"({"num_hidden_layers": 1, "num_key_value_heads": 2, "head_dim": 6,
                              "attention_bias": true, "mlp_bias": true})"));
  std::map<std::string, std::vector<int64_t>> got;
  for (const TensorRule& rule : DecoderTensors(*Parse(json))) got[rule.name] = rule.shape;
  const std::string layer = "model.layers.0.";
  const std::map<std::string, std::vector<int64_t>> wanted = {
      {"model.embed_tokens.weight", {100, 32}},
      {layer + "input_layernorm.weight", {32}},
      {layer + "self_attn.q_proj.weight", {24, 32}},
      {layer + "self_attn.q_proj.bias", {24}},
      {layer + "self_attn.k_proj.weight", {12, 32}},
      {layer + "self_attn.k_proj.bias", {12}},
      {layer + "self_attn.v_proj.weight", {12, 32}},
      {layer + "self_attn.v_proj.bias", {12}},
      {layer + "self_attn.o_proj.weight", {32, 24}},
      {layer + "self_attn.o_proj.bias", {32}},
      {layer + "post_attention_layernorm.weight", {32}},
      {layer + "mlp.gate_proj.weight", {64, 32}},
      {layer + "mlp.gate_proj.bias", {64}},
      {layer + "mlp.up_proj.weight", {64, 32}},
      {layer + "mlp.up_proj.bias", {64}},
      {layer + "mlp.down_proj.weight", {32, 64}},
      {layer + "mlp.down_proj.bias", {32}},
      {"model.norm.weight", {32}},
      {"lm_head.weight", {100, 32}},
  };
  EXPECT_EQ(got, wanted);
}

// A folder with the tensors that `config` wants and `more`, every byte `fill`.
fs::path Made(const Json& json, std::vector<TensorInfo> more, DType dtype, char lm_head) {
  NewCheckpoint checkpoint{.out = FreshFolder() / "model", .config_json = json.dump()};
  for (const TensorRule& rule : DecoderTensors(*Parse(json))) {
    checkpoint.tensors.push_back({rule.name, dtype, rule.shape});
  }
  for (TensorInfo& tensor : more) checkpoint.tensors.push_back(std::move(tensor));
  checkpoint.provider = [lm_head](const TensorInfo& tensor, const BytesSink& sink) {
    return sink(std::string(*TensorBytes(tensor.dtype, tensor.shape),
                            tensor.name == "lm_head.weight" ? lm_head : 'w'));
  };
  EXPECT_TRUE(SaveNew(checkpoint).ok());
  return checkpoint.out;
}

TEST(CheckTensors, StoredExtras) {
  Json tied = Plain();
  tied["tie_word_embeddings"] = true;
  const DecoderConfig config = *Parse(tied);
  const auto check = [&](std::vector<TensorInfo> more, DType dtype = DType::kBF16,
                         char lm_head = 'w') {
    return CheckTensors(config,
                        *CheckpointFolder::Open(Made(tied, std::move(more), dtype, lm_head)));
  };
  EXPECT_TRUE(check({})->empty());
  const auto copy = check({{"lm_head.weight", DType::kBF16, {100, 32}}});
  ASSERT_TRUE(copy.ok()) << copy.status();
  ASSERT_EQ(copy->size(), 1u);
  EXPECT_EQ((*copy)[0].copy_of, "model.embed_tokens.weight");
  EXPECT_EQ(
      ErrorReason(check({{"lm_head.weight", DType::kBF16, {100, 32}}}, DType::kBF16, 'x').status()),
      "BAD_CHECKPOINT");  // tied by config.json, and yet different
  EXPECT_EQ(
      check({{"model.layers.1.self_attn.rotary_emb.inv_freq", DType::kF32, {4}}})->at(0).copy_of,
      "");
  EXPECT_EQ(ErrorReason(check({{"model.layers.9.adapter", DType::kF32, {4}}}).status()),
            "MODEL_UNSUPPORTED");
  EXPECT_EQ(ErrorReason(check({}, DType::kF64).status()), "MODEL_UNSUPPORTED");
}

}  // namespace
}  // namespace lethe
