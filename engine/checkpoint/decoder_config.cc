#include "engine/checkpoint/decoder_config.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "engine/checkpoint/checked_json.h"
#include "engine/checkpoint/decoder_families.h"

namespace lethe {
namespace {

using Json = nlohmann::json;

absl::Status Bad(std::string_view field, std::string_view what) {
  const std::string name(field);
  return Error(
      absl::StatusCode::kInvalidArgument, "BAD_CHECKPOINT",
      absl::StrCat("config.json: ", name, " ", absl::string_view(what.data(), what.size())),
      {{"field", name}});
}

absl::Status Unsupported(std::string_view field, std::string_view what) {
  const std::string name(field);
  return Error(
      absl::StatusCode::kInvalidArgument, "MODEL_UNSUPPORTED",
      absl::StrCat("config.json: ", name, " ", absl::string_view(what.data(), what.size())),
      {{"field", name}});
}

// A value as a message may show it.
std::string Shown(const Json& value) {
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 60) + "…";
  return text;
}

// Typed access to the fields of an object; absent and null are the same here, as in transformers.
class Fields {
 public:
  explicit Fields(const Json& object, std::string prefix = "")
      : object_(object), prefix_(std::move(prefix)) {}

  const Json* Find(const char* name) const {
    const auto found = object_.find(name);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  std::string Name(const char* name) const { return prefix_ + name; }

  absl::Status Count(const char* name, int64_t least, int64_t most, int64_t* out,
                     std::optional<int64_t> otherwise = std::nullopt) const {
    const Json* value = Find(name);
    if (value == nullptr) {
      if (!otherwise.has_value()) return Bad(Name(name), "is missing");
      *out = *otherwise;
      return absl::OkStatus();
    }
    const bool fits = value->is_number_integer() &&
                      (!value->is_number_unsigned() ||
                       value->get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()});
    if (!fits || value->get<int64_t>() < least || value->get<int64_t>() > most) {
      return Bad(Name(name), absl::StrCat("must be a whole number from ", least, " to ", most,
                                          "; it is ", Shown(*value)));
    }
    *out = value->get<int64_t>();
    return absl::OkStatus();
  }

  absl::Status Real(const char* name, double least, double most, double* out,
                    std::optional<double> otherwise = std::nullopt) const {
    const Json* value = Find(name);
    if (value == nullptr) {
      if (!otherwise.has_value()) return Bad(Name(name), "is missing");
      *out = *otherwise;
      return absl::OkStatus();
    }
    if (!value->is_number() || !(value->get<double>() >= least && value->get<double>() <= most)) {
      return Bad(Name(name), absl::StrCat("must be a number from ", least, " to ", most, "; it is ",
                                          Shown(*value)));
    }
    *out = value->get<double>();
    return absl::OkStatus();
  }

  absl::Status Truth(const char* name, bool otherwise, bool* out) const {
    const Json* value = Find(name);
    *out = otherwise;
    if (value == nullptr) return absl::OkStatus();
    if (!value->is_boolean()) return Bad(Name(name), "must be true or false");
    *out = value->get<bool>();
    return absl::OkStatus();
  }

  absl::Status Text(const char* name, std::string_view otherwise, std::string* out) const {
    const Json* value = Find(name);
    *out = otherwise;
    if (value == nullptr) return absl::OkStatus();
    if (!value->is_string()) return Bad(Name(name), "must be a string");
    *out = value->get<std::string>();
    return absl::OkStatus();
  }

