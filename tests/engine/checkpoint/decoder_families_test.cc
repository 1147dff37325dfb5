// What config.json means in each family: defaults, dialects, windows, and what is refused by name.
#include "engine/checkpoint/decoder_families.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/status.h"
#include "engine/checkpoint/checkpoint_folder.h"
#include "engine/checkpoint/decoder_config.h"
#include "engine/checkpoint/decoder_tensors.h"
#include "tests/support/testdata.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using testing::ElementsAre;
using testing::IsEmpty;

// The least that each family's config.json must say.
Json Least(const std::string& architecture) {
  static const std::map<std::string, const char*> kFields = {
      {"LlamaForCausalLM", R"({"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4,
                               "num_attention_heads": 4})"},
      {"MistralForCausalLM", R"({"hidden_size": 32, "intermediate_size": 64,
                                 "num_hidden_layers": 4, "num_attention_heads": 8})"},
      {"Qwen2ForCausalLM", R"({"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 4,
                               "num_attention_heads": 32})"},
      {"Qwen3ForCausalLM", R"({"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 4,
                               "num_attention_heads": 32})"},
      {"GPT2LMHeadModel", R"({"n_embd": 32, "n_layer": 4, "n_head": 4})"},
      {"GPTNeoForCausalLM", R"({"hidden_size": 32, "num_layers": 4, "num_heads": 4,
                                "attention_types": [[["global", "local"], 2]]})"},
      {"GPTNeoXForCausalLM", R"({"hidden_size": 64, "intermediate_size": 64,
                                 "num_hidden_layers": 4, "num_attention_heads": 4})"},
      {"OPTForCausalLM", R"({"hidden_size": 32, "ffn_dim": 64, "num_hidden_layers": 4,
                             "num_attention_heads": 4})"},
  };
  Json json = Json::parse(kFields.at(architecture));
  json["architectures"] = {architecture};
  json["vocab_size"] = 100;
  return json;
}

absl::StatusOr<DecoderConfig> Parse(const std::string& architecture, const char* patch = "{}") {
  Json json = Least(architecture);
  json.update(Json::parse(patch));
  return ParseDecoderConfig(json.dump());
}

DecoderConfig With(const std::string& architecture, const char* patch = "{}") {
  const auto config = Parse(architecture, patch);
  EXPECT_TRUE(config.ok()) << architecture << " " << patch << " " << config.status();
  return config.ok() ? *config : DecoderConfig{};
}

