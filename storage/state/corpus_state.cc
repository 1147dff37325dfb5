#include "storage/state/corpus_state.h"

#include "base/status.h"

namespace lethe::storage {

absl::StatusOr<CorpusTransition> Step(CorpusState from, CorpusEvent on) {
  for (const CorpusTransition& t : kCorpusTransitions) {
    if (t.from == from && t.on == on) return t;
  }
  return Error(absl::StatusCode::kFailedPrecondition, "WRONG_STATE",
               "the corpus' state does not allow this; docs/states.md has the table",
               {{"state", std::string(Name(from))}, {"event", std::string(Name(on))}});
}

absl::StatusOr<TeacherTransition> Step(TeacherState from, TeacherEvent on) {
  for (const TeacherTransition& t : kTeacherTransitions) {
    if (t.from == from && t.on == on) return t;
  }
  return Error(absl::StatusCode::kFailedPrecondition, "WRONG_STATE",
               "the teacher's state does not allow this; docs/states.md has the table",
               {{"state", std::string(Name(from))}, {"event", std::string(Name(on))}});
}

std::string_view Name(CorpusState state) {
  switch (state) {
    case CorpusState::kNone:
      return "NONE";
    case CorpusState::kReading:
      return "READING";
    case CorpusState::kTraining:
      return "TRAINING";
    case CorpusState::kReady:
      return "READY";
    case CorpusState::kFailed:
      return "FAILED";
  }
  return "UNKNOWN";
}

std::string_view Name(CorpusEvent event) {
  switch (event) {
    case CorpusEvent::kRegister:
      return "register";
    case CorpusEvent::kRead:
      return "read";
    case CorpusEvent::kTrained:
      return "trained";
    case CorpusEvent::kFail:
      return "fail";
  }
  return "unknown";
}

std::string_view Name(TeacherState state) {
  switch (state) {
    case TeacherState::kNone:
      return "NONE";
    case TeacherState::kWaiting:
      return "WAITING";
    case TeacherState::kReady:
      return "READY";
    case TeacherState::kStale:
      return "STALE";
    case TeacherState::kFailed:
      return "FAILED";
  }
  return "UNKNOWN";
}

std::string_view Name(TeacherEvent event) {
  switch (event) {
    case TeacherEvent::kAppoint:
      return "appoint";
    case TeacherEvent::kTrained:
      return "trained";
    case TeacherEvent::kTouched:
      return "touched";
    case TeacherEvent::kFail:
      return "fail";
    case TeacherEvent::kDismiss:
      return "dismiss";
  }
  return "unknown";
}

}  // namespace lethe::storage
