#include "engine/checkpoint/window_fields.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

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

}  // namespace

absl::StatusOr<Windows> ParseWindows(const Fields& fields, WindowFields kind, int64_t) {
  switch (kind) {
    case WindowFields::kNone:
      return NoWindows(fields);
  }
  return Windows{};
}

}  // namespace lethe
