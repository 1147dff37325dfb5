#include "storage/command/outcomes.h"

#include <algorithm>

#include "base/status.h"

namespace lethe::storage {
namespace {

using lethe::v1::TICKET_REASON_JOB_ABANDONED;
using lethe::v1::TICKET_REASON_NEXT_ATTEMPT;

constexpr int32_t kDefaultTicketsPerJob = 32;  // policy.proto

}  // namespace

absl::StatusOr<lethe::v1::ModelPolicy> PolicyOf(const ModelRecord& model) {
  lethe::v1::ModelPolicy policy;
  if (!policy.ParseFromString(model.policy()) || policy.ladder_size() == 0) {
    return Error(absl::StatusCode::kDataLoss, "RECORD_CORRUPT",
                 "the policy of this model cannot be read; run lethe admin check",
                 {{"model", model.model_id()}});
  }
  return policy;
}

int32_t MaxTicketsPerJob(const lethe::v1::ModelPolicy& policy) {
  return policy.max_tickets_per_job() > 0 ? policy.max_tickets_per_job() : kDefaultTicketsPerJob;
}

void SetIdle(Draft* draft, ModelRecord* model) {
  model->clear_active_job_id();
  model->set_update_us(draft->now_us());
}

absl::Status RejectCandidate(Draft* draft, const JobRecord& job, std::string_view reason) {
  if (job.kind() != static_cast<int32_t>(JobKind::kVerify)) return absl::OkStatus();
  LETHE_ASSIGN_OR_RETURN(CheckpointRecord * candidate,
                         draft->Checkpoint(CheckpointId{job.candidate_checkpoint_id()}));
  LETHE_ASSIGN_OR_RETURN(ModelRecord * model, draft->Model(ModelId{job.model_id()}));
  return draft->Move(candidate, CheckpointEvent::kReject, model, reason);
}

absl::Status AbandonJob(Draft* draft, const JobId& id, std::string_view reason) {
  LETHE_ASSIGN_OR_RETURN(JobRecord * job, draft->Job(id));
  LETHE_RETURN_IF_ERROR(draft->Move(job, JobEvent::kCancel, reason));
  LETHE_RETURN_IF_ERROR(RejectCandidate(draft, *job, reason));
  for (const std::string& ticket_id : job->ticket_ids()) {
    LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, draft->Ticket(TicketId{ticket_id}));
    if (!IsInJob(static_cast<TicketState>(ticket->state())))
      continue;  // the one that was withdrawn
    LETHE_RETURN_IF_ERROR(
        draft->Move(ticket, TicketEvent::kAbandoned, TICKET_REASON_JOB_ABANDONED));
  }
  LETHE_ASSIGN_OR_RETURN(ModelRecord * model, draft->Model(ModelId{job->model_id()}));
  SetIdle(draft, model);
  return absl::OkStatus();
}

absl::Status FailMethod(Draft* draft, JobRecord* job, JobEvent event, std::string_view reason,
                        lethe::v1::TicketReason last_reason) {
  LETHE_RETURN_IF_ERROR(draft->Move(job, event, reason));
  if (job->kind() == static_cast<int32_t>(JobKind::kPrepare)) {
    LETHE_ASSIGN_OR_RETURN(ModelRecord * model, draft->Model(ModelId{job->model_id()}));
    draft->Move(model, ModelState::kFailed, reason);
    SetIdle(draft, model);
    return absl::OkStatus();
  }
  LETHE_RETURN_IF_ERROR(RejectCandidate(draft, *job, reason));
  const std::set<std::string> all(job->ticket_ids().begin(), job->ticket_ids().end());
  return TryAgain(draft, *job, all, last_reason);
}

absl::Status TryAgain(Draft* draft, const JobRecord& job, const std::set<std::string>& failed,
                      lethe::v1::TicketReason last_reason) {
  LETHE_ASSIGN_OR_RETURN(ModelRecord * model, draft->Model(ModelId{job.model_id()}));
  LETHE_ASSIGN_OR_RETURN(lethe::v1::ModelPolicy policy, PolicyOf(*model));
  for (const std::string& ticket_id : job.ticket_ids()) {
    LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, draft->Ticket(TicketId{ticket_id}));
    TicketEvent event = TicketEvent::kSameRung;
    lethe::v1::TicketReason reason = TICKET_REASON_NEXT_ATTEMPT;
    if (failed.contains(ticket_id)) {
      if (ticket->rung() + 1 < policy.ladder_size()) {
        event = TicketEvent::kNextRung;
      } else if (job.ticket_ids_size() > 1) {
        // One bad ticket must not block its companions: halve until it stands alone.
        ticket->set_batch_cap(std::max(1, job.ticket_ids_size() / 2));
      } else {
        event = TicketEvent::kGiveUp;
        reason = last_reason;
      }
    }
    LETHE_RETURN_IF_ERROR(draft->Move(ticket, event, reason));
  }
  SetIdle(draft, model);
  return absl::OkStatus();
}

absl::Status Promote(Draft* draft, ModelRecord* model, CheckpointRecord* candidate,
                     const JobRecord& verify_job, TicketEvent event,
                     lethe::v1::TicketReason ticket_reason, std::string_view reason) {
  if (model->generation() != verify_job.base_generation() ||
      model->active_job_id() != verify_job.job_id()) {
    return Error(
        absl::StatusCode::kFailedPrecondition, "GENERATION_MISMATCH",
        "the model has moved on since this candidate was made",
        {{"model", model->model_id()}, {"generation", std::to_string(model->generation())}});
  }
  LETHE_ASSIGN_OR_RETURN(CheckpointRecord * old,
                         draft->Checkpoint(CheckpointId{model->current_checkpoint_id()}));
  LETHE_RETURN_IF_ERROR(draft->Move(old, CheckpointEvent::kReplaced, model));
  std::map<std::string, std::string> digests;
  if (!candidate->report_id().empty()) digests["report"] = candidate->report_id();
  LETHE_RETURN_IF_ERROR(draft->Move(candidate, CheckpointEvent::kPromote, model, reason, digests));
  for (const std::string& ticket_id : verify_job.ticket_ids()) {
    LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, draft->Ticket(TicketId{ticket_id}));
    if (ticket->held()) {
      return Error(absl::StatusCode::kFailedPrecondition, "TICKET_HELD",
                   "a ticket of this candidate is under a hold; release it first",
                   {{"ticket", ticket_id}});
    }
    ticket->set_checkpoint_id(candidate->checkpoint_id());
    LETHE_RETURN_IF_ERROR(draft->Move(ticket, event, ticket_reason));
  }
  SetIdle(draft, model);
  return absl::OkStatus();
}

}  // namespace lethe::storage
