// JSON from files that nobody vouches for.
//
//   LETHE_ASSIGN_OR_RETURN(nlohmann::json config, ParseJsonObject(text, "config.json"));
//
// Refused    whatever is not one JSON object in UTF-8, deeper than 64 levels, or with a name that
//            comes twice in an object (readers differ in which one they take).
// Errors     INVALID_ARGUMENT/BAD_CHECKPOINT, naming `what`.
// Threads    a free function; any.
#ifndef LETHE_ENGINE_CHECKPOINT_CHECKED_JSON_H_
#define LETHE_ENGINE_CHECKPOINT_CHECKED_JSON_H_

#include <nlohmann/json_fwd.hpp>
#include <string_view>

#include "absl/status/statusor.h"

namespace lethe {

absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text, std::string_view what);

}  // namespace lethe

#endif  // LETHE_ENGINE_CHECKPOINT_CHECKED_JSON_H_