// What transformers takes for absent fields.
TEST(Families, DefaultsAreThoseOfTheConfigClasses) {
  const DecoderConfig mistral = With("MistralForCausalLM");
  EXPECT_EQ(mistral.num_kv_heads, 8);
  EXPECT_EQ(mistral.context, 131072);
  EXPECT_THAT(mistral.windows, ElementsAre(4096, 4096, 4096, 4096));
  EXPECT_EQ(mistral.bos_token_id, 1);

  const DecoderConfig qwen2 = With("Qwen2ForCausalLM");
  EXPECT_EQ(qwen2.num_kv_heads, 32);
  EXPECT_TRUE(qwen2.qkv_bias && !qwen2.out_bias && !qwen2.mlp_bias && !qwen2.head_norms);
  EXPECT_THAT(qwen2.windows, ElementsAre(0, 0, 0, 0));
  EXPECT_EQ(qwen2.bos_token_id, std::nullopt);
  EXPECT_THAT(qwen2.eos_token_ids, IsEmpty());

  const DecoderConfig qwen3 = With("Qwen3ForCausalLM");
  EXPECT_EQ(qwen3.head_dim, 128);
  EXPECT_TRUE(qwen3.head_norms && !qwen3.qkv_bias && !qwen3.out_bias);

  const DecoderConfig gpt2 = With("GPT2LMHeadModel");
  EXPECT_EQ(gpt2.norm, Norm::kLayer);
  EXPECT_EQ(gpt2.norm_eps, 1e-5);
  EXPECT_EQ(gpt2.intermediate_size, 128);
  EXPECT_EQ(gpt2.context, 1024);
  EXPECT_EQ(gpt2.activation, Activation::kGeluTanh);
  EXPECT_EQ(gpt2.positions, Positions::kLearned);
  EXPECT_EQ(gpt2.RotaryDim(), 0);
  EXPECT_TRUE(gpt2.tied_embeddings && gpt2.qkv_bias && gpt2.out_bias && gpt2.mlp_bias);
  EXPECT_EQ(gpt2.ScoreScale(3), 1 / std::sqrt(8.0));
  EXPECT_EQ(gpt2.bos_token_id, std::nullopt);  // 50256 is not in a vocabulary of 100

  const DecoderConfig neo = With("GPTNeoForCausalLM");
  EXPECT_EQ(neo.ScoreScale(0), 1.0);
  EXPECT_THAT(neo.windows, ElementsAre(0, 256, 0, 256));
  EXPECT_TRUE(neo.tied_embeddings && !neo.qkv_bias && neo.out_bias && neo.mlp_bias);

  const DecoderConfig neox = With("GPTNeoXForCausalLM");
  EXPECT_EQ(neox.RotaryDim(), 4);  // a quarter of 16
  EXPECT_EQ(neox.activation, Activation::kGelu);
  EXPECT_TRUE(neox.parallel_parts && neox.qkv_bias && neox.out_bias && neox.mlp_bias);
  EXPECT_FALSE(neox.tied_embeddings);
  EXPECT_EQ(neox.bos_token_id, 0);

  const DecoderConfig opt = With("OPTForCausalLM");
  EXPECT_EQ(opt.position_offset, 2);
  EXPECT_EQ(opt.activation, Activation::kRelu);
  EXPECT_EQ(opt.norm_eps, 1e-5);
  EXPECT_TRUE(opt.final_norm && !opt.norm_after && opt.norm_weights && opt.tied_embeddings);
  EXPECT_EQ(opt.EmbeddingSize(), 32);
  EXPECT_EQ(opt.pad_token_id, 1);
}

TEST(Families, FieldsThatChangeWhatIsComputed) {
  EXPECT_EQ(With("GPT2LMHeadModel", R"({"n_inner": 48})").intermediate_size, 48);
  EXPECT_EQ(With("GPT2LMHeadModel", R"({"n_inner": null})").intermediate_size, 128);
  EXPECT_EQ(With("GPT2LMHeadModel", R"({"scale_attn_weights": false})").ScoreScale(2), 1.0);
  EXPECT_EQ(With("GPT2LMHeadModel",
                 R"({"scale_attn_weights": false, "scale_attn_by_inverse_layer_idx": true})")
                .ScoreScale(3),
            0.25);
  EXPECT_EQ(With("GPT2LMHeadModel", R"({"activation_function": "relu"})").activation,
            Activation::kRelu);
  EXPECT_FALSE(With("GPTNeoXForCausalLM", R"({"use_parallel_residual": false})").parallel_parts);
  EXPECT_FALSE(With("GPTNeoXForCausalLM", R"({"attention_bias": false})").qkv_bias);
  EXPECT_EQ(With("MistralForCausalLM", R"({"num_key_value_heads": null})").num_kv_heads, 8);
  EXPECT_EQ(With("Qwen3ForCausalLM", R"({"num_key_value_heads": 4, "head_dim": 6})").head_dim, 6);
  const DecoderConfig after =
      With("OPTForCausalLM", R"({"do_layer_norm_before": false, "word_embed_proj_dim": 16,
                            "enable_bias": false, "layer_norm_elementwise_affine": false})");
  EXPECT_TRUE(after.norm_after && !after.final_norm && !after.qkv_bias && !after.mlp_bias);
  EXPECT_FALSE(after.norm_weights);
  EXPECT_EQ(after.EmbeddingSize(), 16);
  EXPECT_FALSE(With("OPTForCausalLM", R"({"_remove_final_layer_norm": true})").final_norm);
}

