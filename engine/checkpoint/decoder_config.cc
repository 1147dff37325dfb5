#include "engine/checkpoint/decoder_config.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "engine/checkpoint/checked_json.h"
#include "engine/checkpoint/config_fields.h"
#include "engine/checkpoint/decoder_families.h"
#include "engine/checkpoint/rope_fields.h"
#include "engine/checkpoint/window_fields.h"

namespace lethe {
namespace {

using Json = nlohmann::json;

absl::StatusOr<const FamilyRow*> FindFamily(const Fields& fields) {
  std::string model_type;
  LETHE_RETURN_IF_ERROR(fields.Text("model_type", "", &model_type));
  const Json* architectures = fields.Find("architectures");
  std::string architecture;
  if (architectures != nullptr) {
    if (!architectures->is_array() || architectures->size() != 1 ||
        !architectures->at(0).is_string()) {
      return fields.Unsupported("architectures", "must name one architecture");
    }
    architecture = architectures->at(0).get<std::string>();
  }
  if (architecture.empty() && model_type.empty()) {
    return fields.Bad("architectures", "and model_type are missing");
  }
  std::string known;
  for (const FamilyRow& row : DecoderFamilies()) {
    const bool architecture_fits = architecture.empty() || architecture == row.architecture;
    const bool type_fits = model_type.empty() || model_type == row.model_type;
    if (architecture_fits && type_fits) return &row;
    if (!architecture.empty() && architecture_fits) {
      return fields.Unsupported("model_type", absl::StrCat("is ", Shown(Json(model_type)),
                                                           " beside ", Shown(Json(architecture))));
    }
    absl::StrAppend(&known, known.empty() ? "" : ", ", std::string(row.architecture));
  }
  return fields.Unsupported(
      architecture.empty() ? "model_type" : "architectures",
      absl::StrCat("is ", Shown(Json(architecture.empty() ? model_type : architecture)),
                   "; supported are ", known));
}

// Fields that would change what is computed, whose only understood value is "off".
absl::Status RefuseSwitches(const Fields& fields) {
  for (const char* name :
       {"quantization_config", "compression_config", "auto_map", "adapter_config", "peft_config"}) {
    if (const Json* found = fields.Find(name); found != nullptr) {
      return fields.Unsupported(name,
                                absl::StrCat("is ", Shown(*found), ", which is not supported"));
    }
  }
  for (const char* name :
       {"is_encoder_decoder", "add_cross_attention", "rope_interleaved", "use_mrope"}) {
    const Json* found = fields.Find(name);
    if (found != nullptr && *found != false) {
      return fields.Unsupported(name,
                                absl::StrCat("is ", Shown(*found), ", which is not supported"));
    }
  }
  return absl::OkStatus();
}

// A size. `derived` is what follows from other fields where the field is null, or absent and the
// row gives no number for that.
absl::Status ReadCount(const Fields& fields, const CountField& field, int64_t most, int64_t* out,
                       std::optional<int64_t> derived = std::nullopt) {
  if (field.name == nullptr) {
    *out = *derived;
    return absl::OkStatus();
  }
  std::optional<int64_t> otherwise = derived;
  if (field.absent == kRequired) otherwise = std::nullopt;
  const bool is_null = fields.Has(field.name) && derived.has_value();
  if (field.absent >= 0 && !is_null) otherwise = field.absent;
  return fields.Count(field.name, 1, most, out, otherwise);
}

absl::Status ReadSwitch(const Fields& fields, const Switch& field, bool* out) {
  *out = field.absent;
  return field.name == nullptr ? absl::OkStatus() : fields.Truth(field.name, field.absent, out);
}

absl::Status ParseSizes(const Fields& fields, const FamilyRow& row, DecoderConfig* config) {
  DecoderConfig& c = *config;
  LETHE_RETURN_IF_ERROR(fields.Count("vocab_size", 1, kMostCount, &c.vocab_size));
  LETHE_RETURN_IF_ERROR(ReadCount(fields, row.hidden, kMostCount, &c.hidden_size));
  LETHE_RETURN_IF_ERROR(
      ReadCount(fields, row.intermediate, kMostCount, &c.intermediate_size, 4 * c.hidden_size));
  LETHE_RETURN_IF_ERROR(
      ReadCount(fields, row.embedding, kMostCount, &c.embedding_size, c.hidden_size));
  LETHE_RETURN_IF_ERROR(ReadCount(fields, row.layers, 4096, &c.num_layers));
  LETHE_RETURN_IF_ERROR(ReadCount(fields, row.heads, 1 << 16, &c.num_heads));
  LETHE_RETURN_IF_ERROR(ReadCount(fields, row.kv_heads, 1 << 16, &c.num_kv_heads, c.num_heads));
  LETHE_RETURN_IF_ERROR(ReadCount(fields, row.context, kMostCount, &c.context));
  if (c.num_heads % c.num_kv_heads != 0) {
    return fields.Bad(row.kv_heads.name, absl::StrCat("must divide ", row.heads.name));
  }
  LETHE_RETURN_IF_ERROR(
      ReadCount(fields, row.head_dim, 1 << 16, &c.head_dim, c.hidden_size / c.num_heads));
  const bool head_dim_given = row.head_dim.name != nullptr && fields.Find(row.head_dim.name);
  if (!head_dim_given && row.head_dim.absent < 0 && c.hidden_size % c.num_heads != 0) {
    return fields.Bad(row.heads.name, absl::StrCat("must divide ", row.hidden.name,
                                                   " where head_dim is not given"));
  }
  return fields.Real(row.initializer_range.name, 0, 1e3, &c.initializer_range,
                     row.initializer_range.absent);
}

absl::Status ParseActivation(const Fields& fields, const ActivationField& field,
                             DecoderConfig* config) {
  const Json* found = fields.Find(field.name);
  const Json said = found != nullptr ? *found : Json(std::string(field.absent));
  std::string known;
  for (const ActivationName& row : field.known) {
    if (said == std::string(row.name)) {
      config->activation = row.activation;
      return absl::OkStatus();
    }
    absl::StrAppend(&known, known.empty() ? "\"" : ", \"", std::string(row.name), "\"");
  }
  return fields.Unsupported(field.name,
                            absl::StrCat("is ", Shown(said), "; supported are ", known));
}

// What stands in a layer, and what of it has weights.
absl::Status ParseParts(const Fields& fields, const FamilyRow& row, DecoderConfig* config) {
  DecoderConfig& c = *config;
  bool norm_before = true, no_final_norm = false;
  c.norm = row.norm;
  c.head_norms = row.head_norms;
  c.norm_eps = row.norm_eps.absent;
  if (row.norm_eps.name != nullptr) {
    LETHE_RETURN_IF_ERROR(fields.Real(row.norm_eps.name, 0, 1, &c.norm_eps, row.norm_eps.absent));
  }
  LETHE_RETURN_IF_ERROR(ReadSwitch(fields, row.norm_weights, &c.norm_weights));
  LETHE_RETURN_IF_ERROR(ReadSwitch(fields, row.norm_before, &norm_before));
  LETHE_RETURN_IF_ERROR(ReadSwitch(fields, row.no_final_norm, &no_final_norm));
  LETHE_RETURN_IF_ERROR(ReadSwitch(fields, row.parallel_parts, &c.parallel_parts));
  // Where a norm stands behind every part the last layer has had its own.
  c.norm_after = !norm_before;
  c.final_norm = norm_before && !no_final_norm;
  LETHE_RETURN_IF_ERROR(ParseActivation(fields, row.activation, config));
  LETHE_RETURN_IF_ERROR(ReadSwitch(fields, row.tied, &c.tied_embeddings));
  LETHE_RETURN_IF_ERROR(ReadSwitch(fields, row.qkv_bias, &c.qkv_bias));
  LETHE_RETURN_IF_ERROR(ReadSwitch(fields, row.out_bias, &c.out_bias));
  return ReadSwitch(fields, row.mlp_bias, &c.mlp_bias);
}

absl::Status ParsePositions(const Fields& fields, const FamilyRow& row, DecoderConfig* config) {
  config->positions = row.positions;
  config->position_offset = row.position_offset;
  if (row.positions != Positions::kRotary) return absl::OkStatus();
  LETHE_ASSIGN_OR_RETURN(config->rope, ParseRope(fields, row.rope, config->context));
  const int64_t turning = config->RotaryDim();
  if (turning % 2 == 0) return absl::OkStatus();
  const std::string what =
      absl::StrCat("lets ", turning, " of the ", config->head_dim,
                   " values of a head turn; it must be even: RoPE turns pairs");
  if (turning < config->head_dim) return fields.Unsupported(row.rope.fraction, what);
  return fields.Bad(row.head_dim.name != nullptr ? row.head_dim.name : row.heads.name, what);
}

absl::Status ParseScores(const Fields& fields, const FamilyRow& row, DecoderConfig* config) {
  LETHE_RETURN_IF_ERROR(ReadSwitch(fields, row.scale_scores, &config->scale_scores));
  LETHE_RETURN_IF_ERROR(
      ReadSwitch(fields, row.scale_scores_by_layer, &config->scale_scores_by_layer));
  LETHE_ASSIGN_OR_RETURN(config->windows, ParseWindows(fields, row.windows, config->num_layers));
  return absl::OkStatus();
}

std::optional<int32_t> IdOrNone(int64_t id) {
  return id < 0 ? std::nullopt : std::optional<int32_t>(static_cast<int32_t>(id));
}

// An id, -1 for none; `absent` is what transformers takes for a field that is not there at all.
absl::StatusOr<int64_t> TokenId(const Fields& fields, const char* name, int64_t absent,
                                int64_t vocab_size) {
  if (!fields.Has(name)) return absent < vocab_size ? absent : -1;
  int64_t id = -1;
  LETHE_RETURN_IF_ERROR(fields.Count(name, -1, vocab_size - 1, &id, -1));
  return id;  // -1 is some writers' word for "none"
}

absl::Status ParseTokenIds(const Fields& fields, const TokenFields& row, DecoderConfig* config) {
  const int64_t vocab = config->vocab_size;
  LETHE_ASSIGN_OR_RETURN(const int64_t bos, TokenId(fields, "bos_token_id", row.bos, vocab));
  LETHE_ASSIGN_OR_RETURN(const int64_t pad, TokenId(fields, "pad_token_id", row.pad, vocab));
  config->bos_token_id = IdOrNone(bos);
  config->pad_token_id = IdOrNone(pad);
  // To an embedding -1 is its last row.
  const bool said = fields.Find("pad_token_id") != nullptr;
  if (row.padding_row) config->padding_row = IdOrNone(pad < 0 && said ? vocab + pad : pad);
  const Json* eos = fields.Find("eos_token_id");
  const Json one_or_more = eos != nullptr && eos->is_array() ? *eos : Json::array({nullptr});
  for (const Json& id : one_or_more) {
    const Json single = {{"eos_token_id", id}};
    const Fields one = eos != nullptr && eos->is_array() ? Fields(single) : fields;
    LETHE_ASSIGN_OR_RETURN(const int64_t end, TokenId(one, "eos_token_id", row.eos, vocab));
    if (end >= 0) config->eos_token_ids.push_back(static_cast<int32_t>(end));
  }
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
      return fields.Unsupported(field, absl::StrCat("is ", Shown(Json(name)),
                                                    "; supported are float32, float16 and "
                                                    "bfloat16"));
    }
    if (config->dtype.has_value() && *config->dtype != row->second) {
      return fields.Bad("torch_dtype", "and dtype say different things");
    }
    config->dtype = row->second;
  }
  return absl::OkStatus();
}

