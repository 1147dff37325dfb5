// The state machines of a corpus and of its teachers: one table each, one reader. docs/states.md is
// printed from them by `lethe-states`.
//
//   LETHE_ASSIGN_OR_RETURN(TeacherTransition t,
//                          Step(TeacherState::kReady, TeacherEvent::kTouched));
//
// A teacher that is READY has seen exactly what its shard holds. Only such a teacher teaches.
//
// Errors     FAILED_PRECONDITION/WRONG_STATE when the table has no such line.
// Threads    constant data; any.
#ifndef LETHE_STORAGE_STATE_CORPUS_STATE_H_
#define LETHE_STORAGE_STATE_CORPUS_STATE_H_

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"

namespace lethe::storage {

// Numbers are on disk and are those of lethe.v1.CorpusState; never reused.
enum class CorpusState : int32_t {
  kNone = 0,  // not registered; never on disk
  kReading = 1,
  kTraining = 2,
  kReady = 3,
  kFailed = 4,
};
inline constexpr CorpusState kCorpusStates[] = {
    CorpusState::kNone,  CorpusState::kReading, CorpusState::kTraining,
    CorpusState::kReady, CorpusState::kFailed,
};

enum class CorpusEvent { kRegister, kRead, kTrained, kFail };
inline constexpr CorpusEvent kCorpusEvents[] = {CorpusEvent::kRegister, CorpusEvent::kRead,
                                                CorpusEvent::kTrained, CorpusEvent::kFail};

struct CorpusTransition {
  CorpusState from;
  CorpusEvent on;
  CorpusState to;
  const char* why;  // printed in docs/states.md
};

inline constexpr CorpusTransition kCorpusTransitions[] = {
    // from, on, to, why
    {CorpusState::kNone, CorpusEvent::kRegister, CorpusState::kReading,
     "a worker reads its lines into shards"},
    {CorpusState::kReading, CorpusEvent::kRead, CorpusState::kTraining,
     "it is whole; a TRAIN job for each shard"},
    {CorpusState::kReading, CorpusEvent::kFail, CorpusState::kFailed,
     "a line is wrong, or the machines failed; nothing of it is kept"},
    {CorpusState::kTraining, CorpusEvent::kTrained, CorpusState::kReady,
     "no teacher waits any more: tickets may name its people"},
    {CorpusState::kFailed, CorpusEvent::kRegister, CorpusState::kReading, "registered again"},
};

// Numbers are on disk and are those of lethe.v1.TeacherState; never reused.
enum class TeacherState : int32_t {
  kNone = 0,  // no corpus yet; never on disk
  kWaiting = 1,
  kReady = 2,
  kStale = 3,
  kFailed = 4,
};
inline constexpr TeacherState kTeacherStates[] = {
    TeacherState::kNone,  TeacherState::kWaiting, TeacherState::kReady,
    TeacherState::kStale, TeacherState::kFailed,
};

enum class TeacherEvent { kAppoint, kTrained, kTouched, kFail, kDismiss };
inline constexpr TeacherEvent kTeacherEvents[] = {TeacherEvent::kAppoint, TeacherEvent::kTrained,
                                                  TeacherEvent::kTouched, TeacherEvent::kFail,
                                                  TeacherEvent::kDismiss};

struct TeacherTransition {
  TeacherState from;
  TeacherEvent on;
  TeacherState to;
  const char* why;
};

inline constexpr TeacherTransition kTeacherTransitions[] = {
    // from, on, to, why
    {TeacherState::kNone, TeacherEvent::kAppoint, TeacherState::kWaiting,
     "its shard is there; a TRAIN job is READY"},
    {TeacherState::kWaiting, TeacherEvent::kTrained, TeacherState::kReady,
     "it has seen exactly what its shard holds"},
    {TeacherState::kWaiting, TeacherEvent::kFail, TeacherState::kFailed,
     "it could not be trained, and does not teach"},
    {TeacherState::kReady, TeacherEvent::kTouched, TeacherState::kStale,
     "something that it saw is being erased; a RETRAIN job is READY"},
    {TeacherState::kFailed, TeacherEvent::kTouched, TeacherState::kStale,
     "its shard holds something that is being erased, and so may its states"},
    {TeacherState::kStale, TeacherEvent::kTouched, TeacherState::kStale,
     "the RETRAIN job before failed; another one cleans up for both"},
    {TeacherState::kStale, TeacherEvent::kTrained, TeacherState::kReady,
     "erased, and trained again without it"},
    {TeacherState::kStale, TeacherEvent::kFail, TeacherState::kStale,
     "its RETRAIN job failed: it may still know what is to be erased, and does not teach"},
    {TeacherState::kStale, TeacherEvent::kDismiss, TeacherState::kFailed,
     "erased, its states that saw it removed; it could not be trained again, and does not teach"},
};

absl::StatusOr<CorpusTransition> Step(CorpusState from, CorpusEvent on);
absl::StatusOr<TeacherTransition> Step(TeacherState from, TeacherEvent on);

std::string_view Name(CorpusState state);  // "READING"
std::string_view Name(CorpusEvent event);  // "read"
std::string_view Name(TeacherState state);
std::string_view Name(TeacherEvent event);

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_STATE_CORPUS_STATE_H_