TEST(Families, Windows) {
  const auto windows = [](const char* family, const char* patch) {
    return With(family, patch).windows;
  };
  EXPECT_THAT(windows("MistralForCausalLM", R"({"sliding_window": null})"), IsEmpty());
  EXPECT_THAT(windows("MistralForCausalLM", R"({"sliding_window": 5})"), ElementsAre(5, 5, 5, 5));
  EXPECT_THAT(windows("Qwen2ForCausalLM", R"({"sliding_window": 5, "max_window_layers": 1})"),
              ElementsAre(0, 0, 0, 0));  // use_sliding_window is false
  EXPECT_THAT(windows("Qwen2ForCausalLM", R"({"use_sliding_window": true, "sliding_window": 5,
                                              "max_window_layers": 1})"),
              ElementsAre(0, 5, 5, 5));
  EXPECT_THAT(windows("Qwen3ForCausalLM",
                      R"({"use_sliding_window": true, "sliding_window": 5, "max_window_layers": 1,
                          "layer_types": ["sliding_attention", "full_attention", "full_attention",
                                          "sliding_attention"]})"),
              ElementsAre(5, 0, 0, 5));
  EXPECT_THAT(windows("GPTNeoForCausalLM", R"({"attention_types": [[["local"], 1],
                                               [["global", "global", "local"], 1]],
                                               "window_size": 9})"),
              ElementsAre(9, 0, 0, 9));
  EXPECT_THAT(windows("GPTNeoForCausalLM",
                      R"({"attention_types": null, "window_size": 9,
                          "attention_layers": ["global", "local", "local", "local"]})"),
              ElementsAre(0, 9, 9, 9));
}

// What the embedding does not learn at: where the model class passes padding_idx.
TEST(Families, PaddingRow) {
  const char* pad = R"({"pad_token_id": 7})";
  for (const char* family : {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM",
                             "Qwen3ForCausalLM", "OPTForCausalLM"}) {
    EXPECT_EQ(With(family, pad).padding_row, 7) << family;
    EXPECT_EQ(With(family, R"({"pad_token_id": null})").padding_row, std::nullopt) << family;
    EXPECT_EQ(With(family, R"({"pad_token_id": -1})").padding_row, 99) << family;
  }
  for (const char* family : {"GPT2LMHeadModel", "GPTNeoForCausalLM", "GPTNeoXForCausalLM"}) {
    EXPECT_EQ(With(family, pad).padding_row, std::nullopt) << family;
    EXPECT_EQ(With(family, pad).pad_token_id, 7) << family;
  }
  EXPECT_EQ(With("OPTForCausalLM").padding_row, 1);
}

// GPT-NeoX in the dialects of three times: the hub's first files, transformers 4 and 5.
TEST(Families, DialectsOfNeoX) {
  const RopeConfig want = With("GPTNeoXForCausalLM", R"({"rope_parameters": {"rope_type": "linear",
      "factor": 2, "rope_theta": 500, "partial_rotary_factor": 0.5}})")
                              .rope;
  EXPECT_EQ(want.theta, 500);
  EXPECT_EQ(want.fraction, 0.5);
  EXPECT_EQ(With("GPTNeoXForCausalLM", R"({"rotary_emb_base": 500, "rotary_pct": 0.5,
      "rope_scaling": {"type": "linear", "factor": 2}})")
                .rope,
            want);
  EXPECT_EQ(With("GPTNeoXForCausalLM", R"({"rotary_emb_base": 500, "rotary_pct": 0.5,
      "rope_theta": 500, "partial_rotary_factor": 0.5,
      "rope_scaling": {"rope_type": "linear", "factor": 2}})")
                .rope,
            want);
  EXPECT_EQ(With("GPTNeoXForCausalLM", R"({"rotary_pct": 1})").RotaryDim(), 16);
}

