// Decide: the one place where a command becomes changes. Pure: no clock, lock, log, disk or random
// number.
//
//   absl::StatusOr<Changes> changes = Decide(command, view, now, rules);
//
// `view` is the store plus what this group has decided so far. A refusal is a status and changes
// nothing. commands.h says what each command needs and decides; every state goes through Step() of
// its table, every state change adds its audit leaf.
#ifndef LETHE_STORAGE_COMMAND_DECIDE_H_
#define LETHE_STORAGE_COMMAND_DECIDE_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "storage/command/changes.h"
#include "storage/command/commands.h"
#include "storage/command/rules.h"
#include "storage/snapshot.h"

namespace lethe::storage {

absl::StatusOr<Changes> Decide(const Command& command, const View& view, absl::Time now,
                               const Rules& rules);

// The key of an idempotency record: a request id is the caller's text and never becomes a key
// itself.
std::string RequestKey(std::string_view request_id);

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_COMMAND_DECIDE_H_
