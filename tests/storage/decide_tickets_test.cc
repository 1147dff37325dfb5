// Commands about tickets: what they change, what they refuse.
#include <gmock/gmock.h>

#include "lethe/v1/ticket.pb.h"
#include "storage/command/decide.h"
#include "tests/support/store_fixture.h"

namespace lethe::storage {
namespace {

using Tickets = StoreTest;
using testing::ElementsAre;

lethe::v1::ModelPolicy NeedsApproval() {
  lethe::v1::ModelPolicy policy = World::Policy();
  policy.set_approval_required(true);
  return policy;
}

TEST_F(Tickets, FiledIsQueuedWithPayloadAndOneLeaf) {
  const ModelId model = world_->ReadyModel("m");
  const uint64_t leaves = Leaves();
  const TicketId id = world_->File(model);
  const TicketRecord t = world_->Ticket(id);
  EXPECT_EQ(static_cast<TicketState>(t.state()), TicketState::kQueued);
  EXPECT_EQ(t.version(), 1u);
  EXPECT_EQ(t.create_us(), absl::ToUnixMicros(clock_.Now()));
  EXPECT_EQ(t.original_due_us(), t.due_us());
  EXPECT_EQ(t.created_by(), "officer");
  EXPECT_TRUE(HasPayload(id));
  ASSERT_EQ(Leaves(), leaves + 1);
  AuditLeaf leaf;
  ASSERT_TRUE(leaf.ParseFromString(store_->Snapshot()->AuditLeaves(LogIndex{leaves}, 1)->at(0)));
  EXPECT_EQ(leaf.event(), "TICKET_CREATED");
  EXPECT_EQ(leaf.from() + ">" + leaf.to(), "NONE>QUEUED");
  EXPECT_EQ(leaf.actor(), "officer");
  EXPECT_EQ(leaf.digests().count("payload_commitment"), 1u);
}

TEST_F(Tickets, SameRequestSameTicket) {
  const ModelId model = world_->ReadyModel("m");
  const Receipt first = world_->Must(CreateTickets{"a", {world_->Draft(model, "r1", "text")}});
  const uint64_t leaves = Leaves();
  const Receipt again = world_->Must(CreateTickets{"a", {world_->Draft(model, "r1", "text")}});
  EXPECT_TRUE(again.repeated);
  EXPECT_EQ(again.tickets[0].ticket_id(), first.tickets[0].ticket_id());
  EXPECT_EQ(Leaves(), leaves);
  absl::StatusOr<Receipt> other =
      store_->Commit(CreateTickets{"a", {world_->Draft(model, "r1", "other text")}});
  EXPECT_EQ(other.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ErrorReason(other.status()), "REQUEST_ID_REUSED");
  EXPECT_EQ(ErrorDetails(other.status())["index"], "0");
}

TEST_F(Tickets, ARequestOfAnEndedTicketStillGivesIt) {
  const ModelId model = world_->ReadyModel("m");
  const Receipt first = world_->Must(CreateTickets{"a", {world_->Draft(model, "r1", "text")}});
  const TicketId id{first.tickets[0].ticket_id()};
  world_->Must(CancelTicket{"a", id});
  const Receipt again = world_->Must(CreateTickets{"a", {world_->Draft(model, "r1", "text")}});
  EXPECT_EQ(again.tickets[0].ticket_id(), id.value);
  EXPECT_FALSE(HasPayload(id));
}

TEST_F(Tickets, ABatchIsAllOrNothing) {
  const ModelId model = world_->ReadyModel("m");
  world_->Must(CreateTickets{"a", {world_->Draft(model, "taken", "x")}});
  absl::StatusOr<Receipt> refused = store_->Commit(
      CreateTickets{"a",
                    {world_->Draft(model, "r1", "x"), world_->Draft(model, "r2", "y"),
                     world_->Draft(model, "taken", "other")}});
  EXPECT_EQ(ErrorReason(refused.status()), "REQUEST_ID_REUSED");
  EXPECT_EQ(ErrorDetails(refused.status())["index"], "2");
  EXPECT_EQ(store_->Totals().tickets[TicketState::kQueued], 1);
  // The same id twice in a batch is one ticket; a batch may mix known and new.
  const Receipt mixed = world_->Must(
      CreateTickets{"a",
                    {world_->Draft(model, "taken", "x"), world_->Draft(model, "r1", "x"),
                     world_->Draft(model, "r1", "x")}});
  EXPECT_FALSE(mixed.repeated);
  EXPECT_EQ(mixed.tickets[1].ticket_id(), mixed.tickets[2].ticket_id());
  EXPECT_EQ(store_->Totals().tickets[TicketState::kQueued], 2);
}

TEST_F(Tickets, RefusedAtTheDoor) {
  const ModelId model = world_->ReadyModel("m");
  EXPECT_EQ(Refusal(CreateTickets{"a", {world_->Draft(ModelId{"nobody"}, "r", "x")}}),
            "MODEL_NOT_FOUND");
  world_->Must(RegisterModel{.actor = "ops",
                             .model = ModelId{"preparing"},
                             .job = JobId{NewId(world_->random(), 'j')},
                             .policy = World::Policy().SerializeAsString()});
  EXPECT_EQ(Refusal(CreateTickets{"a", {world_->Draft(ModelId{"preparing"}, "r", "x")}}),
            "MODEL_NOT_READY");
  EXPECT_EQ(Refusal(CreateTickets{"a", {}}), "COMMAND_MALFORMED");
  for (auto break_it :
       {+[](NewTicket& t) { t.id.value = "t-1"; }, +[](NewTicket& t) { t.request_key.clear(); },
        +[](NewTicket& t) { t.request_digest.clear(); }, +[](NewTicket& t) { t.sequences = 0; },
        +[](NewTicket& t) { t.payload.clear_sealed(); },
        +[](NewTicket& t) { t.key.clear_wrapped(); }}) {
    NewTicket ticket = world_->Draft(model, "r", "x");
    break_it(ticket);
    EXPECT_EQ(Refusal(CreateTickets{"a", {ticket}}), "COMMAND_MALFORMED");
  }
  NewTicket twice = world_->Draft(model, "r1", "x");
  world_->Must(CreateTickets{"a", {twice}});
  twice.request_key = RequestKey("r2");
  EXPECT_EQ(Refusal(CreateTickets{"a", {twice}}), "COMMAND_MALFORMED");  // its id is taken
}

TEST_F(Tickets, ApprovalThenQueueInOrderOfApproval) {
  const ModelId model = world_->ReadyModel("m", NeedsApproval());
  const TicketId a = world_->File(model), b = world_->File(model);
  EXPECT_EQ(world_->State(a), TicketState::kPendingApproval);
  EXPECT_TRUE(store_->Work(10).queues.empty());
  world_->Must(ApproveTicket{"officer", b});
  world_->Must(ApproveTicket{"officer", a});
  const WorkView work = store_->Work(10);
  ASSERT_EQ(work.queues.size(), 1u);
  ASSERT_EQ(work.queues[0].head.size(), 2u);
  EXPECT_EQ(work.queues[0].head[0].id, b);
  EXPECT_EQ(Refusal(ApproveTicket{"officer", a}), "WRONG_STATE");
}

TEST_F(Tickets, DeniedLosesItsText) {
  const ModelId model = world_->ReadyModel("m", NeedsApproval());
  const TicketId id = world_->File(model);
  EXPECT_EQ(Refusal(DenyTicket{"officer", id, std::nullopt, lethe::v1::TICKET_REASON_FORGOTTEN}),
            "REASON_REQUIRED");
  world_->Must(DenyTicket{"officer", id, 1, lethe::v1::TICKET_REASON_DUPLICATE});
  const TicketRecord t = world_->Ticket(id);
  EXPECT_EQ(static_cast<TicketState>(t.state()), TicketState::kDenied);
  EXPECT_EQ(t.reason(), lethe::v1::TICKET_REASON_DUPLICATE);
  EXPECT_TRUE(t.payload_destroyed());
  EXPECT_TRUE(t.request_digest().empty());
  EXPECT_NE(t.end_us(), 0);
  EXPECT_FALSE(HasPayload(id));
}

TEST_F(Tickets, AHoldDoesNotSkipTheApproval) {
  const ModelId model = world_->ReadyModel("m", NeedsApproval());
  const TicketId id = world_->File(model);
  world_->Must(HoldTicket{"legal", id});
  world_->Must(ReleaseTicket{"legal", id});
  EXPECT_EQ(world_->State(id), TicketState::kPendingApproval);
}

TEST_F(Tickets, AHeldTicketDoesNotWait) {
  const ModelId model = world_->ReadyModel("m");
  const TicketId id = world_->File(model);
  const Receipt held = world_->Must(HoldTicket{"legal", id});
  EXPECT_TRUE(held.tickets[0].held());
  EXPECT_TRUE(world_->Must(HoldTicket{"legal", id}).repeated);
  EXPECT_TRUE(store_->Work(10).queues.empty());
  EXPECT_EQ(store_->Totals().held, 1);
  EXPECT_EQ(Refusal(world_->FormCommand(model, {id})), "TICKET_HELD");
  world_->Must(ReleaseTicket{"legal", id});
  EXPECT_TRUE(world_->Must(ReleaseTicket{"legal", id}).repeated);
  EXPECT_EQ(store_->Work(10).queues.size(), 1u);
}

TEST_F(Tickets, CancelInEveryOpenState) {
  const ModelId model = world_->ReadyModel("m", World::Policy(/*rungs=*/1));
  const TicketId queued = world_->File(model);
  world_->Must(CancelTicket{"a", queued});
  EXPECT_EQ(world_->Ticket(queued).reason(), lethe::v1::TICKET_REASON_WITHDRAWN);
  EXPECT_FALSE(HasPayload(queued));
  EXPECT_EQ(Refusal(CancelTicket{"a", queued}), "WRONG_STATE");
  EXPECT_EQ(Refusal(HoldTicket{"a", queued}), "WRONG_STATE");

  const TicketId failed = world_->File(model);
  const JobRecord job = world_->Lease(world_->Form(model, {failed}));
  world_->Must(FailJob{"w", JobId{job.job_id()}, Fence{job.fence()}, FailureCause::kInput, "BAD"});
  ASSERT_EQ(world_->State(failed), TicketState::kFailed);
  EXPECT_TRUE(HasPayload(failed));  // kept for a retry
  world_->Must(CancelTicket{"a", failed});
  EXPECT_FALSE(HasPayload(failed));
}

// In a job: the job is cancelled, its candidate rejected, its
// companions wait again and keep their places.
TEST_F(Tickets, CancelWhileVerifyingAbandonsTheJob) {
  const ModelId model = world_->ReadyModel("m");
  const TicketId a = world_->File(model), b = world_->File(model), c = world_->File(model);
  const JobRecord verify =
      world_->Lease(world_->Unlearn(world_->Lease(world_->Form(model, {a, b}))));
  world_->Must(CancelTicket{"a", a});
  EXPECT_EQ(world_->State(a), TicketState::kCancelled);
  EXPECT_EQ(world_->State(b), TicketState::kQueued);
  EXPECT_EQ(world_->Ticket(b).reason(), lethe::v1::TICKET_REASON_JOB_ABANDONED);
  EXPECT_EQ(world_->Ticket(b).rung(), 0);
  EXPECT_EQ(static_cast<JobState>(world_->Job(verify.job_id()).state()), JobState::kCancelled);
  EXPECT_EQ(
      static_cast<CheckpointState>(world_->Checkpoint(verify.candidate_checkpoint_id()).state()),
      CheckpointState::kRejected);
  const WorkView work = store_->Work(10);
  ASSERT_EQ(work.queues.size(), 1u);
  EXPECT_TRUE(work.queues[0].idle);
  EXPECT_EQ(work.queues[0].head[0].id, b);
  EXPECT_EQ(work.queues[0].head[1].id, c);
  // The worker hears it with its next heartbeat; its result comes too late.
  const Heartbeat beat{"w", JobId{verify.job_id()}, Fence{verify.fence()}, absl::Seconds(60)};
  EXPECT_EQ(world_->Must(beat).directive, Directive::kCancel);
  EXPECT_EQ(Refusal(world_->VerifyCommand(verify, {})), "LEASE_LOST");
}

TEST_F(Tickets, HoldWhileUnlearningAbandonsTheJob) {
  const ModelId model = world_->ReadyModel("m");
  const TicketId a = world_->File(model), b = world_->File(model);
  const JobRecord job = world_->Lease(world_->Form(model, {a, b}));
  world_->Must(HoldTicket{"legal", a});
  EXPECT_EQ(world_->State(a), TicketState::kQueued);
  EXPECT_EQ(world_->State(b), TicketState::kQueued);
  EXPECT_EQ(Refusal(world_->UnlearnCommand(job)), "LEASE_LOST");
  EXPECT_EQ(store_->Work(10).queues[0].waiting, 1);  // b alone
}

TEST_F(Tickets, AnOldEtagIsRefused) {
  const ModelId model = world_->ReadyModel("m");
  const TicketId id = world_->File(model);
  world_->Must(HoldTicket{"a", id, 1});
  for (const Command& command : std::initializer_list<Command>{
           HoldTicket{"a", id, 1}, ReleaseTicket{"a", id, 1}, CancelTicket{"a", id, 1},
           ApproveTicket{"a", id, 1}, RetryTicket{"a", id, 1}}) {
    EXPECT_EQ(Refusal(command), "ETAG_MISMATCH");
  }
  world_->Must(ReleaseTicket{"a", id, 2});
}

TEST_F(Tickets, TheDueTimeMovesOnce) {
  const ModelId model = world_->ReadyModel("m");
  const TicketId id = world_->File(model);
  const absl::Time due = absl::FromUnixMicros(world_->Ticket(id).due_us());
  EXPECT_EQ(Refusal(ExtendTicket{"a", id, std::nullopt, due + absl::Hours(1), ""}),
            "REASON_REQUIRED");
  EXPECT_EQ(Refusal(ExtendTicket{"a", id, std::nullopt, due, "complex"}), "DUE_TIME_INVALID");
  world_->Must(ExtendTicket{"a", id, 1, due + absl::Hours(24), "complex"});
  const TicketRecord t = world_->Ticket(id);
  EXPECT_EQ(t.due_us(), absl::ToUnixMicros(due + absl::Hours(24)));
  EXPECT_EQ(t.original_due_us(), absl::ToUnixMicros(due));
  EXPECT_EQ(*store_->Totals().nearest_due, due + absl::Hours(24));
  EXPECT_EQ(Refusal(ExtendTicket{"a", id, std::nullopt, due + absl::Hours(48), "again"}),
            "ALREADY_EXTENDED");
}

TEST_F(Tickets, RetryStartsFromTheFirstRungAtTheEndOfTheQueue) {
  const ModelId model = world_->ReadyModel("m", World::Policy(/*rungs=*/2));
  const TicketId id = world_->File(model);
  for (int rung : {0, 1}) {
    const JobRecord job = world_->Lease(world_->Form(model, {id}, rung));
    world_->Must(FailJob{"w", JobId{job.job_id()}, Fence{job.fence()}, FailureCause::kMethod,
                         "METHOD_DIVERGED"});
  }
  EXPECT_EQ(world_->State(id), TicketState::kFailed);
  EXPECT_EQ(world_->Ticket(id).reason(), lethe::v1::TICKET_REASON_METHOD_FAILED);
  const TicketId later = world_->File(model);
  world_->Must(RetryTicket{"ops", id});
  EXPECT_EQ(world_->State(id), TicketState::kQueued);
  EXPECT_EQ(world_->Ticket(id).rung(), 0);
  EXPECT_EQ(store_->Work(10).queues[0].head[0].id, later);
  EXPECT_EQ(Refusal(RetryTicket{"ops", id}), "WRONG_STATE");
}

TEST_F(Tickets, OldRequestIdsAreForgotten) {
  const ModelId model = world_->ReadyModel("m");
  world_->Must(CreateTickets{"a", {world_->Draft(model, "r1", "x")}});
  clock_.Advance(absl::Hours(24 * 179));
  EXPECT_EQ(world_->Must(PurgeRequests{"server"}).count, 0);
  clock_.Advance(absl::Hours(48));
  EXPECT_EQ(world_->Must(PurgeRequests{"server"}).count, 1);
  EXPECT_FALSE(world_->Must(CreateTickets{"a", {world_->Draft(model, "r1", "y")}}).repeated);
}

TEST_F(Tickets, UnknownIdsAreNotFound) {
  const TicketId id{NewId(world_->random(), 't')};
  EXPECT_EQ(Refusal(ApproveTicket{"a", id}), "TICKET_NOT_FOUND");
  EXPECT_EQ(Refusal(CancelTicket{"a", id}), "TICKET_NOT_FOUND");
  EXPECT_EQ(store_->Snapshot()->GetTicket(id).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace lethe::storage
