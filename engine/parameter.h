// Named numbers with their limits: what methods and attacks are set by.
//
//   if (auto wrong = CheckParameters(entry.parameters, overrides)) return Refuse(*wrong);
//   ParameterValues used = ResolveParameters(entry.parameters, preset.values, overrides);
//
// They are doubles by name, so that they travel as map<string, double> and stand in job records as
// they were used.
// Threads    pure functions of constant data; any.
// Errors     none: what is wrong is a sentence.
#ifndef LETHE_ENGINE_PARAMETER_H_
#define LETHE_ENGINE_PARAMETER_H_

#include <cmath>
#include <map>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>

namespace lethe {

using ParameterValues = std::map<std::string, double>;

struct ParameterEntry {
  std::string_view name;
  double value;  // the default, unless a preset says otherwise
  double min;
  double max;
  std::string_view what;  // unit and meaning
};

struct PresetValue {
  std::string_view parameter;
  double value;
};

// What is wrong with `values` for these parameters, as a sentence; nothing when all is well.
inline std::optional<std::string> CheckParameters(std::span<const ParameterEntry> known,
                                                  const ParameterValues& values) {
  for (const auto& [name, value] : values) {
    const ParameterEntry* found = nullptr;
    for (const ParameterEntry& entry : known) {
      if (entry.name == name) found = &entry;
    }
    if (found == nullptr) return "there is no parameter '" + name + "'";
    if (!std::isfinite(value) || value < found->min || value > found->max) {
      std::ostringstream range;  // std::to_string would write 1e-8 as 0.000000
      range << found->min << " and " << found->max;
      return "parameter '" + name + "' must lie between " + range.str();
    }
  }
  return std::nullopt;
}

// Defaults, then the preset, then the overrides: what a run uses and records. The arguments must
// have been checked.
inline ParameterValues ResolveParameters(std::span<const ParameterEntry> known,
                                         std::span<const PresetValue> preset,
                                         const ParameterValues& overrides) {
  ParameterValues values;
  for (const ParameterEntry& entry : known) values[std::string(entry.name)] = entry.value;
  for (const PresetValue& entry : preset) values[std::string(entry.parameter)] = entry.value;
  for (const auto& [name, value] : overrides) values[name] = value;
  return values;
}

}  // namespace lethe

#endif  // LETHE_ENGINE_PARAMETER_H_