bool IsHarmless(const std::string& field, const FamilyRow& row) {
  const auto in = [&](std::span<const std::string_view> list) {
    return std::find(list.begin(), list.end(), field) != list.end();
  };
  return in(HarmlessFields()) || in(row.harmless);
}

}  // namespace

int64_t DecoderConfig::RotaryDim() const {
  if (positions != Positions::kRotary) return 0;
  return static_cast<int64_t>(static_cast<double>(head_dim) * rope.fraction);
}

double DecoderConfig::ScoreScale(int64_t layer) const {
  const double by_head = scale_scores ? 1 / std::sqrt(static_cast<double>(head_dim)) : 1.0;
  return scale_scores_by_layer ? by_head / static_cast<double>(layer + 1) : by_head;
}

absl::StatusOr<DecoderConfig> ParseDecoderConfig(std::string_view config_json) {
  LETHE_ASSIGN_OR_RETURN(const Json json, ParseJsonObject(config_json, "config.json"));
  const Fields fields(json);
  LETHE_ASSIGN_OR_RETURN(const FamilyRow* const row, FindFamily(fields));
  DecoderConfig config;
  config.family = row->family;
  LETHE_RETURN_IF_ERROR(RefuseSwitches(fields));
  LETHE_RETURN_IF_ERROR(ParseSizes(fields, *row, &config));
  LETHE_RETURN_IF_ERROR(ParseParts(fields, *row, &config));
  LETHE_RETURN_IF_ERROR(ParsePositions(fields, *row, &config));
  LETHE_RETURN_IF_ERROR(ParseScores(fields, *row, &config));
  LETHE_RETURN_IF_ERROR(ParseTokenIds(fields, row->tokens, &config));
  LETHE_RETURN_IF_ERROR(ParseWeightType(fields, &config));
  for (const std::string& field : fields.NeverAskedFor()) {
    if (!IsHarmless(field, *row)) config.unknown_fields.push_back(field);
  }
  return config;
}

}  // namespace lethe
