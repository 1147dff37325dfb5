#include "engine/checkpoint/config_fields.h"

#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace lethe {
namespace {

using Json = nlohmann::json;

absl::Status Refusal(std::string_view reason, const std::string& name, std::string_view what) {
  return Error(
      absl::StatusCode::kInvalidArgument, reason,
      absl::StrCat("config.json: ", name, " ", absl::string_view(what.data(), what.size())),
      {{"field", name}});
}

}  // namespace

std::string Shown(const Json& value) {
  std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
  if (text.size() > 60) text = text.substr(0, 60) + "…";
  return text;
}

Fields::Fields(const Json& object, std::string prefix)
    : object_(object), prefix_(std::move(prefix)) {}

const Json* Fields::Find(const std::string& name) const {
  asked_.insert(name);
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

bool Fields::Has(const std::string& name) const {
  asked_.insert(name);
  return object_.contains(name);
}

absl::Status Fields::Bad(const std::string& name, std::string_view what) const {
  return Refusal("BAD_CHECKPOINT", Name(name), what);
}

absl::Status Fields::Unsupported(const std::string& name, std::string_view what) const {
  return Refusal("MODEL_UNSUPPORTED", Name(name), what);
}

absl::Status Fields::Count(const std::string& name, int64_t least, int64_t most, int64_t* out,
                           std::optional<int64_t> otherwise) const {
  const Json* value = Find(name);
  if (value == nullptr) {
    if (!otherwise.has_value()) return Bad(name, "is missing");
    *out = *otherwise;
    return absl::OkStatus();
  }
  const bool fits = value->is_number_integer() &&
                    (!value->is_number_unsigned() ||
                     value->get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()});
  if (!fits || value->get<int64_t>() < least || value->get<int64_t>() > most) {
    return Bad(name, absl::StrCat("must be a whole number from ", least, " to ", most, "; it is ",
                                  Shown(*value)));
  }
  *out = value->get<int64_t>();
  return absl::OkStatus();
}

absl::Status Fields::Real(const std::string& name, double least, double most, double* out,
                          std::optional<double> otherwise) const {
  const Json* value = Find(name);
  if (value == nullptr) {
    if (!otherwise.has_value()) return Bad(name, "is missing");
    *out = *otherwise;
    return absl::OkStatus();
  }
  if (!value->is_number() || !(value->get<double>() >= least && value->get<double>() <= most)) {
    return Bad(name, absl::StrCat("must be a number from ", least, " to ", most, "; it is ",
                                  Shown(*value)));
  }
  *out = value->get<double>();
  return absl::OkStatus();
}

absl::Status Fields::Truth(const std::string& name, bool otherwise, bool* out) const {
  const Json* value = Find(name);
  *out = otherwise;
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_boolean()) return Bad(name, "must be true or false");
  *out = value->get<bool>();
  return absl::OkStatus();
}

absl::Status Fields::Text(const std::string& name, std::string_view otherwise,
                          std::string* out) const {
  const Json* value = Find(name);
  *out = otherwise;
  if (value == nullptr) return absl::OkStatus();
  if (!value->is_string()) return Bad(name, "must be a string");
  *out = value->get<std::string>();
  return absl::OkStatus();
}

std::vector<std::string> Fields::NeverAskedFor() const {
  std::vector<std::string> names;
  for (const auto& item : object_.items()) {
    if (asked_.count(item.key()) == 0) names.push_back(item.key());
  }
  return names;
}

}  // namespace lethe
