// Commands about models and checkpoints.
#include <gmock/gmock.h>

#include "base/digest.h"
#include "base/model_layout.h"
#include "lethe/v1/ticket.pb.h"
#include "tests/support/store_fixture.h"

namespace lethe::storage {
namespace {

class Models : public StoreTest {
 protected:
  RegisterModel Registration(const std::string& name) {
    return {.actor = "ops",
            .model = ModelId{name},
            .job = JobId{NewId(world_->random(), 'j')},
            .policy = World::Policy().SerializeAsString()};
  }
  // One ticket the whole way; the promoted checkpoint.
  CheckpointId PromoteOne(const ModelId& model) {
    const TicketId id = world_->File(model);
    world_->Verify(world_->Lease(world_->Unlearn(world_->Lease(world_->Form(model, {id})))), {});
    return CheckpointId{world_->Model(model).current_checkpoint_id()};
  }
  RollbackModel Rollback(const ModelId& model, const CheckpointId& to, bool acknowledge) {
    return {"ops",     model,      to, Generation{world_->Model(model).generation()},
            "quality", acknowledge};
  }
};

TEST_F(Models, RegisteredThenPreparedIsGenerationOne) {
  const Receipt registered = world_->Must(Registration("m"));
  EXPECT_EQ(registered.model->state(), static_cast<int>(ModelState::kPreparing));
  EXPECT_EQ(registered.job->kind(), static_cast<int>(JobKind::kPrepare));
  EXPECT_EQ(Refusal(Registration("m")), "MODEL_EXISTS");
  const JobRecord job = world_->Lease(*registered.job);
  const Receipt done = world_->Must(CompletePrepare{.actor = "w",
                                                    .job = JobId{job.job_id()},
                                                    .fence = Fence{job.fence()},
                                                    .digest = Sha256Hex("x")});
  EXPECT_EQ(done.model->state(), static_cast<int>(ModelState::kReady));
  EXPECT_EQ(done.model->generation(), 1u);
  EXPECT_EQ(done.checkpoint->generation(), 1u);
  EXPECT_EQ(done.checkpoint->checkpoint_id(), job.candidate_checkpoint_id());
  EXPECT_EQ(done.checkpoint->folder(), "m/checkpoints/" + job.candidate_checkpoint_id());
  EXPECT_EQ(done.model->data_folder(), "m/data/" + job.candidate_checkpoint_id());
}

TEST_F(Models, WhatCannotBePreparedFails) {
  for (FailureCause cause : {FailureCause::kInput, FailureCause::kMethod}) {
    const std::string name = "m" + std::to_string(static_cast<int>(cause));
    const JobRecord job = world_->Lease(*world_->Must(Registration(name)).job);
    world_->Must(FailJob{"w", JobId{job.job_id()}, Fence{job.fence()}, cause, "MODEL_UNSUPPORTED"});
    EXPECT_EQ(world_->Model(ModelId{name}).state(), static_cast<int>(ModelState::kFailed));
    EXPECT_EQ(world_->Model(ModelId{name}).failure_reason(), "MODEL_UNSUPPORTED");
    EXPECT_EQ(Refusal(CreateTickets{"a", {world_->Draft(ModelId{name}, "r", "x")}}),
              "MODEL_NOT_READY");
  }
}

TEST_F(Models, APolicyNeedsALadder) {
  RegisterModel registration = Registration("m");
  registration.policy = "";
  EXPECT_EQ(Refusal(registration), "POLICY_INVALID");
  registration = Registration("Not A Name");
  EXPECT_EQ(Refusal(registration), "COMMAND_MALFORMED");
}

TEST_F(Models, APersonMayOverrideTheVerdict) {
  const ModelId model = world_->ReadyModel("m");
  const TicketId id = world_->File(model);
  const JobRecord verify = world_->Lease(world_->Unlearn(world_->Lease(world_->Form(model, {id}))));
  const CheckpointId candidate{verify.candidate_checkpoint_id()};
  EXPECT_EQ(Refusal(PromoteCheckpoint{"ops", model, candidate, Generation{1}, ""}),
            "REASON_REQUIRED");
  EXPECT_EQ(Refusal(PromoteCheckpoint{"ops", model, candidate, Generation{2}, "urgent"}),
            "GENERATION_MISMATCH");
  world_->Must(PromoteCheckpoint{"ops", model, candidate, Generation{1}, "urgent"});
  EXPECT_EQ(world_->State(id), TicketState::kCompleted);
  EXPECT_EQ(world_->Ticket(id).reason(), lethe::v1::TICKET_REASON_OVERRIDDEN);  // not FORGOTTEN
  EXPECT_EQ(world_->Model(model).generation(), 2u);
  EXPECT_FALSE(HasPayload(id));
  EXPECT_EQ(Refusal(world_->VerifyCommand(verify, {})), "LEASE_LOST");
  EXPECT_EQ(Refusal(PromoteCheckpoint{"ops", model, candidate, Generation{2}, "again"}),
            "WRONG_STATE");
}

TEST_F(Models, RollBackAndForth) {
  const ModelId model = world_->ReadyModel("m");
  const CheckpointId first{world_->Model(model).current_checkpoint_id()};
  const CheckpointId second = PromoteOne(model);
  EXPECT_EQ(Refusal(Rollback(model, second, true)), "WRONG_STATE");  // it is current
  absl::StatusOr<Receipt> refused = store_->Commit(Rollback(model, first, false));
  EXPECT_EQ(ErrorReason(refused.status()), "ROLLBACK_REEXPOSES_FORGOTTEN");
  EXPECT_EQ(ErrorDetails(refused.status())["tickets"], "1");
  world_->Must(Rollback(model, first, true));
  EXPECT_EQ(world_->Model(model).generation(), 3u);
  EXPECT_EQ(world_->Model(model).current_checkpoint_id(), first.value);
  EXPECT_EQ(world_->Checkpoint(first.value).generation(), 3u);
  // Forward again exposes nothing: what the first checkpoint
  // forgot (nothing), the second forgot too.
  world_->Must(Rollback(model, second, false));
  EXPECT_EQ(world_->Model(model).generation(), 4u);
}

TEST_F(Models, RollBackNeedsAnIdleModelAndTheFolder) {
  const ModelId model = world_->ReadyModel("m"), other = world_->ReadyModel("n");
  const CheckpointId first{world_->Model(model).current_checkpoint_id()};
  PromoteOne(model);
  RollbackModel old = Rollback(model, first, true);
  old.expected_generation = Generation{1};
  EXPECT_EQ(Refusal(old), "GENERATION_MISMATCH");
  EXPECT_EQ(Refusal(Rollback(other, first, true)), "CHECKPOINT_NOT_FOUND");
  const JobRecord job = world_->Form(model, {world_->File(model)});
  EXPECT_EQ(Refusal(Rollback(model, first, true)), "JOB_ACTIVE");
  world_->Must(CancelTicket{"a", TicketId{job.ticket_ids(0)}});
  world_->Must(MarkFolderRemoved{"server", first});
  EXPECT_TRUE(world_->Must(MarkFolderRemoved{"server", first}).repeated);
  EXPECT_EQ(Refusal(Rollback(model, first, true)), "CHECKPOINT_REMOVED");
  EXPECT_EQ(Refusal(MarkFolderRemoved{"server",
                                      CheckpointId{world_->Model(model).current_checkpoint_id()}}),
            "WRONG_STATE");
}

}  // namespace
}  // namespace lethe::storage