 private:
  const Json& object_;
  const std::string prefix_;
};

constexpr int64_t kMost = int64_t{1} << 24;  // of any single size: no product of two leaves 63 bits

absl::StatusOr<const FamilyRow*> FindFamily(const Json& json) {
  const Fields fields(json);
  std::string model_type;
  LETHE_RETURN_IF_ERROR(fields.Text("model_type", "", &model_type));
  const Json* architectures = fields.Find("architectures");
  std::string architecture;
  if (architectures != nullptr) {
    if (!architectures->is_array() || architectures->size() != 1 ||
        !architectures->at(0).is_string()) {
      return Unsupported("architectures", "must name one architecture");
    }
    architecture = architectures->at(0).get<std::string>();
  }
  if (architecture.empty() && model_type.empty()) {
    return Bad("architectures", "and model_type are missing");
  }
  for (const FamilyRow& row : DecoderFamilies()) {
    const bool architecture_fits = architecture.empty() || architecture == row.architecture;
    const bool type_fits = model_type.empty() || model_type == row.model_type;
    if (architecture_fits && type_fits) return &row;
    if (!architecture.empty() && architecture_fits) {
      return Unsupported("model_type", absl::StrCat("is ", Shown(Json(model_type)), " beside ",
                                                    Shown(Json(architecture))));
    }
  }
  std::string known;
  for (const FamilyRow& row : DecoderFamilies()) {
    absl::StrAppend(&known, known.empty() ? "" : ", ", std::string(row.architecture));
  }
  return Unsupported(
      architecture.empty() ? "model_type" : "architectures",
      absl::StrCat("is ", Shown(Json(architecture.empty() ? model_type : architecture)),
                   "; supported are ", known));
}

// Fields that would change what is computed, whose only understood value is "off".
absl::Status RefuseSwitches(const Json& json) {
  for (const char* name :
       {"quantization_config", "compression_config", "auto_map", "sliding_window",
        "partial_rotary_factor", "layer_types", "adapter_config", "peft_config"}) {
    const auto found = json.find(name);
    if (found == json.end() || found->is_null()) continue;
    const bool whole_rotary = std::string_view(name) == "partial_rotary_factor" &&
                              found->is_number() && found->get<double>() == 1.0;
    const bool all_full = std::string_view(name) == "layer_types" && found->is_array() &&
                          std::all_of(found->begin(), found->end(),
                                      [](const Json& type) { return type == "full_attention"; });
    if (whole_rotary || all_full) continue;
    return Unsupported(name, absl::StrCat("is ", Shown(*found), ", which is not supported"));
  }
  for (const char* name : {"is_encoder_decoder", "add_cross_attention", "rope_interleaved"}) {
    const auto found = json.find(name);
    if (found == json.end() || found->is_null() || *found == false) continue;
    return Unsupported(name, absl::StrCat("is ", Shown(*found), ", which is not supported"));
  }
  const auto act = json.find("hidden_act");
  if (act != json.end() && *act != "silu") {
    return Unsupported("hidden_act", absl::StrCat("is ", Shown(*act), "; supported is \"silu\""));
  }
  return absl::OkStatus();
}

// One dialect's RoPE: `object` holds rope_type (or type) and its numbers.
absl::StatusOr<RopeConfig> ParseRope(const Json& object, const std::string& name,
                                     std::optional<double> theta) {
  if (!object.is_object()) return Bad(name, "must be an object");
  const Fields fields(object, name + ".");
  RopeConfig rope;
  LETHE_RETURN_IF_ERROR(
      fields.Real("rope_theta", 1e-3, 1e15, &rope.theta, theta.value_or(10000.0)));
  std::string type, old_type;
  LETHE_RETURN_IF_ERROR(fields.Text("rope_type", "", &type));
  LETHE_RETURN_IF_ERROR(fields.Text("type", "", &old_type));
  if (!type.empty() && !old_type.empty() && type != old_type) {
    return Bad(name + ".type", "and rope_type say different things");
  }
  if (type.empty()) type = old_type.empty() ? "default" : old_type;
  std::vector<std::string_view> known = {"rope_type", "type", "rope_theta",
                                         "partial_rotary_factor"};
  if (type == "default") {
    // `factor` and the like beside "default" are not read by transformers either.
  } else if (type == "linear") {
    rope.type = RopeType::kLinear;
    known.push_back("factor");
    LETHE_RETURN_IF_ERROR(fields.Real("factor", 1.0, 1e6, &rope.factor));
  } else if (type == "llama3") {
    rope.type = RopeType::kLlama3;
    for (const char* field :
         {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}) {
      known.emplace_back(field);
    }
    LETHE_RETURN_IF_ERROR(fields.Real("factor", 1.0, 1e6, &rope.factor));
    LETHE_RETURN_IF_ERROR(fields.Real("low_freq_factor", 1e-6, 1e6, &rope.low_freq_factor));
    LETHE_RETURN_IF_ERROR(fields.Real("high_freq_factor", 1e-6, 1e6, &rope.high_freq_factor));
    LETHE_RETURN_IF_ERROR(
        fields.Count("original_max_position_embeddings", 1, kMost, &rope.original_context));
    if (rope.high_freq_factor <= rope.low_freq_factor) {
      return Bad(name + ".high_freq_factor", "must be above low_freq_factor");
    }
  } else {
    return Unsupported(name + ".rope_type",
                       absl::StrCat("is ", Shown(Json(type)),
                                    "; supported are \"default\", \"linear\" and \"llama3\""));
  }
  for (const auto& item : object.items()) {
    if (std::find(known.begin(), known.end(), item.key()) == known.end() &&
        !item.value().is_null()) {
      return Unsupported(name + "." + Shown(Json(item.key())), "is not understood");
    }
  }
  if (const Json* partial = fields.Find("partial_rotary_factor"); partial != nullptr) {
    if (!partial->is_number() || partial->get<double>() != 1.0) {
      return Unsupported(name + ".partial_rotary_factor", "must be 1");
    }
  }
  return rope;
}

bool Same(const RopeConfig& a, const RopeConfig& b) {
  return a.type == b.type && a.theta == b.theta && a.factor == b.factor &&
         a.low_freq_factor == b.low_freq_factor && a.high_freq_factor == b.high_freq_factor &&
         a.original_context == b.original_context;
}

absl::StatusOr<RopeConfig> ParseRopeDialects(const Json& json) {
  const Fields fields(json);
  std::optional<double> theta;
  if (fields.Find("rope_theta") != nullptr) {
    double value = 0;
    LETHE_RETURN_IF_ERROR(fields.Real("rope_theta", 1e-3, 1e15, &value));
    theta = value;
  }
  const Json* parameters = fields.Find("rope_parameters");
  const Json* scaling = fields.Find("rope_scaling");
  std::optional<RopeConfig> rope;
  if (parameters != nullptr) {
    LETHE_ASSIGN_OR_RETURN(rope, ParseRope(*parameters, "rope_parameters", theta));
    if (theta.has_value() && rope->theta != *theta) {
      return Bad("rope_theta", "and rope_parameters.rope_theta say different things");
    }
  }
  if (scaling != nullptr) {
    const std::optional<double> known_theta = rope.has_value() ? rope->theta : theta;
    LETHE_ASSIGN_OR_RETURN(const RopeConfig old, ParseRope(*scaling, "rope_scaling", known_theta));
    if (rope.has_value() && !Same(*rope, old)) {
      return Bad("rope_scaling", "and rope_parameters say different things");
    }
    rope = old;
  }
  if (!rope.has_value()) {
    rope = RopeConfig{};
    if (theta.has_value()) rope->theta = *theta;
  }
  return *rope;
}

absl::Status ParseSizes(const Fields& fields, DecoderConfig* config) {
  LETHE_RETURN_IF_ERROR(fields.Count("vocab_size", 1, kMost, &config->vocab_size));
  LETHE_RETURN_IF_ERROR(fields.Count("hidden_size", 1, kMost, &config->hidden_size));
  LETHE_RETURN_IF_ERROR(fields.Count("intermediate_size", 1, kMost, &config->intermediate_size));
  LETHE_RETURN_IF_ERROR(fields.Count("num_hidden_layers", 1, 4096, &config->num_layers));
  LETHE_RETURN_IF_ERROR(fields.Count("num_attention_heads", 1, 1 << 16, &config->num_heads));
  LETHE_RETURN_IF_ERROR(
      fields.Count("num_key_value_heads", 1, 1 << 16, &config->num_kv_heads, config->num_heads));
  if (config->num_heads % config->num_kv_heads != 0) {
    return Bad("num_key_value_heads", "must divide num_attention_heads");
  }
  if (fields.Find("head_dim") == nullptr && config->hidden_size % config->num_heads != 0) {
    return Bad("num_attention_heads", "must divide hidden_size where head_dim is not given");
  }
  LETHE_RETURN_IF_ERROR(fields.Count("head_dim", 1, 1 << 16, &config->head_dim,
                                     config->hidden_size / config->num_heads));
  if (config->head_dim % 2 != 0) return Bad("head_dim", "must be even: RoPE turns pairs");
  LETHE_RETURN_IF_ERROR(fields.Count("max_position_embeddings", 1, kMost, &config->context, 2048));
  LETHE_RETURN_IF_ERROR(fields.Real("rms_norm_eps", 0, 1, &config->rms_norm_eps, 1e-6));
  return fields.Real("initializer_range", 0, 1e3, &config->initializer_range, 0.02);
}

absl::Status ParseBiases(const Fields& fields, DecoderConfig* config) {
  LETHE_RETURN_IF_ERROR(fields.Truth("tie_word_embeddings", false, &config->tied_embeddings));
  LETHE_RETURN_IF_ERROR(fields.Truth("attention_bias", false, &config->qkv_bias));
  config->out_bias = config->qkv_bias;
  return fields.Truth("mlp_bias", false, &config->mlp_bias);
}

// An id; `absent` is what transformers takes for a field that is not there at all.
absl::StatusOr<std::optional<int32_t>> TokenId(const Json& json, const char* name,
                                               std::optional<int32_t> absent, int64_t vocab_size) {
  const auto found = json.find(name);
  if (found == json.end()) {
    if (absent.has_value() && *absent >= vocab_size) return std::nullopt;
    return absent;
  }
  if (found->is_null()) return std::nullopt;
  int64_t id = 0;
  LETHE_RETURN_IF_ERROR(Fields(json).Count(name, -1, vocab_size - 1, &id));
  if (id < 0) return std::nullopt;  // -1: some writers' word for "none"
  return static_cast<int32_t>(id);
}

absl::Status ParseTokenIds(const Json& json, DecoderConfig* config) {
  LETHE_ASSIGN_OR_RETURN(config->bos_token_id,
                         TokenId(json, "bos_token_id", 1, config->vocab_size));
  LETHE_ASSIGN_OR_RETURN(config->pad_token_id,
                         TokenId(json, "pad_token_id", std::nullopt, config->vocab_size));
  const auto eos = json.find("eos_token_id");
  if (eos != json.end() && eos->is_array()) {
    for (const Json& id : *eos) {
      LETHE_ASSIGN_OR_RETURN(
          const std::optional<int32_t> one,
          TokenId(Json{{"eos_token_id", id}}, "eos_token_id", std::nullopt, config->vocab_size));
      if (one.has_value()) config->eos_token_ids.push_back(*one);
    }
    return absl::OkStatus();
  }
  LETHE_ASSIGN_OR_RETURN(const std::optional<int32_t> one,
                         TokenId(json, "eos_token_id", 2, config->vocab_size));
  if (one.has_value()) config->eos_token_ids.push_back(*one);
  return absl::OkStatus();
}

absl::Status ParseWeightType(const Fields& fields, DecoderConfig* config) {
  static constexpr std::pair<std::string_view, DType> kNames[] = {
      {"float32", DType::kF32}, {"float16", DType::kF16}, {"bfloat16", DType::kBF16}};
  for (const char* field : {"dtype", "torch_dtype"}) {
    std::string name;
    LETHE_RETURN_IF_ERROR(fields.Text(field, "", &name));
    if (name.empty()) continue;
    if (name.rfind("torch.", 0) == 0) name = name.substr(6);
    const auto* row = std::find_if(std::begin(kNames), std::end(kNames),
                                   [&](const auto& known) { return known.first == name; });
    if (row == std::end(kNames)) {
      return Unsupported(field, absl::StrCat("is ", Shown(Json(name)),
                                             "; supported are float32, float16 and bfloat16"));
    }
    if (config->dtype.has_value() && *config->dtype != row->second) {
      return Bad("torch_dtype", "and dtype say different things");
    }
    config->dtype = row->second;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DecoderConfig> ParseDecoderConfig(std::string_view config_json) {
  LETHE_ASSIGN_OR_RETURN(const Json json, ParseJsonObject(config_json, "config.json"));
  LETHE_ASSIGN_OR_RETURN(const FamilyRow* family, FindFamily(json));
  LETHE_RETURN_IF_ERROR(RefuseSwitches(json));
  const Fields fields(json);
  DecoderConfig config;
  config.family = family->family;
  LETHE_RETURN_IF_ERROR(ParseSizes(fields, &config));
  LETHE_RETURN_IF_ERROR(ParseBiases(fields, &config));
  LETHE_RETURN_IF_ERROR(ParseTokenIds(json, &config));
  LETHE_RETURN_IF_ERROR(ParseWeightType(fields, &config));
  LETHE_ASSIGN_OR_RETURN(config.rope, ParseRopeDialects(json));
  for (const auto& item : json.items()) {
    if (!IsKnownConfigField(item.key())) config.unknown_fields.push_back(item.key());
  }
  return config;
}

}  // namespace lethe
