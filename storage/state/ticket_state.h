// The ticket's state machine: one table, one reader. docs/states.md is printed from it by
// `lethe-states`.
//
//   LETHE_ASSIGN_OR_RETURN(TicketTransition t,
//                          Step(TicketState::kQueued, TicketEvent::kJobFormed));
//
// A hold is a flag beside the state and no part of this table: it blocks kJobFormed and kForgotten,
// see command/decide.h.
//
// Errors     FAILED_PRECONDITION/WRONG_STATE when the table has no such line.
// Threads    constant data; any.
#ifndef LETHE_STORAGE_STATE_TICKET_STATE_H_
#define LETHE_STORAGE_STATE_TICKET_STATE_H_

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"

namespace lethe::storage {

// Numbers are on disk and are those of lethe.v1.TicketState; never reused.
enum class TicketState : int32_t {
  kNone = 0,  // not filed yet; never on disk
  kPendingApproval = 1,
  kQueued = 2,
  kUnlearning = 3,
  kVerifying = 4,
  kCompleted = 5,
  kCancelled = 6,
  kDenied = 7,
  kFailed = 8,
  kErasing = 9,
};
inline constexpr TicketState kTicketStates[] = {
    TicketState::kNone,       TicketState::kPendingApproval, TicketState::kQueued,
    TicketState::kUnlearning, TicketState::kVerifying,       TicketState::kCompleted,
    TicketState::kCancelled,  TicketState::kDenied,          TicketState::kFailed,
    TicketState::kErasing,
};

enum class TicketEvent {
  kSubmit,
  kSubmitForApproval,
  kApprove,
  kDeny,
  kJobFormed,
  kCandidateReady,
  kForgotten,
  kOverridden,
  kModelClean,
  kErased,
  kNextRung,
  kSameRung,
  kAbandoned,
  kGiveUp,
  kRetry,
  kWithdraw,
};
inline constexpr TicketEvent kTicketEvents[] = {
    TicketEvent::kSubmit,     TicketEvent::kSubmitForApproval,
    TicketEvent::kApprove,    TicketEvent::kDeny,
    TicketEvent::kJobFormed,  TicketEvent::kCandidateReady,
    TicketEvent::kForgotten,  TicketEvent::kOverridden,
    TicketEvent::kModelClean, TicketEvent::kErased,
    TicketEvent::kNextRung,   TicketEvent::kSameRung,
    TicketEvent::kAbandoned,  TicketEvent::kGiveUp,
    TicketEvent::kRetry,      TicketEvent::kWithdraw,
};

enum class RungEffect { kKeep, kNext, kFirst };

struct TicketTransition {
  TicketState from;
  TicketEvent on;
  TicketState to;
  RungEffect rung;
  const char* why;  // printed in docs/states.md
};

inline constexpr TicketTransition kTicketTransitions[] = {
    // from, on, to, rung, why
    {TicketState::kNone, TicketEvent::kSubmit, TicketState::kQueued, RungEffect::kFirst,
     "filed; the model's policy asks for no approval"},
    {TicketState::kNone, TicketEvent::kSubmitForApproval, TicketState::kPendingApproval,
     RungEffect::kFirst, "filed; the model's policy asks for approval"},
    {TicketState::kPendingApproval, TicketEvent::kApprove, TicketState::kQueued, RungEffect::kKeep,
     "an approver said yes"},
    {TicketState::kPendingApproval, TicketEvent::kDeny, TicketState::kDenied, RungEffect::kKeep,
     "an approver said no"},
    {TicketState::kPendingApproval, TicketEvent::kWithdraw, TicketState::kCancelled,
     RungEffect::kKeep, "withdrawn before approval"},
    {TicketState::kQueued, TicketEvent::kJobFormed, TicketState::kUnlearning, RungEffect::kKeep,
     "part of a new UNLEARN job; not while held"},
    {TicketState::kQueued, TicketEvent::kWithdraw, TicketState::kCancelled, RungEffect::kKeep,
     "withdrawn while waiting"},
    {TicketState::kUnlearning, TicketEvent::kCandidateReady, TicketState::kVerifying,
     RungEffect::kKeep, "the worker handed in a candidate"},
    {TicketState::kUnlearning, TicketEvent::kNextRung, TicketState::kQueued, RungEffect::kNext,
     "the method failed; the ladder has another rung"},
    {TicketState::kUnlearning, TicketEvent::kSameRung, TicketState::kQueued, RungEffect::kKeep,
     "the method failed on the last rung; again in a job of half the size"},
    {TicketState::kUnlearning, TicketEvent::kAbandoned, TicketState::kQueued, RungEffect::kKeep,
     "a ticket of its job was cancelled or held; burns nothing"},
    {TicketState::kUnlearning, TicketEvent::kGiveUp, TicketState::kFailed, RungEffect::kKeep,
     "the ladder is used up, or the input cannot be worked on"},
    {TicketState::kUnlearning, TicketEvent::kWithdraw, TicketState::kCancelled, RungEffect::kKeep,
     "withdrawn; its job is cancelled"},
    {TicketState::kVerifying, TicketEvent::kForgotten, TicketState::kCompleted, RungEffect::kKeep,
     "the verdict is PASS and the candidate was promoted; not while held"},
    {TicketState::kVerifying, TicketEvent::kOverridden, TicketState::kCompleted, RungEffect::kKeep,
     "a person promoted the candidate past the verdict; not while held"},
    {TicketState::kVerifying, TicketEvent::kModelClean, TicketState::kErasing, RungEffect::kKeep,
     "its candidate was promoted, by verdict or by a person; the corpus holds it still, and so do "
     "teachers: part of a RETRAIN job"},
    {TicketState::kErasing, TicketEvent::kErased, TicketState::kCompleted, RungEffect::kKeep,
     "erased from the corpus, and every teacher that saw it was trained again without it"},
    {TicketState::kErasing, TicketEvent::kGiveUp, TicketState::kFailed, RungEffect::kKeep,
     "its RETRAIN job failed; the promoted model stays"},
    {TicketState::kVerifying, TicketEvent::kNextRung, TicketState::kQueued, RungEffect::kNext,
     "the candidate was rejected; the ladder has another rung"},
    {TicketState::kVerifying, TicketEvent::kSameRung, TicketState::kQueued, RungEffect::kKeep,
     "the candidate was rejected, but not for this ticket; or again in a smaller job"},
    {TicketState::kVerifying, TicketEvent::kAbandoned, TicketState::kQueued, RungEffect::kKeep,
     "a ticket of its job was cancelled or held; burns nothing"},
    {TicketState::kVerifying, TicketEvent::kGiveUp, TicketState::kFailed, RungEffect::kKeep,
     "the ladder is used up"},
    {TicketState::kVerifying, TicketEvent::kWithdraw, TicketState::kCancelled, RungEffect::kKeep,
     "withdrawn before promotion; its job is cancelled"},
    {TicketState::kFailed, TicketEvent::kRetry, TicketState::kQueued, RungEffect::kFirst,
     "an operator starts it again from the first rung"},
    {TicketState::kFailed, TicketEvent::kWithdraw, TicketState::kCancelled, RungEffect::kKeep,
     "withdrawn after it failed"},
};

// COMPLETED, CANCELLED and DENIED: nothing follows, and the ticket's payload and key are destroyed
// on the way in.
constexpr bool IsFinal(TicketState state) {
  return state == TicketState::kCompleted || state == TicketState::kCancelled ||
         state == TicketState::kDenied;
}

// UNLEARNING, VERIFYING or ERASING: an active job holds the ticket.
constexpr bool IsInJob(TicketState state) {
  return state == TicketState::kUnlearning || state == TicketState::kVerifying ||
         state == TicketState::kErasing;
}

absl::StatusOr<TicketTransition> Step(TicketState from, TicketEvent on);

std::string_view Name(TicketState state);  // "QUEUED"; "UNKNOWN" for a number that is none
std::string_view Name(TicketEvent event);  // "job formed"

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_STATE_TICKET_STATE_H_
