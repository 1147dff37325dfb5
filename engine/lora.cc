#include "engine/lora.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/checkpoint/checked_json.h"

namespace lethe {
namespace {

using nlohmann::json;

constexpr int64_t kMostRank = 1024;

// What PEFT writes and what changes nothing here: how training began, who made it, with which
// libraries.
constexpr std::string_view kHarmless[] = {"auto_mapping",       "base_model_name_or_path",
                                          "inference_mode",     "init_lora_weights",
                                          "lora_dropout",       "megatron_core",
                                          "peft_version",       "qalora_group_size",
                                          "revision",           "task_type",
                                          "fan_in_fan_out",     "exclude_modules",
                                          "ensure_weight_tying"};

absl::Status Bad(const char* field, std::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, "BAD_ADAPTER",
               "adapter_config.json: " + std::string(field) + " " + std::string(what),
               {{"field", field}});
}

absl::Status Unsupported(const std::string& field) {
  return Error(absl::StatusCode::kInvalidArgument, "ADAPTER_UNSUPPORTED",
               "adapter_config.json: " + field +
                   " has a value that is not understood; merge the adapter with the library that "
                   "made it",
               {{"field", field}});
}

// null, false, "none", {} and []: the field asks for nothing.
bool SaysNothing(const json& value) {
  return value.is_null() || value == json(false) || value == json("none") ||
         ((value.is_object() || value.is_array()) && value.empty());
}

absl::Status ReadTargets(const json& value, LoraConfig& lora) {
  if (!value.is_array() || value.empty()) {
    return Bad("target_modules", "must be a list of names; a pattern is not understood");
  }
  for (const json& name : value) {
    if (!name.is_string() || name.get_ref<const std::string&>().empty()) {
      return Bad("target_modules", "must hold names");
    }
    lora.targets.push_back(name);
  }
  std::sort(lora.targets.begin(), lora.targets.end());  // PEFT keeps a set
  return absl::OkStatus();
}

}  // namespace

double LoraConfig::Scale() const {
  const auto r = static_cast<double>(rank);
  return alpha / (rank_stabilised ? std::sqrt(r) : r);
}

bool LoraConfig::Targets(std::string_view module) const {
  if (targets.empty()) return true;
  return std::any_of(targets.begin(), targets.end(), [&](const std::string& target) {
    return module == target || module.ends_with("." + target);
  });
}

absl::Status CheckLora(const LoraConfig& lora) {
  if (lora.rank >= 1 && lora.rank <= kMostRank && std::isfinite(lora.alpha) && lora.alpha > 0) {
    return absl::OkStatus();
  }
  return Error(absl::StatusCode::kInvalidArgument, "BAD_PARAMETER",
               "an adapter's rank lies between 1 and " + std::to_string(kMostRank) +
                   ", and its alpha is above 0");
}

absl::StatusOr<LoraConfig> ParseLoraConfig(std::string_view adapter_config_json) {
  LETHE_ASSIGN_OR_RETURN(const json config,
                         ParseJsonObject(adapter_config_json, "adapter_config.json"));
  LoraConfig lora;
  bool has_rank = false;
  for (const auto& [name, value] : config.items()) {
    if (name == "peft_type") {
      if (value != json("LORA")) return Unsupported(name);
    } else if (name == "r") {
      if (!value.is_number_integer()) return Bad("r", "must be a whole number");
      lora.rank = value.get<int64_t>();
      has_rank = true;
    } else if (name == "lora_alpha") {
      if (!value.is_number()) return Bad("lora_alpha", "must be a number");
      lora.alpha = value.get<double>();
    } else if (name == "use_rslora") {
      if (!value.is_boolean()) return Bad("use_rslora", "must be true or false");
      lora.rank_stabilised = value.get<bool>();
    } else if (name == "target_modules") {
      LETHE_RETURN_IF_ERROR(ReadTargets(value, lora));
    } else if (std::find(std::begin(kHarmless), std::end(kHarmless), name) == std::end(kHarmless) &&
               !SaysNothing(value)) {
      return Unsupported(name);
    }
  }
  if (!config.contains("peft_type")) return Bad("peft_type", "is missing");
  if (!has_rank) return Bad("r", "is missing");
  if (!config.contains("lora_alpha")) return Bad("lora_alpha", "is missing");
  if (lora.targets.empty()) return Bad("target_modules", "is missing");
  if (!CheckLora(lora).ok()) return Bad("r", "or lora_alpha is out of range");
  return lora;
}

std::string LoraConfigJson(const LoraConfig& lora, const std::string& base_folder) {
  return nlohmann::ordered_json({{"base_model_name_or_path", base_folder},
                                 {"bias", "none"},
                                 {"fan_in_fan_out", false},
                                 {"inference_mode", true},
                                 {"init_lora_weights", true},
                                 {"lora_alpha", lora.alpha},
                                 {"lora_dropout", 0.0},
                                 {"modules_to_save", nullptr},
                                 {"peft_type", "LORA"},
                                 {"r", lora.rank},
                                 {"target_modules", lora.targets},
                                 {"task_type", "CAUSAL_LM"},
                                 {"use_rslora", lora.rank_stabilised}})
      .dump(2);
}

}  // namespace lethe
