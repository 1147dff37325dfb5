#include "server/policy/deadline.h"

#include "base/clock.h"
#include "server/errors.h"

namespace lethe {
namespace {

constexpr absl::Duration kDay = absl::Hours(24);

absl::Status Invalid(const char* message) {
  return FieldError("DUE_TIME_INVALID", "due_time", message);
}

}  // namespace

absl::StatusOr<absl::Time> DueTime(v1::Regulation regulation, absl::Time asked,
                                   std::optional<absl::Time> custom, absl::Time now) {
  if (regulation == v1::REGULATION_CUSTOM) {
    if (!custom.has_value()) return Invalid("REGULATION_CUSTOM wants a due_time");
    if (*custom <= now) return Invalid("the due_time must lie in the future");
    return *custom;
  }
  if (custom.has_value())
    return Invalid("a due_time is only taken with REGULATION_CUSTOM; the law sets the others");
  if (regulation == v1::REGULATION_GDPR) return AddMonthsClamped(asked, 1);
  if (regulation == v1::REGULATION_CCPA) return asked + 45 * kDay;
  return FieldError("REGULATION_UNKNOWN", "regulation", "no regulation of that number");
}

absl::StatusOr<absl::Time> ExtendedDueTime(v1::Regulation regulation, absl::Time asked,
                                           absl::Time due, std::optional<absl::Time> custom) {
  if (regulation == v1::REGULATION_CUSTOM) {
    if (!custom.has_value())
      return Invalid("a ticket with REGULATION_CUSTOM wants the new due_time");
    if (*custom <= due) return Invalid("the new due_time must lie after the present one");
    return *custom;
  }
  if (custom.has_value())
    return Invalid("a due_time is only taken with REGULATION_CUSTOM; the law sets the others");
  if (regulation == v1::REGULATION_GDPR) return AddMonthsClamped(asked, 3);
  if (regulation == v1::REGULATION_CCPA) return asked + 90 * kDay;
  return FieldError("REGULATION_UNKNOWN", "regulation", "no regulation of that number");
}

}  // namespace lethe