TEST(Families, Yarn) {
  const RopeConfig plain = With("LlamaForCausalLM", R"({"max_position_embeddings": 64,
      "rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": 16}})")
                               .rope;
  EXPECT_EQ(plain.type, RopeType::kYarn);
  EXPECT_EQ(plain.original_context, 16);
  EXPECT_EQ(plain.beta_fast, 32);
  EXPECT_EQ(plain.beta_slow, 1);
  EXPECT_TRUE(plain.truncate);
  EXPECT_DOUBLE_EQ(plain.attention_factor, 0.1 * std::log(4.0) + 1);
  const RopeConfig more = With("LlamaForCausalLM", R"({"max_position_embeddings": 64,
      "rope_parameters": {"rope_type": "yarn", "factor": 4, "mscale": 2, "mscale_all_dim": 0.5,
                          "beta_fast": 8, "beta_slow": 2, "truncate": false,
                          "rope_theta": 500}})")
                              .rope;
  EXPECT_EQ(more.original_context, 64);  // the context, where it is not said
  EXPECT_EQ(more.beta_fast, 8);
  EXPECT_EQ(more.beta_slow, 2);
  EXPECT_FALSE(more.truncate);
  EXPECT_DOUBLE_EQ(more.attention_factor, (0.2 * std::log(4.0) + 1) / (0.05 * std::log(4.0) + 1));
  EXPECT_EQ(With("LlamaForCausalLM", R"({"rope_scaling": {"type": "yarn", "factor": 4,
      "attention_factor": 1.5}})")
                .rope.attention_factor,
            1.5);
}

struct Refusal {
  const char* architecture;
  const char* patch;
  const char* reason;
  const char* field;
};

