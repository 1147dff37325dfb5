#include "engine/checkpoint/rope_fields.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace lethe {
namespace {

using Json = nlohmann::json;

constexpr double kLeastTheta = 1e-3, kMostTheta = 1e15, kMostFactor = 1e6;

// What stands beside the object, or in an object of the other dialect; unset: nothing does.
struct Beside {
  std::optional<double> theta, fraction;
  std::optional<int64_t> original_context;
};

absl::Status ReadLinear(const Fields& fields, const Beside&, int64_t, RopeConfig* rope) {
  return fields.Real("factor", 1.0, kMostFactor, &rope->factor);
}

absl::Status ReadLlama3(const Fields& fields, const Beside& beside, int64_t, RopeConfig* rope) {
  LETHE_RETURN_IF_ERROR(fields.Real("factor", 1.0, kMostFactor, &rope->factor));
  LETHE_RETURN_IF_ERROR(fields.Real("low_freq_factor", 1e-6, kMostFactor, &rope->low_freq_factor));
  LETHE_RETURN_IF_ERROR(
      fields.Real("high_freq_factor", 1e-6, kMostFactor, &rope->high_freq_factor));
  LETHE_RETURN_IF_ERROR(fields.Count("original_max_position_embeddings", 1, kMostCount,
                                     &rope->original_context, beside.original_context));
  if (rope->high_freq_factor <= rope->low_freq_factor) {
    return fields.Bad("high_freq_factor", "must be above low_freq_factor");
  }
  return absl::OkStatus();
}

// The growth of attention scores that the paper finds best for a context stretched `factor` times.
double YarnGrowth(double factor, double mscale) {
  return factor <= 1 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

// Zero counts as not given for the optional numbers, as in transformers.
absl::Status ReadYarn(const Fields& fields, const Beside& beside, int64_t context,
                      RopeConfig* rope) {
  double mscale = 0, mscale_all_dim = 0;
  LETHE_RETURN_IF_ERROR(fields.Real("factor", 1.0, kMostFactor, &rope->factor));
  LETHE_RETURN_IF_ERROR(fields.Count("original_max_position_embeddings", 1, kMostCount,
                                     &rope->original_context,
                                     beside.original_context.value_or(context)));
  LETHE_RETURN_IF_ERROR(fields.Real("beta_fast", 0, kMostFactor, &rope->beta_fast, 0.0));
  LETHE_RETURN_IF_ERROR(fields.Real("beta_slow", 0, kMostFactor, &rope->beta_slow, 0.0));
  if (rope->beta_fast == 0) rope->beta_fast = 32;
  if (rope->beta_slow == 0) rope->beta_slow = 1;
  LETHE_RETURN_IF_ERROR(fields.Truth("truncate", true, &rope->truncate));
  LETHE_RETURN_IF_ERROR(fields.Real("mscale", 0, kMostFactor, &mscale, 0.0));
  LETHE_RETURN_IF_ERROR(fields.Real("mscale_all_dim", 0, kMostFactor, &mscale_all_dim, 0.0));
  const double inferred =
      mscale > 0 && mscale_all_dim > 0
          ? YarnGrowth(rope->factor, mscale) / YarnGrowth(rope->factor, mscale_all_dim)
          : YarnGrowth(rope->factor, 1.0);
  return fields.Real("attention_factor", 0, kMostFactor, &rope->attention_factor, inferred);
}

struct RopeTypeRow {
  std::string_view name;
  RopeType type;
  absl::Status (*read)(const Fields& fields, const Beside& beside, int64_t context,
                       RopeConfig* rope);  // null: it has no fields of its own
};
constexpr RopeTypeRow kRopeTypes[] = {
    {"default", RopeType::kDefault, nullptr},
    {"linear", RopeType::kLinear, ReadLinear},
    {"llama3", RopeType::kLlama3, ReadLlama3},
    {"yarn", RopeType::kYarn, ReadYarn},
};

absl::StatusOr<const RopeTypeRow*> TypeOf(const Fields& fields) {
  std::string type, old_type;
  LETHE_RETURN_IF_ERROR(fields.Text("rope_type", "", &type));
  LETHE_RETURN_IF_ERROR(fields.Text("type", "", &old_type));
  if (!type.empty() && !old_type.empty() && type != old_type) {
    return fields.Bad("type", "and rope_type say different things");
  }
  if (type.empty()) type = old_type.empty() ? "default" : old_type;
  std::string known;
  for (const RopeTypeRow& row : kRopeTypes) {
    if (type == row.name) return &row;
    absl::StrAppend(&known, known.empty() ? "\"" : ", \"", std::string(row.name), "\"");
  }
  return fields.Unsupported("rope_type",
                            absl::StrCat("is ", Shown(Json(type)), "; supported are ", known));
}

// One dialect's object: rope_type (or type) and its numbers.
absl::StatusOr<RopeConfig> ParseObject(const Json& object, const Fields& outside,
                                       const std::string& name, const RopeFields& names,
                                       const Beside& beside, int64_t context) {
  if (!object.is_object()) return outside.Bad(name, "must be an object");
  const Fields fields(object, name + ".");
  RopeConfig rope;
  LETHE_RETURN_IF_ERROR(fields.Real("rope_theta", kLeastTheta, kMostTheta, &rope.theta,
                                    beside.theta.value_or(names.theta.absent)));
  LETHE_RETURN_IF_ERROR(fields.Real("partial_rotary_factor", 0, 1, &rope.fraction,
                                    beside.fraction.value_or(names.fraction_absent)));
  if (rope.fraction != 1.0 && !names.may_be_partial) {
    return fields.Unsupported("partial_rotary_factor", "must be 1");
  }
  LETHE_ASSIGN_OR_RETURN(const RopeTypeRow* const row, TypeOf(fields));
  rope.type = row->type;
  if (row->read != nullptr) LETHE_RETURN_IF_ERROR(row->read(fields, beside, context, &rope));
  for (const std::string& field : fields.NeverAskedFor()) {
    if (!object[field].is_null()) {
      return fields.Unsupported(Shown(Json(field)), "is not understood");
    }
  }
  return rope;
}

absl::StatusOr<Beside> ParseBeside(const Fields& fields, const RopeFields& names) {
  Beside beside;
  const auto read = [&](const char* name, double least, double most,
                        std::optional<double>* out) -> absl::Status {
    if (fields.Find(name) == nullptr) return absl::OkStatus();
    double value = 0;
    LETHE_RETURN_IF_ERROR(fields.Real(name, least, most, &value));
    *out = value;
    return absl::OkStatus();
  };
  LETHE_RETURN_IF_ERROR(read(names.theta.name, kLeastTheta, kMostTheta, &beside.theta));
  LETHE_RETURN_IF_ERROR(read(names.fraction, 0, 1, &beside.fraction));
  if (beside.fraction.value_or(1.0) != 1.0 && !names.may_be_partial) {
    return fields.Unsupported(names.fraction, "must be 1");
  }
  if (fields.Find("original_max_position_embeddings") != nullptr) {
    int64_t tokens = 0;
    LETHE_RETURN_IF_ERROR(fields.Count("original_max_position_embeddings", 1, kMostCount, &tokens));
    beside.original_context = tokens;
  }
  return beside;
}

// What stands beside the objects must be what they say. Writers of some years have the fields of
// other families, too.
absl::Status CheckBeside(const Fields& fields, const RopeFields& names, const RopeConfig& rope) {
  const std::pair<const char*, double> said[] = {{names.theta.name, rope.theta},
                                                 {names.fraction, rope.fraction},
                                                 {"rope_theta", rope.theta},
                                                 {"partial_rotary_factor", rope.fraction}};
  for (const auto& [name, value] : said) {
    const Json* found = fields.Find(name);
    if (found != nullptr && *found != value) {
      return fields.Bad(name, "and the other fields of rotary positions say different things");
    }
  }
  const Json* original = fields.Find("original_max_position_embeddings");
  if (original != nullptr && rope.original_context > 0 && *original != rope.original_context) {
    return fields.Bad("original_max_position_embeddings", "is said twice, differently");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RopeConfig> ParseRope(const Fields& fields, const RopeFields& names,
                                     int64_t context) {
  LETHE_ASSIGN_OR_RETURN(Beside beside, ParseBeside(fields, names));
  std::optional<RopeConfig> rope;
  for (const char* name : {"rope_parameters", "rope_scaling"}) {
    const Json* object = fields.Find(name);
    if (object == nullptr) continue;
    LETHE_ASSIGN_OR_RETURN(const RopeConfig said,
                           ParseObject(*object, fields, name, names, beside, context));
    if (rope.has_value() && *rope != said) {
      return fields.Bad(name, "and rope_parameters say different things");
    }
    rope = said;
    beside.theta = said.theta;
    beside.fraction = said.fraction;
  }
  if (!rope.has_value()) {
    rope.emplace();
    rope->theta = beside.theta.value_or(names.theta.absent);
    rope->fraction = beside.fraction.value_or(names.fraction_absent);
  }
  LETHE_RETURN_IF_ERROR(CheckBeside(fields, names, *rope));
  return *rope;
}

}  // namespace lethe
