#include "engine/condition.h"

#include <charconv>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace lethe {
namespace {

constexpr int kMostSteps = 1000;

struct RelearnedRow {
  Relearned text;
  const char* name;
  const char* title;
};

constexpr RelearnedRow kRelearned[] = {
    {Relearned::kHalf, "half", "half of the forgotten text"},
    {Relearned::kRelated, "related", "other text of the kind"},
    {Relearned::kUnrelated, "unrelated", "unrelated text"},
    {Relearned::kSame, "same", "the text itself"},
};

const RelearnedRow& RowOf(Relearned text) {
  for (const RelearnedRow& row : kRelearned) {
    if (row.text == text) return row;
  }
  return kRelearned[0];
}

bool ConsumePrefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

absl::Status Unknown(std::string_view name) {
  return Error(absl::StatusCode::kInvalidArgument, "UNKNOWN_CONDITION",
               absl::StrCat("there is no condition '", std::string(name),
                            "'; there are int8, int4, int8-g128, int4-g128 and relearned-TEXT-J, "
                            "with TEXT one of half, related, unrelated, same and J steps from 1 "
                            "to ",
                            kMostSteps, "; empty is the model as it is"));
}

}  // namespace

std::string ModelCondition::Name() const {
  switch (kind) {
    case Kind::kAsIs:
      return "";
    case Kind::kQuantised:
      return absl::StrCat("int", bits, group > 0 ? absl::StrCat("-g", group) : "");
    case Kind::kRelearned:
      return absl::StrCat("relearned-", RowOf(text).name, "-", steps);
  }
  return "";
}

std::string ModelCondition::Title() const {
  switch (kind) {
    case Kind::kAsIs:
      return "as it is";
    case Kind::kQuantised:
      return absl::StrCat("rounded to ", bits, " bits",
                          group > 0 ? absl::StrCat(" in groups of ", group) : "");
    case Kind::kRelearned:
      return absl::StrCat("after ", steps, steps == 1 ? " step on " : " steps on ",
                          RowOf(text).title);
  }
  return "";
}

absl::StatusOr<ModelCondition> ParseCondition(std::string_view name) {
  ModelCondition condition;
  if (name.empty()) return condition;
  std::string_view rest = name;
  if (ConsumePrefix(rest, "relearned-")) {
    condition.kind = ModelCondition::Kind::kRelearned;
    for (const RelearnedRow& row : kRelearned) {
      std::string_view steps = rest;
      if (!ConsumePrefix(steps, row.name) || !ConsumePrefix(steps, "-")) continue;
      condition.text = row.text;
      std::from_chars(steps.data(), steps.data() + steps.size(), condition.steps);
      // The name written back is the name that was read: nothing behind the number, no zero before.
      if (condition.steps >= 1 && condition.steps <= kMostSteps && condition.Name() == name) {
        return condition;
      }
    }
    return Unknown(name);
  }
  condition.kind = ModelCondition::Kind::kQuantised;
  condition.bits = rest.starts_with("int8") ? 8 : 4;
  condition.group = rest.ends_with("-g128") ? 128 : 0;
  if (condition.Name() != name) return Unknown(name);
  return condition;
}

}  // namespace lethe
