// Typed access to the fields of config.json, and the two refusals that name a field.
//
//   const Fields fields(json);
//   LETHE_RETURN_IF_ERROR(fields.Count("hidden_size", 1, 65536, &config.hidden_size));
//   LETHE_RETURN_IF_ERROR(fields.Truth("attention_bias", false, &config.qkv_bias));
//   for (const std::string& name : fields.NeverAskedFor()) ...
//
// Absent     a field that is null reads as one that is not there, as in transformers; Has() tells
//            them apart.
// Errors     INVALID_ARGUMENT: BAD_CHECKPOINT a field is missing, of the wrong kind or out of
//            range; MODEL_UNSUPPORTED it is well-formed and not understood. Metadata "field".
// Threads    none.
#ifndef LETHE_ENGINE_CHECKPOINT_CONFIG_FIELDS_H_
#define LETHE_ENGINE_CHECKPOINT_CONFIG_FIELDS_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace lethe {

class Fields {
 public:
  // `object` must stay; `prefix` goes before a name in messages: "rope_scaling."
  explicit Fields(const nlohmann::json& object, std::string prefix = "");

  const nlohmann::json* Find(const std::string& name) const;  // null: absent, or null
  bool Has(const std::string& name) const;                    // true for null, too
  std::string Name(const std::string& name) const { return prefix_ + name; }

  // Each leaves `otherwise` in `out` where the field is absent; without one it is required.
  absl::Status Count(const std::string& name, int64_t least, int64_t most, int64_t* out,
                     std::optional<int64_t> otherwise = std::nullopt) const;
  absl::Status Real(const std::string& name, double least, double most, double* out,
                    std::optional<double> otherwise = std::nullopt) const;
  absl::Status Truth(const std::string& name, bool otherwise, bool* out) const;
  absl::Status Text(const std::string& name, std::string_view otherwise, std::string* out) const;

  absl::Status Bad(const std::string& name, std::string_view what) const;
  absl::Status Unsupported(const std::string& name, std::string_view what) const;

  // Fields of the object that no call has named, in the object's order.
  std::vector<std::string> NeverAskedFor() const;

 private:
  const nlohmann::json& object_;
  const std::string prefix_;
  mutable std::set<std::string> asked_;
};

// A value as a message may show it.
std::string Shown(const nlohmann::json& value);

// Of any single size: no product of two leaves 63 bits.
inline constexpr int64_t kMostCount = int64_t{1} << 24;

}  // namespace lethe

#endif  // LETHE_ENGINE_CHECKPOINT_CONFIG_FIELDS_H_
