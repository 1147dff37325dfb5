// What all commands that hand in a result check first. Internal to command/.
#ifndef LETHE_STORAGE_COMMAND_HAND_IN_H_
#define LETHE_STORAGE_COMMAND_HAND_IN_H_

#include <initializer_list>
#include <string>
#include <string_view>

#include "storage/command/decide_internal.h"
#include "storage/state/job_state.h"

namespace lethe::storage {

absl::Status ResultMismatch(std::string_view what, const JobId& job);
absl::Status ResultMalformed(std::string_view what, const JobId& job);

// Length-prefixed, so that no two lists of parts share a digest.
std::string ResultDigest(std::initializer_list<std::string_view> parts);

enum class HeldLease { kHeld, kRepeated };

// Whether this hand-in counts: held; or a repetition of the one that was accepted; or LEASE_LOST.
absl::StatusOr<HeldLease> CheckLease(const JobRecord& job, Fence fence, JobKind kind,
                                     const std::string& digest);

// The answer to a repetition.
Decision Repeated(const JobRecord& job);

// A job id that a caller drew; COMMAND_MALFORMED when it is none, or taken.
absl::Status CheckFresh(const JobId& job, const View& view);

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_COMMAND_HAND_IN_H_
