// All states × all events, against a list written down separately from the tables.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/status.h"
#include "lethe/v1/job.pb.h"
#include "lethe/v1/model.pb.h"
#include "lethe/v1/ticket.pb.h"
#include "storage/state/checkpoint_state.h"
#include "storage/state/corpus_state.h"
#include "storage/state/job_state.h"
#include "storage/state/ticket_state.h"

namespace lethe::storage {
namespace {

template <typename State, typename Event, size_t S, size_t E>
std::set<std::string> Walk(const State (&states)[S], const Event (&events)[E]) {
  std::set<std::string> allowed;
  for (State state : states) {
    for (Event event : events) {
      const auto step = Step(state, event);
      if (!step.ok()) {
        EXPECT_EQ(step.status().code(), absl::StatusCode::kFailedPrecondition);
        EXPECT_EQ(ErrorReason(step.status()), "WRONG_STATE");
        EXPECT_EQ(ErrorDetails(step.status())["state"], Name(state));
        continue;
      }
      EXPECT_EQ(step->from, state);
      EXPECT_EQ(step->on, event);
      allowed.insert(std::string(Name(state)) + " -" + std::string(Name(event)) + "-> " +
                     std::string(Name(step->to)));
    }
  }
  return allowed;
}

// Every state but NONE can be reached from NONE.
template <typename State, typename Event, size_t S, size_t E>
void ExpectReachable(const State (&states)[S], const Event (&events)[E]) {
  std::set<State> seen = {State::kNone};
  for (size_t round = 0; round < S; ++round) {
    for (State state : states) {
      for (Event event : events) {
        const auto step = Step(state, event);
        if (seen.contains(state) && step.ok()) seen.insert(step->to);
      }
    }
  }
  EXPECT_EQ(seen.size(), S);
}

TEST(TicketStates, ExactlyTheseTransitions) {
  EXPECT_EQ(Walk(kTicketStates, kTicketEvents), (std::set<std::string>{
                                                    "NONE -submit-> QUEUED",
                                                    "NONE -submit for approval-> PENDING_APPROVAL",
                                                    "PENDING_APPROVAL -approve-> QUEUED",
                                                    "PENDING_APPROVAL -deny-> DENIED",
                                                    "PENDING_APPROVAL -withdraw-> CANCELLED",
                                                    "QUEUED -job formed-> UNLEARNING",
                                                    "QUEUED -withdraw-> CANCELLED",
                                                    "UNLEARNING -candidate ready-> VERIFYING",
                                                    "UNLEARNING -next rung-> QUEUED",
                                                    "UNLEARNING -same rung-> QUEUED",
                                                    "UNLEARNING -abandoned-> QUEUED",
                                                    "UNLEARNING -give up-> FAILED",
                                                    "UNLEARNING -withdraw-> CANCELLED",
                                                    "VERIFYING -forgotten-> COMPLETED",
                                                    "VERIFYING -overridden-> COMPLETED",
                                                    "VERIFYING -model clean-> ERASING",
                                                    "ERASING -erased-> COMPLETED",
                                                    "ERASING -give up-> FAILED",
                                                    "VERIFYING -next rung-> QUEUED",
                                                    "VERIFYING -same rung-> QUEUED",
                                                    "VERIFYING -abandoned-> QUEUED",
                                                    "VERIFYING -give up-> FAILED",
                                                    "VERIFYING -withdraw-> CANCELLED",
                                                    "FAILED -retry-> QUEUED",
                                                    "FAILED -withdraw-> CANCELLED",
                                                }));
  ExpectReachable(kTicketStates, kTicketEvents);
}

TEST(TicketStates, NothingLeavesAFinalState) {
  for (TicketState state : kTicketStates) {
    bool leaves = false;
    for (TicketEvent event : kTicketEvents) leaves |= Step(state, event).ok();
    EXPECT_EQ(leaves, !IsFinal(state)) << Name(state);
  }
}

TEST(TicketStates, RungMovesOnlyWhereTheLadderIsMeant) {
  for (const TicketTransition& t : kTicketTransitions) {
    RungEffect want = RungEffect::kKeep;
    if (t.on == TicketEvent::kNextRung) want = RungEffect::kNext;
    if (t.from == TicketState::kNone || t.on == TicketEvent::kRetry) want = RungEffect::kFirst;
    EXPECT_EQ(t.rung, want) << t.why;
  }
}

TEST(JobStates, ExactlyTheseTransitions) {
  EXPECT_EQ(Walk(kJobStates, kJobEvents), (std::set<std::string>{
                                              "NONE -form-> READY",
                                              "READY -acquire-> LEASED",
                                              "READY -cancel-> CANCELLED",
                                              "LEASED -complete-> SUCCEEDED",
                                              "LEASED -lease expired-> READY",
                                              "LEASED -workers lost-> FAILED",
                                              "LEASED -infrastructure failed-> READY",
                                              "LEASED -retries used up-> FAILED",
                                              "LEASED -drained-> READY",
                                              "LEASED -method failed-> FAILED",
                                              "LEASED -input failed-> FAILED",
                                              "LEASED -cancel-> CANCELLED",
                                          }));
  ExpectReachable(kJobStates, kJobEvents);
  for (const JobTransition& t : kJobTransitions) {
    EXPECT_FALSE(IsFinal(t.from));
    // Only the algorithm burns an attempt (a job that keeps killing workers counts as that).
    EXPECT_EQ(t.attempts, t.on == JobEvent::kMethodFailed || t.on == JobEvent::kWorkersLost);
  }
}

TEST(CheckpointStates, ExactlyTheseTransitions) {
  EXPECT_EQ(Walk(kCheckpointStates, kCheckpointEvents), (std::set<std::string>{
                                                            "NONE -register-> PROMOTED",
                                                            "NONE -hand in-> CANDIDATE",
                                                            "CANDIDATE -promote-> PROMOTED",
                                                            "CANDIDATE -reject-> REJECTED",
                                                            "PROMOTED -replaced-> RETIRED",
                                                            "RETIRED -roll back-> PROMOTED",
                                                        }));
  ExpectReachable(kCheckpointStates, kCheckpointEvents);
  for (const CheckpointTransition& t : kCheckpointTransitions) {
    EXPECT_EQ(t.new_generation, t.to == CheckpointState::kPromoted);
  }
}

TEST(CorpusStates, ExactlyTheseTransitions) {
  EXPECT_EQ(Walk(kCorpusStates, kCorpusEvents), (std::set<std::string>{
                                                    "NONE -register-> READING",
                                                    "READING -read-> TRAINING",
                                                    "READING -fail-> FAILED",
                                                    "TRAINING -trained-> READY",
                                                    "FAILED -register-> READING",
                                                }));
  ExpectReachable(kCorpusStates, kCorpusEvents);
}

TEST(TeacherStates, ExactlyTheseTransitions) {
  EXPECT_EQ(Walk(kTeacherStates, kTeacherEvents), (std::set<std::string>{
                                                      "NONE -appoint-> WAITING",
                                                      "WAITING -trained-> READY",
                                                      "WAITING -fail-> FAILED",
                                                      "READY -touched-> STALE",
                                                      "FAILED -touched-> STALE",
                                                      "STALE -touched-> STALE",
                                                      "STALE -trained-> READY",
                                                      "STALE -fail-> STALE",
                                                      "STALE -dismiss-> FAILED",
                                                  }));
  ExpectReachable(kTeacherStates, kTeacherEvents);
}

// The numbers on disk are those on the wire: one list, so a page of the
// API and a dump of the store read the same.
TEST(States, NumbersAreThoseOfTheApi) {
  for (TicketState s : kTicketStates) {
    if (s == TicketState::kNone) continue;
    EXPECT_EQ(lethe::v1::TicketState_Name(static_cast<lethe::v1::TicketState>(s)),
              "TICKET_STATE_" + std::string(Name(s)));
  }
  EXPECT_EQ(std::size(kTicketStates), static_cast<size_t>(lethe::v1::TicketState_ARRAYSIZE));
  for (CheckpointState s : kCheckpointStates) {
    if (s == CheckpointState::kNone) continue;
    EXPECT_EQ(lethe::v1::CheckpointState_Name(static_cast<lethe::v1::CheckpointState>(s)),
              "CHECKPOINT_STATE_" + std::string(Name(s)));
  }
  for (CorpusState s : kCorpusStates) {
    if (s == CorpusState::kNone) continue;
    EXPECT_EQ(lethe::v1::CorpusState_Name(static_cast<lethe::v1::CorpusState>(s)),
              "CORPUS_STATE_" + std::string(Name(s)));
  }
  for (TeacherState s : kTeacherStates) {
    if (s == TeacherState::kNone) continue;
    EXPECT_EQ(lethe::v1::TeacherState_Name(static_cast<lethe::v1::TeacherState>(s)),
              "TEACHER_STATE_" + std::string(Name(s)));
  }
  for (JobKind k : {JobKind::kPrepare, JobKind::kUnlearn, JobKind::kVerify, JobKind::kIngest,
                    JobKind::kTrain, JobKind::kRetrain}) {
    EXPECT_EQ(lethe::v1::JobKind_Name(static_cast<lethe::v1::JobKind>(k)),
              "JOB_KIND_" + std::string(Name(k)));
  }
  for (ModelState s : {ModelState::kPreparing, ModelState::kReady, ModelState::kFailed}) {
    EXPECT_EQ(lethe::v1::ModelState_Name(static_cast<lethe::v1::ModelState>(s)),
              "MODEL_STATE_" + std::string(Name(s)));
  }
}

}  // namespace
}  // namespace lethe::storage
