// The checkpoint's state machine: one table, one reader. docs/states.md is printed from it by
// `lethe-states`.
//
// Of one model exactly one checkpoint is PROMOTED once the model is READY: the one that `current`
// shows.
//
// Errors     FAILED_PRECONDITION/WRONG_STATE when the table has no such line.
// Threads    constant data; any.
#ifndef LETHE_STORAGE_STATE_CHECKPOINT_STATE_H_
#define LETHE_STORAGE_STATE_CHECKPOINT_STATE_H_

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"

namespace lethe::storage {

// Numbers are on disk and are those of lethe.v1.CheckpointState; never reused.
enum class CheckpointState : int32_t {
  kNone = 0,  // not handed in yet; never on disk
  kCandidate = 1,
  kPromoted = 2,
  kRetired = 3,
  kRejected = 4,
};
inline constexpr CheckpointState kCheckpointStates[] = {
    CheckpointState::kNone,    CheckpointState::kCandidate, CheckpointState::kPromoted,
    CheckpointState::kRetired, CheckpointState::kRejected,
};

enum class CheckpointEvent {
  kRegister,
  kHandIn,
  kPromote,
  kReject,
  kReplaced,
  kRollBack,
};
inline constexpr CheckpointEvent kCheckpointEvents[] = {
    CheckpointEvent::kRegister, CheckpointEvent::kHandIn,   CheckpointEvent::kPromote,
    CheckpointEvent::kReject,   CheckpointEvent::kReplaced, CheckpointEvent::kRollBack,
};

struct CheckpointTransition {
  CheckpointState from;
  CheckpointEvent on;
  CheckpointState to;
  bool new_generation;  // the model's generation grows by one and becomes the checkpoint's
  const char* why;
};

inline constexpr CheckpointTransition kCheckpointTransitions[] = {
    // from, on, to, new generation, why
    {CheckpointState::kNone, CheckpointEvent::kRegister, CheckpointState::kPromoted, true,
     "the registered model was read and measured"},
    {CheckpointState::kNone, CheckpointEvent::kHandIn, CheckpointState::kCandidate, false,
     "a worker handed it in under its fence"},
    {CheckpointState::kCandidate, CheckpointEvent::kPromote, CheckpointState::kPromoted, true,
     "the verdict is PASS, or a person overrode it"},
    {CheckpointState::kCandidate, CheckpointEvent::kReject, CheckpointState::kRejected, false,
     "it did not pass, or its job was abandoned"},
    {CheckpointState::kPromoted, CheckpointEvent::kReplaced, CheckpointState::kRetired, false,
     "another checkpoint was promoted"},
    {CheckpointState::kRetired, CheckpointEvent::kRollBack, CheckpointState::kPromoted, true,
     "a person made it current again"},
};

absl::StatusOr<CheckpointTransition> Step(CheckpointState from, CheckpointEvent on);

std::string_view Name(CheckpointState state);  // "CANDIDATE"
std::string_view Name(CheckpointEvent event);  // "hand in"

// Numbers are on disk and are those of lethe.v1.ModelState. Not a machine worth a table: PREPARING
// becomes READY or FAILED, once.
enum class ModelState : int32_t { kPreparing = 1, kReady = 2, kFailed = 3 };
std::string_view Name(ModelState state);

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_STATE_CHECKPOINT_STATE_H_
