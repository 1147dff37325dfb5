#include "storage/state/ticket_state.h"

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace lethe::storage {

absl::StatusOr<TicketTransition> Step(TicketState from, TicketEvent on) {
  for (const TicketTransition& t : kTicketTransitions) {
    if (t.from == from && t.on == on) return t;
  }
  return Error(absl::StatusCode::kFailedPrecondition, "WRONG_STATE",
               "the ticket's state does not allow this; docs/states.md has the table",
               {{"state", std::string(Name(from))}, {"event", std::string(Name(on))}});
}

std::string_view Name(TicketState state) {
  switch (state) {
    case TicketState::kNone:
      return "NONE";
    case TicketState::kPendingApproval:
      return "PENDING_APPROVAL";
    case TicketState::kQueued:
      return "QUEUED";
    case TicketState::kUnlearning:
      return "UNLEARNING";
    case TicketState::kVerifying:
      return "VERIFYING";
    case TicketState::kCompleted:
      return "COMPLETED";
    case TicketState::kCancelled:
      return "CANCELLED";
    case TicketState::kDenied:
      return "DENIED";
    case TicketState::kFailed:
      return "FAILED";
    case TicketState::kErasing:
      return "ERASING";
  }
  return "UNKNOWN";
}

std::string_view Name(TicketEvent event) {
  switch (event) {
    case TicketEvent::kSubmit:
      return "submit";
    case TicketEvent::kSubmitForApproval:
      return "submit for approval";
    case TicketEvent::kApprove:
      return "approve";
    case TicketEvent::kDeny:
      return "deny";
    case TicketEvent::kJobFormed:
      return "job formed";
    case TicketEvent::kCandidateReady:
      return "candidate ready";
    case TicketEvent::kForgotten:
      return "forgotten";
    case TicketEvent::kOverridden:
      return "overridden";
    case TicketEvent::kModelClean:
      return "model clean";
    case TicketEvent::kErased:
      return "erased";
    case TicketEvent::kNextRung:
      return "next rung";
    case TicketEvent::kSameRung:
      return "same rung";
    case TicketEvent::kAbandoned:
      return "abandoned";
    case TicketEvent::kGiveUp:
      return "give up";
    case TicketEvent::kRetry:
      return "retry";
    case TicketEvent::kWithdraw:
      return "withdraw";
  }
  return "unknown";
}

}  // namespace lethe::storage
