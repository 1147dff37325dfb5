#include "storage/command/outcomes.h"

#include <algorithm>

#include "base/status.h"
#include "storage/command/hand_in.h"

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

bool HasRungs(const JobRecord& job) {
  const auto kind = static_cast<JobKind>(job.kind());
  return kind == JobKind::kUnlearn || kind == JobKind::kVerify;
}

absl::Status GiveUpTickets(Draft* draft, const JobRecord& job, lethe::v1::TicketReason reason) {
  for (const std::string& id : job.ticket_ids()) {
    LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, draft->Ticket(TicketId{id}));
    ticket->clear_checkpoint_id();
    LETHE_RETURN_IF_ERROR(draft->Move(ticket, TicketEvent::kGiveUp, reason));
  }
  LETHE_ASSIGN_OR_RETURN(ModelRecord * model, draft->Model(ModelId{job.model_id()}));
  SetIdle(draft, model);
  return absl::OkStatus();
}

absl::Status FailMethod(Draft* draft, JobRecord* job, JobEvent event, std::string_view reason,
                        lethe::v1::TicketReason last_reason, const LineAtFault& place) {
  LETHE_RETURN_IF_ERROR(draft->Move(job, event, reason));
  LETHE_ASSIGN_OR_RETURN(ModelRecord * model, draft->Model(ModelId{job->model_id()}));
  switch (static_cast<JobKind>(job->kind())) {
    case JobKind::kPrepare:
      draft->Move(model, ModelState::kFailed, reason);
      SetIdle(draft, model);
      return absl::OkStatus();
    case JobKind::kIngest:
      model->mutable_corpus()->set_failure_line(place.line);
      model->mutable_corpus()->set_failure_source(place.source);
      return draft->Move(model, CorpusEvent::kFail, reason);
    case JobKind::kTrain:
      LETHE_RETURN_IF_ERROR(
          draft->Move(model, job->shards(0), TeacherEvent::kFail, job->job_id(), reason));
      return FinishTraining(draft, model);
    case JobKind::kRetrain:
      for (const int32_t shard : job->shards()) {
        LETHE_RETURN_IF_ERROR(
            draft->Move(model, shard, TeacherEvent::kFail, job->job_id(), reason));
      }
      return GiveUpTickets(draft, *job, last_reason);
    case JobKind::kUnlearn:
    case JobKind::kVerify:
      break;
  }
  LETHE_RETURN_IF_ERROR(RejectCandidate(draft, *job, reason));
  const std::set<std::string> all(job->ticket_ids().begin(), job->ticket_ids().end());
  return TryAgain(draft, *job, all, last_reason);
}

absl::Status FinishTraining(Draft* draft, ModelRecord* model) {
  if (model->corpus().state() != static_cast<int32_t>(CorpusState::kTraining)) {
    return absl::OkStatus();
  }
  for (const TeacherRecord& teacher : model->corpus().shards()) {
    if (teacher.state() == static_cast<int32_t>(TeacherState::kWaiting)) return absl::OkStatus();
  }
  return draft->Move(model, CorpusEvent::kTrained);
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

namespace {

// What the promoted model has forgotten still stands in the corpus, and in teachers.
absl::Status StartErasing(Draft* draft, ModelRecord* model, const JobRecord& verify_job,
                          const std::vector<TicketRecord*>& tickets, const JobId& id) {
  LETHE_RETURN_IF_ERROR(CheckFresh(id, draft->view()));
  JobRecord* job = draft->NewJob(id);
  job->set_kind(static_cast<int32_t>(JobKind::kRetrain));
  job->set_model_id(model->model_id());
  job->set_base_generation(model->generation());
  job->set_base_checkpoint_id(model->current_checkpoint_id());
  job->set_seed(verify_job.seed());
  std::set<int32_t> shards;
  for (TicketRecord* ticket : tickets) {
    job->add_ticket_ids(ticket->ticket_id());
    ticket->set_job_id(id.value);
    shards.insert(ticket->corpus_shards().begin(), ticket->corpus_shards().end());
  }
  for (const int32_t shard : shards) {
    job->add_shards(shard);
    LETHE_RETURN_IF_ERROR(draft->Move(model, shard, TeacherEvent::kTouched, id.value));
  }
  LETHE_RETURN_IF_ERROR(draft->Move(job, JobEvent::kForm));
  model->set_active_job_id(id.value);
  return absl::OkStatus();
}

}  // namespace

absl::Status Promote(Draft* draft, ModelRecord* model, CheckpointRecord* candidate,
                     const JobRecord& verify_job, const PromotionOf& how) {
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
  LETHE_RETURN_IF_ERROR(
      draft->Move(candidate, CheckpointEvent::kPromote, model, how.reason, digests));
  std::vector<TicketRecord*> to_erase;
  for (const std::string& ticket_id : verify_job.ticket_ids()) {
    LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, draft->Ticket(TicketId{ticket_id}));
    if (ticket->held()) {
      return Error(absl::StatusCode::kFailedPrecondition, "TICKET_HELD",
                   "a ticket of this candidate is under a hold; release it first",
                   {{"ticket", ticket_id}});
    }
    ticket->set_checkpoint_id(candidate->checkpoint_id());
    const bool erase = ticket->corpus_sequences() > 0;
    if (erase) to_erase.push_back(ticket);
    LETHE_RETURN_IF_ERROR(
        draft->Move(ticket, erase ? TicketEvent::kModelClean : how.event, how.ticket_reason));
  }
  SetIdle(draft, model);
  if (to_erase.empty()) return absl::OkStatus();
  return StartErasing(draft, model, verify_job, to_erase, how.retrain_job);
}

}  // namespace lethe::storage
