// Commands about models and checkpoints.
#include <set>

#include "absl/strings/string_view.h"
#include "base/model_layout.h"
#include "base/status.h"
#include "storage/command/decide_internal.h"
#include "storage/command/draft.h"
#include "storage/command/hand_in.h"
#include "storage/command/outcomes.h"

namespace lethe::storage {
namespace {

constexpr size_t kMaxReasonBytes = 2000;  // 500 characters of at most four bytes

absl::Status CheckReason(const std::string& reason) {
  if (!reason.empty() && reason.size() <= kMaxReasonBytes) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "REASON_REQUIRED",
               "this act needs a reason of 1 to 500 characters; it stands in the audit log");
}

absl::Status CheckGeneration(const ModelRecord& model, Generation expected) {
  if (model.generation() == expected.value) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "GENERATION_MISMATCH",
               "the model has moved on since you looked; read it again",
               {{"model", model.model_id()}, {"generation", std::to_string(model.generation())}});
}

absl::Status CheckOwner(const CheckpointRecord& checkpoint, const ModelId& model) {
  if (checkpoint.model_id() == model.value) return absl::OkStatus();
  return Error(absl::StatusCode::kNotFound, "CHECKPOINT_NOT_FOUND",
               "the model has no such checkpoint",
               {{"model", model.value}, {"checkpoint", checkpoint.checkpoint_id()}});
}

// Every ticket served on the way from the registered checkpoint to this one.
absl::StatusOr<std::set<std::string>> ForgottenBy(const View& view, std::string checkpoint) {
  std::set<std::string> tickets, seen;
  while (!checkpoint.empty() && seen.insert(checkpoint).second) {
    LETHE_ASSIGN_OR_RETURN(CheckpointRecord record, view.GetCheckpoint(CheckpointId{checkpoint}));
    tickets.insert(record.ticket_ids().begin(), record.ticket_ids().end());
    checkpoint = record.parent_checkpoint_id();
  }
  return tickets;
}

}  // namespace

Decision Decide(const RegisterModel& c, const Context& context) {
  if (!IsModelName(c.model.value)) return Malformed("a model's name is not one");
  LETHE_ASSIGN_OR_RETURN(std::optional<ModelRecord> taken, context.view.FindModel(c.model));
  if (taken.has_value()) {
    return Error(absl::StatusCode::kAlreadyExists, "MODEL_EXISTS",
                 "a model of this name is registered; choose another name",
                 {{"model", c.model.value}});
  }
  LETHE_RETURN_IF_ERROR(CheckFresh(c.job, context.view));
  lethe::v1::ModelPolicy policy;
  if (!policy.ParseFromString(c.policy) || policy.ladder_size() == 0) {
    return Error(absl::StatusCode::kInvalidArgument, "POLICY_INVALID",
                 "the policy needs at least one rung");
  }
  Draft draft(context.view, context.now, c.actor);
  ModelRecord* model = draft.NewModel(c.model);
  model->set_policy(c.policy);
  model->set_source_path(c.source_path);
  model->set_retain_path(c.retain_path);
  model->set_holdout_path(c.holdout_path);
  model->mutable_other_paths()->insert(c.other_paths.begin(), c.other_paths.end());
  model->set_created_by(c.actor);
  model->set_active_job_id(c.job.value);
  draft.Move(model, ModelState::kPreparing);
  JobRecord* job = draft.NewJob(c.job);
  job->set_kind(static_cast<int32_t>(JobKind::kPrepare));
  job->set_model_id(c.model.value);
  job->set_seed(c.seed);
  LETHE_RETURN_IF_ERROR(draft.Move(job, JobEvent::kForm));
  Receipt receipt;
  receipt.model = *model;
  receipt.job = *job;
  return draft.Finish(std::move(receipt));
}