TEST(Families, WhatIsNotUnderstoodIsRefusedByName) {
  const Refusal refusals[] = {
      {"MistralForCausalLM", R"({"hidden_act": "gelu"})", "MODEL_UNSUPPORTED", "hidden_act"},
      {"MistralForCausalLM", R"({"sliding_window": 0})", "BAD_CHECKPOINT", "sliding_window"},
      {"MistralForCausalLM", R"({"sliding_window": "5"})", "BAD_CHECKPOINT", "sliding_window"},
      {"MistralForCausalLM", R"({"layer_types": ["full_attention"]})", "MODEL_UNSUPPORTED",
       "layer_types"},
      {"MistralForCausalLM", R"({"model_type": "llama"})", "MODEL_UNSUPPORTED", "model_type"},
      {"Qwen2ForCausalLM", R"({"use_sliding_window": 1})", "BAD_CHECKPOINT", "use_sliding_window"},
      {"Qwen2ForCausalLM", R"({"layer_types": ["full_attention"]})", "BAD_CHECKPOINT",
       "layer_types"},
      {"Qwen2ForCausalLM", R"({"layer_types": ["full_attention", "full_attention",
          "full_attention", "sliding_attention"]})",
       "MODEL_UNSUPPORTED", "layer_types"},
      {"Qwen2ForCausalLM", R"({"layer_types": ["full_attention", "full_attention",
          "full_attention", "linear_attention"]})",
       "MODEL_UNSUPPORTED", "layer_types"},
      {"Qwen2ForCausalLM", R"({"use_mrope": true})", "MODEL_UNSUPPORTED", "use_mrope"},
      {"Qwen2ForCausalLM", R"({"rope_scaling": {"type": "mrope", "mrope_section": [1, 1]}})",
       "MODEL_UNSUPPORTED", "rope_scaling.rope_type"},
      {"Qwen3ForCausalLM", R"({"head_dim": 7})", "BAD_CHECKPOINT", "head_dim"},
      {"Qwen3ForCausalLM", R"({"partial_rotary_factor": 0.5})", "MODEL_UNSUPPORTED",
       "partial_rotary_factor"},
      {"LlamaForCausalLM", R"({"use_sliding_window": true})", "MODEL_UNSUPPORTED",
       "use_sliding_window"},
      {"LlamaForCausalLM", R"({"rope_scaling": {"type": "longrope", "factor": 4}})",
       "MODEL_UNSUPPORTED", "rope_scaling.rope_type"},
      {"LlamaForCausalLM", R"({"rope_scaling": {"type": "yarn"}})", "BAD_CHECKPOINT",
       "rope_scaling.factor"},
      {"LlamaForCausalLM", R"({"rope_scaling": {"type": "yarn", "factor": 4, "finetuned": true}})",
       "MODEL_UNSUPPORTED", "rope_scaling.\"finetuned\""},
      {"LlamaForCausalLM", R"({"rope_scaling": {"type": "yarn", "factor": 4, "truncate": 1}})",
       "BAD_CHECKPOINT", "rope_scaling.truncate"},
      {"LlamaForCausalLM", R"({"original_max_position_embeddings": 32, "rope_scaling":
          {"type": "yarn", "factor": 4, "original_max_position_embeddings": 16}})",
       "BAD_CHECKPOINT", "original_max_position_embeddings"},
      {"GPT2LMHeadModel", R"({"activation_function": "tanh"})", "MODEL_UNSUPPORTED",
       "activation_function"},
      {"GPT2LMHeadModel", R"({"activation_function": "silu"})", "MODEL_UNSUPPORTED",
       "activation_function"},
      {"GPT2LMHeadModel", R"({"add_cross_attention": true})", "MODEL_UNSUPPORTED",
       "add_cross_attention"},
      {"GPT2LMHeadModel", R"({"n_embd": null, "hidden_size": 32})", "BAD_CHECKPOINT", "n_embd"},
      {"GPT2LMHeadModel", R"({"n_head": 5})", "BAD_CHECKPOINT", "n_head"},
      {"GPT2LMHeadModel", R"({"scale_attn_weights": 1})", "BAD_CHECKPOINT", "scale_attn_weights"},
      {"GPT2LMHeadModel", R"({"sliding_window": 8})", "MODEL_UNSUPPORTED", "sliding_window"},
      {"GPT2LMHeadModel", R"({"architectures": ["GPT2DoubleHeadsModel"]})", "MODEL_UNSUPPORTED",
       "architectures"},
      {"GPTNeoForCausalLM", R"({"attention_types": [[["global"], 3]]})", "BAD_CHECKPOINT",
       "attention_types"},
      {"GPTNeoForCausalLM", R"({"attention_types": null})", "BAD_CHECKPOINT", "attention_types"},
      {"GPTNeoForCausalLM", R"({"attention_types": ["global", 4]})", "BAD_CHECKPOINT",
       "attention_types"},
      {"GPTNeoForCausalLM", R"({"attention_types": [[[], 1000000000000], [["global"], 4]]})",
       "BAD_CHECKPOINT", "attention_types"},
      {"GPTNeoForCausalLM", R"({"attention_types": [[["global"], 1000000000000]]})",
       "BAD_CHECKPOINT", "attention_types"},
      {"GPTNeoForCausalLM", R"({"attention_types": [[["global", "sparse"], 2]]})",
       "MODEL_UNSUPPORTED", "attention_types"},
      {"GPTNeoForCausalLM", R"({"attention_layers": ["local", "local", "local", "local"]})",
       "BAD_CHECKPOINT", "attention_layers"},
      {"GPTNeoForCausalLM", R"({"window_size": 0})", "BAD_CHECKPOINT", "window_size"},
      {"GPTNeoXForCausalLM", R"({"rotary_pct": 0.3125})", "MODEL_UNSUPPORTED", "rotary_pct"},
      {"GPTNeoXForCausalLM", R"({"rotary_pct": 2})", "BAD_CHECKPOINT", "rotary_pct"},
      {"GPTNeoXForCausalLM", R"({"rotary_pct": 0.5, "rope_parameters":
          {"rope_type": "default", "partial_rotary_factor": 0.25}})",
       "BAD_CHECKPOINT", "rotary_pct"},
      {"GPTNeoXForCausalLM", R"({"rotary_emb_base": 500, "rope_theta": 10000})", "BAD_CHECKPOINT",
       "rope_theta"},
      {"GPTNeoXForCausalLM", R"({"hidden_act": "swish"})", "MODEL_UNSUPPORTED", "hidden_act"},
      {"GPTNeoXForCausalLM", R"({"use_parallel_residual": "yes"})", "BAD_CHECKPOINT",
       "use_parallel_residual"},
      {"OPTForCausalLM", R"({"activation_function": "gelu_10"})", "MODEL_UNSUPPORTED",
       "activation_function"},
      {"OPTForCausalLM", R"({"word_embed_proj_dim": 0})", "BAD_CHECKPOINT", "word_embed_proj_dim"},
      {"OPTForCausalLM", R"({"do_layer_norm_before": "no"})", "BAD_CHECKPOINT",
       "do_layer_norm_before"},
      {"OPTForCausalLM", R"({"pad_token_id": 100})", "BAD_CHECKPOINT", "pad_token_id"},
      {"OPTForCausalLM", R"({"ffn_dim": null})", "BAD_CHECKPOINT", "ffn_dim"},
  };
  for (const Refusal& refusal : refusals) {
    const absl::Status status = Parse(refusal.architecture, refusal.patch).status();
    EXPECT_EQ(ErrorReason(status), refusal.reason)
        << refusal.architecture << " " << refusal.patch << " " << status;
    EXPECT_EQ(ErrorDetails(status)["field"], refusal.field)
        << refusal.architecture << " " << refusal.patch;
  }
  for (const FamilyRow& row : DecoderFamilies()) {
    const std::string family(row.architecture);
    for (const char* patch :
         {R"({"quantization_config": {"bits": 4}})", R"({"auto_map": {"AutoModel": "evil.py"}})",
          R"({"is_encoder_decoder": true})", R"({"dtype": "int8"})",
          R"({"peft_config": {"r": 8}})"}) {
      const absl::Status status = Parse(family, patch).status();
      EXPECT_EQ(ErrorReason(status), "MODEL_UNSUPPORTED") << family << " " << patch;
      EXPECT_EQ(ErrorDetails(status)["field"], Json::parse(patch).begin().key()) << family;
    }
  }
}

