// Legal deadlines, by the calendar.
//
//   DueTime(v1::REGULATION_GDPR, 2027-01-31, {}, now)          2027-02-28: one month, clamped
//   ExtendedDueTime(v1::REGULATION_CCPA, asked, due, {})       asked + 90 days
//
// GDPR Art. 12(3): one calendar month from receipt, extensible by two further months. CCPA (Cal.
// Civ. Code 1798.130): 45 days, extensible by 45.
//
// Errors     INVALID_ARGUMENT/DUE_TIME_INVALID.
// Threads    pure functions.
#ifndef LETHE_SERVER_POLICY_DEADLINE_H_
#define LETHE_SERVER_POLICY_DEADLINE_H_

#include <lethe/v1/ticket.pb.h>

#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace lethe {

// When a ticket has to be done. `custom` is the caller's own due time, wanted with
// REGULATION_CUSTOM and refused with any other.
absl::StatusOr<absl::Time> DueTime(v1::Regulation regulation, absl::Time asked,
                                   std::optional<absl::Time> custom, absl::Time now);

// The due time after the one extension. `custom` likewise; it must lie after `due`.
absl::StatusOr<absl::Time> ExtendedDueTime(v1::Regulation regulation, absl::Time asked,
                                           absl::Time due, std::optional<absl::Time> custom);

}  // namespace lethe

#endif  // LETHE_SERVER_POLICY_DEADLINE_H_
