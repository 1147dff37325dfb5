#include "storage/state/checkpoint_state.h"

#include "base/status.h"

namespace lethe::storage {

absl::StatusOr<CheckpointTransition> Step(CheckpointState from, CheckpointEvent on) {
  for (const CheckpointTransition& t : kCheckpointTransitions) {
    if (t.from == from && t.on == on) return t;
  }
  return Error(absl::StatusCode::kFailedPrecondition, "WRONG_STATE",
               "the checkpoint's state does not allow this; docs/states.md has the table",
               {{"state", std::string(Name(from))}, {"event", std::string(Name(on))}});
}

std::string_view Name(CheckpointState state) {
  switch (state) {
    case CheckpointState::kNone:
      return "NONE";
    case CheckpointState::kCandidate:
      return "CANDIDATE";
    case CheckpointState::kPromoted:
      return "PROMOTED";
    case CheckpointState::kRetired:
      return "RETIRED";
    case CheckpointState::kRejected:
      return "REJECTED";
  }
  return "UNKNOWN";
}

std::string_view Name(CheckpointEvent event) {
  switch (event) {
    case CheckpointEvent::kRegister:
      return "register";
    case CheckpointEvent::kHandIn:
      return "hand in";
    case CheckpointEvent::kPromote:
      return "promote";
    case CheckpointEvent::kReject:
      return "reject";
    case CheckpointEvent::kReplaced:
      return "replaced";
    case CheckpointEvent::kRollBack:
      return "roll back";
  }
  return "unknown";
}

std::string_view Name(ModelState state) {
  switch (state) {
    case ModelState::kPreparing:
      return "PREPARING";
    case ModelState::kReady:
      return "READY";
    case ModelState::kFailed:
      return "FAILED";
  }
  return "UNKNOWN";
}

}  // namespace lethe::storage