Decision Decide(const PromoteCheckpoint& c, const Context& context) {
  LETHE_RETURN_IF_ERROR(CheckReason(c.reason));
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(ModelRecord * model, draft.Model(c.model));
  LETHE_ASSIGN_OR_RETURN(CheckpointRecord * checkpoint, draft.Checkpoint(c.checkpoint));
  LETHE_RETURN_IF_ERROR(CheckOwner(*checkpoint, c.model));
  // A candidate is judged by the model's active job: cancelling that job is what "past the verdict"
  // means.
  LETHE_RETURN_IF_ERROR(
      Step(static_cast<CheckpointState>(checkpoint->state()), CheckpointEvent::kPromote).status());
  LETHE_RETURN_IF_ERROR(CheckGeneration(*model, c.expected_generation));
  LETHE_ASSIGN_OR_RETURN(JobRecord * job, draft.Job(JobId{model->active_job_id()}));
  LETHE_RETURN_IF_ERROR(draft.Move(job, JobEvent::kCancel, "VERDICT_OVERRIDDEN"));
  LETHE_RETURN_IF_ERROR(Promote(&draft, model, checkpoint, *job,
                                {.event = TicketEvent::kOverridden,
                                 .ticket_reason = lethe::v1::TICKET_REASON_OVERRIDDEN,
                                 .reason = c.reason,
                                 .retrain_job = c.retrain_job}));
  Receipt receipt;
  receipt.model = *model;
  receipt.checkpoint = *checkpoint;
  receipt.job = *job;
  for (const std::string& id : job->ticket_ids()) {
    LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, draft.Ticket(TicketId{id}));
    receipt.tickets.push_back(*ticket);
  }
  return draft.Finish(std::move(receipt));
}

Decision Decide(const RollbackModel& c, const Context& context) {
  LETHE_RETURN_IF_ERROR(CheckReason(c.reason));
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(ModelRecord * model, draft.Model(c.model));
  LETHE_ASSIGN_OR_RETURN(CheckpointRecord * target, draft.Checkpoint(c.checkpoint));
  LETHE_RETURN_IF_ERROR(CheckOwner(*target, c.model));
  LETHE_RETURN_IF_ERROR(
      Step(static_cast<CheckpointState>(target->state()), CheckpointEvent::kRollBack).status());
  if (target->folder_removed()) {
    return Error(absl::StatusCode::kFailedPrecondition, "CHECKPOINT_REMOVED",
                 "the folder of this checkpoint has been removed",
                 {{"checkpoint", c.checkpoint.value}});
  }
  LETHE_RETURN_IF_ERROR(CheckGeneration(*model, c.expected_generation));
  if (!model->active_job_id().empty()) {
    return Error(absl::StatusCode::kFailedPrecondition, "JOB_ACTIVE",
                 "a job works on this model; wait for it or hold its tickets",
                 {{"model", c.model.value}, {"job", model->active_job_id()}});
  }
  LETHE_ASSIGN_OR_RETURN(std::set<std::string> now_forgotten,
                         ForgottenBy(context.view, model->current_checkpoint_id()));
  LETHE_ASSIGN_OR_RETURN(std::set<std::string> then_forgotten,
                         ForgottenBy(context.view, c.checkpoint.value));
  int64_t reexposed = 0;
  for (const std::string& ticket : now_forgotten) reexposed += !then_forgotten.contains(ticket);
  if (reexposed > 0 && !c.acknowledge_reexposed) {
    return Error(absl::StatusCode::kFailedPrecondition, "ROLLBACK_REEXPOSES_FORGOTTEN",
                 "that checkpoint still holds text that was forgotten since; set "
                 "acknowledge_reexposed if that is what you want",
                 {{"checkpoint", c.checkpoint.value}, {"tickets", std::to_string(reexposed)}});
  }
  LETHE_ASSIGN_OR_RETURN(CheckpointRecord * old,
                         draft.Checkpoint(CheckpointId{model->current_checkpoint_id()}));
  LETHE_RETURN_IF_ERROR(draft.Move(old, CheckpointEvent::kReplaced, model));
  LETHE_RETURN_IF_ERROR(draft.Move(target, CheckpointEvent::kRollBack, model, c.reason,
                                   {{"reexposed_tickets", std::to_string(reexposed)}}));
  Receipt receipt;
  receipt.model = *model;
  receipt.checkpoint = *target;
  return draft.Finish(std::move(receipt));
}

Decision Decide(const MarkFolderRemoved& c, const Context& context) {
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(CheckpointRecord * checkpoint, draft.Checkpoint(c.checkpoint));
  const auto state = static_cast<CheckpointState>(checkpoint->state());
  if (state != CheckpointState::kRejected && state != CheckpointState::kRetired) {
    return Error(absl::StatusCode::kFailedPrecondition, "WRONG_STATE",
                 "only the folder of a REJECTED or RETIRED checkpoint may go",
                 {{"checkpoint", c.checkpoint.value}, {"state", std::string(Name(state))}});
  }
  Receipt receipt;
  receipt.repeated = checkpoint->folder_removed();
  if (!receipt.repeated) {
    checkpoint->set_folder_removed(true);
    draft.Note(checkpoint, "CHECKPOINT_FOLDER_REMOVED");
  }
  receipt.checkpoint = *checkpoint;
  return draft.Finish(std::move(receipt));
}

}  // namespace lethe::storage