TEST(Families, HarmlessFieldsAreKnownAndOthersAreListed) {
  for (const FamilyRow& row : DecoderFamilies()) {
    const std::string family(row.architecture);
    EXPECT_THAT(With(family).unknown_fields, IsEmpty()) << family;
    EXPECT_THAT(With(family, R"({"use_cache": true, "my_own_note": 1})").unknown_fields,
                ElementsAre("my_own_note"))
        << family;
  }
}

// Every folder of the test data: understood whole, and nothing in it that is not known.
TEST(Families, FoldersOfTheTestData) {
  LETHE_TESTDATA_OR_SKIP(const fs::path root, "models");
  const std::map<std::string, size_t> extras = {{"tiny_gpt2_hub", 2},  // a mask a layer
                                                {"tiny_gpt_neo", 9},   // two, and the tied output
                                                {"tiny_gpt_neox_hub", 6}};
  int folders = 0;
  for (const auto& entry : fs::directory_iterator(root)) {
    const std::string name = entry.path().filename();
    SCOPED_TRACE(name);
    const auto folder = CheckpointFolder::Open(entry.path());
    ASSERT_TRUE(folder.ok()) << folder.status();
    const auto config = ReadDecoderConfig(*folder);
    ASSERT_TRUE(config.ok()) << config.status();
    EXPECT_THAT(config->unknown_fields, IsEmpty());
    EXPECT_EQ(config->bare_names, name == "tiny_gpt2_hub");
    const auto stored = CheckTensors(*config, *folder);
    ASSERT_TRUE(stored.ok()) << stored.status();
    EXPECT_EQ(stored->size(), extras.count(name) > 0 ? extras.at(name) : 0);
    EXPECT_EQ(DecoderTensors(*config).size() + stored->size(), folder->tensors().size());
    ++folders;
  }
  EXPECT_GE(folders, 11);
}

TEST(DecoderTensors, LayoutsOfTheFamilies) {
  const auto shape_of = [](const char* family, const std::string& name) {
    for (const TensorRule& rule : DecoderTensors(With(family))) {
      if (rule.name == name) return rule.shape;
    }
    return std::vector<int64_t>{};
  };
  EXPECT_THAT(shape_of("GPT2LMHeadModel", "transformer.h.3.attn.c_attn.weight"),
              ElementsAre(32, 96));  // inputs first
  EXPECT_THAT(shape_of("GPT2LMHeadModel", "transformer.h.0.mlp.c_proj.weight"),
              ElementsAre(128, 32));
  EXPECT_THAT(shape_of("GPTNeoXForCausalLM", "gpt_neox.layers.0.attention.query_key_value.weight"),
              ElementsAre(192, 64));
  EXPECT_THAT(shape_of("OPTForCausalLM", "model.decoder.embed_positions.weight"),
              ElementsAre(2050, 32));
  EXPECT_THAT(shape_of("Qwen3ForCausalLM", "model.layers.0.self_attn.q_norm.weight"),
              ElementsAre(128));
}

}  // namespace
}  // namespace lethe
