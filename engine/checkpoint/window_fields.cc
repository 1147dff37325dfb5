#include "engine/checkpoint/window_fields.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace lethe {
namespace {

using Json = nlohmann::json;
using Windows = std::vector<int64_t>;

// The fields that ask for a window in other families must not ask for one.
absl::StatusOr<Windows> NoWindows(const Fields& fields) {
  const Json* types = fields.Find("layer_types");
  const bool all_full =
      types == nullptr ||
      (types->is_array() && std::all_of(types->begin(), types->end(),
                                        [](const Json& type) { return type == "full_attention"; }));
  const Json* used = fields.Find("use_sliding_window");
  const char* asking = fields.Find("sliding_window") != nullptr ? "sliding_window"
                       : !all_full                              ? "layer_types"
                       : used != nullptr && *used != false      ? "use_sliding_window"
                                                                : nullptr;
  if (asking == nullptr) return Windows{};
  return fields.Unsupported(asking, absl::StrCat("is ", Shown(*fields.Find(asking)),
                                                 ", which is not supported in this family"));
}

// Mistral: one window for all layers; null for none, 4096 where the field is absent.
absl::StatusOr<Windows> EveryLayer(const Fields& fields, int64_t layers) {
  int64_t window = 4096;
  if (fields.Has("sliding_window")) {
    LETHE_RETURN_IF_ERROR(fields.Count("sliding_window", 1, kMostCount, &window, 0));
  }
  const char* wanted = window > 0 ? "sliding_attention" : "full_attention";
  if (const Json* types = fields.Find("layer_types"); types != nullptr) {
    const bool agree =
        types->is_array() &&
        std::all_of(types->begin(), types->end(), [&](const Json& type) { return type == wanted; });
    if (!agree) {
      return fields.Unsupported("layer_types", "and sliding_window say different things");
    }
  }
  return window > 0 ? Windows(layers, window) : Windows{};
}

// Qwen: layer_types says it of each layer; without it the layers from max_window_layers on have
// the window.
absl::StatusOr<Windows> UpperLayers(const Fields& fields, int64_t layers) {
  bool used = false;
  int64_t window = 4096, first = 0;
  LETHE_RETURN_IF_ERROR(fields.Truth("use_sliding_window", false, &used));
  if (fields.Has("sliding_window")) {
    LETHE_RETURN_IF_ERROR(fields.Count("sliding_window", 1, kMostCount, &window, 0));
  }
  if (!used) window = 0;
  LETHE_RETURN_IF_ERROR(fields.Count("max_window_layers", 0, kMostCount, &first, 28));
  Windows windows;
  if (const Json* types = fields.Find("layer_types"); types != nullptr) {
    if (!types->is_array() || static_cast<int64_t>(types->size()) != layers) {
      return fields.Bad("layer_types", absl::StrCat("must name each of the ", layers, " layers"));
    }
    for (const Json& type : *types) {
      const bool sliding = type == "sliding_attention";
      if (!sliding && type != "full_attention") {
        return fields.Unsupported("layer_types",
                                  absl::StrCat("has ", Shown(type), ", which is not supported"));
      }
      if (sliding && window == 0) {
        return fields.Unsupported("layer_types", "has a sliding layer, and there is no window");
      }
      windows.push_back(sliding ? window : 0);
    }
  } else {
    for (int64_t i = 0; i < layers; ++i) windows.push_back(i >= first ? window : 0);
  }
  return windows;
}

// attention_types: [[["global", "local"], 12]] for 24 layers. Appends a name for each layer.
absl::Status ExpandTypes(const Fields& fields, const Json& types, int64_t layers,
                         std::vector<Json>* names) {
  const auto malformed = [&] {
    return fields.Bad("attention_types", "must be a list of [[kinds], how often]");
  };
  if (!types.is_array()) return malformed();
  for (const Json& item : types) {
    const bool is_pair = item.is_array() && item.size() == 2 && item[0].is_array() &&
                         !item[0].empty() && item[1].is_number_integer();
    if (!is_pair) return malformed();
    for (int64_t i = 0; i < item[1].get<int64_t>(); ++i) {
      if (static_cast<int64_t>(names->size()) > layers) break;  // too many, however many more
      names->insert(names->end(), item[0].begin(), item[0].end());
    }
  }
  return absl::OkStatus();
}

// GPT-Neo: global and local layers, by name.
absl::StatusOr<Windows> Listed(const Fields& fields, int64_t layers) {
  int64_t window = 0;
  LETHE_RETURN_IF_ERROR(fields.Count("window_size", 1, kMostCount, &window, 256));
  const Json* types = fields.Find("attention_types");
  const Json* list = fields.Find("attention_layers");
  std::vector<Json> names;
  if (types != nullptr || list == nullptr) {
    static const Json kAbsent = Json::parse(R"([[["global", "local"], 12]])");
    LETHE_RETURN_IF_ERROR(ExpandTypes(fields, types != nullptr ? *types : kAbsent, layers, &names));
  }
  const char* source = types != nullptr || list == nullptr ? "attention_types" : "attention_layers";
  if (list != nullptr) {
    if (!list->is_array()) return fields.Bad("attention_layers", "must be a list");
    if (types != nullptr && names != list->get<std::vector<Json>>()) {
      return fields.Bad("attention_layers", "and attention_types say different things");
    }
    names = list->get<std::vector<Json>>();
  }
  if (static_cast<int64_t>(names.size()) != layers) {
    return fields.Bad(source, absl::StrCat("must name each of the ", layers, " layers"));
  }
  Windows windows;
  for (const Json& name : names) {
    if (name != "global" && name != "local") {
      return fields.Unsupported(
          source, absl::StrCat("has ", Shown(name), "; supported are \"global\" and \"local\""));
    }
    windows.push_back(name == "local" ? window : 0);
  }
  return windows;
}

}  // namespace

absl::StatusOr<Windows> ParseWindows(const Fields& fields, WindowFields kind, int64_t layers) {
  switch (kind) {
    case WindowFields::kNone:
      return NoWindows(fields);
    case WindowFields::kEveryLayer:
      return EveryLayer(fields, layers);
    case WindowFields::kUpperLayers:
      return UpperLayers(fields, layers);
    case WindowFields::kListed:
      return Listed(fields, layers);
  }
  return Windows{};
}

}  // namespace lethe
