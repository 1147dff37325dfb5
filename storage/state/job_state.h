// The job's state machine: one table, one reader. docs/states.md is printed from it by
// `lethe-states`.
//
//   LETHE_ASSIGN_OR_RETURN(JobTransition t, Step(JobState::kLeased, JobEvent::kLeaseExpired));
//
// A job is one rung of one set of tickets. When its algorithm fails the job is FAILED and its
// tickets move on: the next try is a new job. Only what is nobody's fault (lost worker, broken
// disk, drain) gives the same job back.
//
// Errors     FAILED_PRECONDITION/WRONG_STATE when the table has no such line.
// Threads    constant data; any.
#ifndef LETHE_STORAGE_STATE_JOB_STATE_H_
#define LETHE_STORAGE_STATE_JOB_STATE_H_

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"

namespace lethe::storage {

// Numbers are on disk; never reused.
enum class JobState : int32_t {
  kNone = 0,  // not formed yet; never on disk
  kReady = 1,
  kLeased = 2,
  kSucceeded = 3,
  kFailed = 4,
  kCancelled = 5,
};
inline constexpr JobState kJobStates[] = {
    JobState::kNone,      JobState::kReady,  JobState::kLeased,
    JobState::kSucceeded, JobState::kFailed, JobState::kCancelled,
};

// Numbers are on disk and are those of lethe.v1.JobKind; never reused.
enum class JobKind : int32_t {
  kPrepare = 1,
  kUnlearn = 2,
  kVerify = 3,
  // 4 is an audit, which is no job of the store.
  kIngest = 5,
  kTrain = 6,
  kRetrain = 7,
};

// Whether a job of this kind makes a checkpoint of its model.
constexpr bool MakesCheckpoint(JobKind kind) {
  return kind == JobKind::kPrepare || kind == JobKind::kUnlearn;
}
// Whether it works for tickets, which are then in it.
constexpr bool ServesTickets(JobKind kind) {
  return kind == JobKind::kUnlearn || kind == JobKind::kVerify || kind == JobKind::kRetrain;
}
// Whether it is the one job that may change its model; the others work beside it.
constexpr bool HoldsModel(JobKind kind) {
  return kind != JobKind::kIngest && kind != JobKind::kTrain;
}

enum class JobEvent {
  kForm,
  kAcquire,
  kComplete,
  kLeaseExpired,
  kWorkersLost,
  kInfrastructureFailed,
  kRetriesUsedUp,
  kDrained,
  kMethodFailed,
  kInputFailed,
  kCancel,
};
inline constexpr JobEvent kJobEvents[] = {
    JobEvent::kForm,          JobEvent::kAcquire,     JobEvent::kComplete,
    JobEvent::kLeaseExpired,  JobEvent::kWorkersLost, JobEvent::kInfrastructureFailed,
    JobEvent::kRetriesUsedUp, JobEvent::kDrained,     JobEvent::kMethodFailed,
    JobEvent::kInputFailed,   JobEvent::kCancel,
};

struct JobTransition {
  JobState from;
  JobEvent on;
  JobState to;
  int attempts;  // added: the algorithm failed
  int losses;    // added: a lease ran out
  int retries;   // added: infrastructure failed
  const char* why;
};

inline constexpr JobTransition kJobTransitions[] = {
    // from, on, to, attempts, losses, retries, why
    {JobState::kNone, JobEvent::kForm, JobState::kReady, 0, 0, 0, "work exists"},
    {JobState::kReady, JobEvent::kAcquire, JobState::kLeased, 0, 0, 0, "a new fence is drawn"},
    {JobState::kReady, JobEvent::kCancel, JobState::kCancelled, 0, 0, 0,
     "a ticket was cancelled or held, or a person overrode the verdict"},
    {JobState::kLeased, JobEvent::kComplete, JobState::kSucceeded, 0, 0, 0, "the fence matched"},
    {JobState::kLeased, JobEvent::kLeaseExpired, JobState::kReady, 0, 1, 0,
     "a lost worker is not the job's fault"},
    {JobState::kLeased, JobEvent::kWorkersLost, JobState::kFailed, 1, 1, 0,
     "too many workers were lost with it: treated as a failure of the method"},
    {JobState::kLeased, JobEvent::kInfrastructureFailed, JobState::kReady, 0, 0, 1,
     "disk, memory, device or network: again after a pause"},
    {JobState::kLeased, JobEvent::kRetriesUsedUp, JobState::kFailed, 0, 0, 1,
     "infrastructure failed too often: no method is at fault, an operator mends it"},
    {JobState::kLeased, JobEvent::kDrained, JobState::kReady, 0, 0, 0,
     "the worker drains: again at once"},
    {JobState::kLeased, JobEvent::kMethodFailed, JobState::kFailed, 1, 0, 0,
     "its tickets go to the next rung, or a smaller job, or an operator"},
    {JobState::kLeased, JobEvent::kInputFailed, JobState::kFailed, 0, 0, 0,
     "no rung can work on this input"},
    {JobState::kLeased, JobEvent::kCancel, JobState::kCancelled, 0, 0, 0,
     "a ticket was cancelled or held, or a person overrode the verdict; the worker hears it by "
     "heartbeat"},
};

constexpr bool IsFinal(JobState state) {
  return state == JobState::kSucceeded || state == JobState::kFailed ||
         state == JobState::kCancelled;
}

absl::StatusOr<JobTransition> Step(JobState from, JobEvent on);

std::string_view Name(JobState state);  // "READY"
std::string_view Name(JobEvent event);  // "lease expired"
std::string_view Name(JobKind kind);    // "UNLEARN"

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_STATE_JOB_STATE_H_
