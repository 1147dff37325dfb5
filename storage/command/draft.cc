#include "storage/command/draft.h"

#include "base/status.h"
#include "evidence/leaf.h"
#include "storage/command/decide_internal.h"
#include "storage/state/checkpoint_state.h"
#include "storage/state/job_state.h"
#include "storage/state/ticket_state.h"

namespace lethe::storage {
namespace {

// The record of this draft, or a copy of the view's.
template <typename Record, typename Get>
absl::StatusOr<Record*> Load(Puts<Record>& puts, const std::string& id, Get get) {
  auto it = puts.find(id);
  if (it == puts.end()) {
    LETHE_ASSIGN_OR_RETURN(Record record, get());
    it = puts.emplace(id, Put<Record>{record, record}).first;
  }
  return &it->second.after;
}

template <typename Record>
void DropUnchanged(Puts<Record>& puts) {
  for (auto it = puts.begin(); it != puts.end();) {
    const Put<Record>& put = it->second;
    const bool same = put.before.has_value() && Serialize(*put.before) == Serialize(put.after);
    it = same ? puts.erase(it) : std::next(it);
  }
}

}  // namespace

Draft::Draft(const View& view, absl::Time now, std::string actor)
    : view_(view), now_(now), actor_(std::move(actor)) {}

absl::StatusOr<TicketRecord*> Draft::Ticket(const TicketId& id) {
  return Load(changes_.tickets, id.value, [&] { return view_.GetTicket(id); });
}
absl::StatusOr<JobRecord*> Draft::Job(const JobId& id) {
  return Load(changes_.jobs, id.value, [&] { return view_.GetJob(id); });
}
absl::StatusOr<ModelRecord*> Draft::Model(const ModelId& id) {
  return Load(changes_.models, id.value, [&] { return view_.GetModel(id); });
}
absl::StatusOr<CheckpointRecord*> Draft::Checkpoint(const CheckpointId& id) {
  return Load(changes_.checkpoints, id.value, [&] { return view_.GetCheckpoint(id); });
}

TicketRecord* Draft::NewTicket(const TicketId& id) {
  TicketRecord* ticket = &changes_.tickets[id.value].after;
  ticket->set_ticket_id(id.value);
  ticket->set_create_us(now_us());
  return ticket;
}
JobRecord* Draft::NewJob(const JobId& id) {
  JobRecord* job = &changes_.jobs[id.value].after;
  job->set_job_id(id.value);
  job->set_create_us(now_us());
  return job;
}
ModelRecord* Draft::NewModel(const ModelId& id) {
  ModelRecord* model = &changes_.models[id.value].after;
  model->set_model_id(id.value);
  model->set_create_us(now_us());
  return model;
}
CheckpointRecord* Draft::NewCheckpoint(const CheckpointId& id) {
  CheckpointRecord* checkpoint = &changes_.checkpoints[id.value].after;
  checkpoint->set_checkpoint_id(id.value);
  checkpoint->set_create_us(now_us());
  return checkpoint;
}

absl::Status Draft::Move(TicketRecord* ticket, TicketEvent event, lethe::v1::TicketReason reason,
                         const std::map<std::string, std::string>& digests) {
  const auto from = static_cast<TicketState>(ticket->state());
  absl::StatusOr<TicketTransition> step = Step(from, event);
  if (!step.ok()) return step.status();
  ticket->set_state(static_cast<int32_t>(step->to));
  ticket->set_reason(reason);
  if (step->rung == RungEffect::kNext) ticket->set_rung(ticket->rung() + 1);
  if (step->rung == RungEffect::kFirst) ticket->set_rung(0);
  if (event == TicketEvent::kSubmit || event == TicketEvent::kApprove ||
      event == TicketEvent::kRetry) {
    // A place at the end of the queue. Whoever comes back from a job keeps the place he had.
    LETHE_ASSIGN_OR_RETURN(CountersRecord * counters, Counters());
    counters->set_queue_seq(counters->queue_seq() + 1);
    ticket->set_queue_seq(counters->queue_seq());
  }
  if (IsFinal(step->to)) {
    ticket->set_end_us(now_us());
    ticket->set_payload_destroyed(true);
    ticket->clear_request_digest();
    changes_.payloads.erase(ticket->ticket_id());
    changes_.keys.erase(ticket->ticket_id());
    changes_.destroyed.insert(ticket->ticket_id());
  }
  ticket->set_update_us(now_us());
  ticket->set_version(ticket->version() + 1);
  AuditLeaf* leaf =
      Leaf(from == TicketState::kNone ? "TICKET_CREATED" : "TICKET_STATE", ReasonName(reason));
  leaf->set_ticket_id(ticket->ticket_id());
  leaf->set_model_id(ticket->model_id());
  if (from != TicketState::kNone) leaf->set_job_id(ticket->job_id());
  leaf->set_from(std::string(Name(from)));
  leaf->set_to(std::string(Name(step->to)));
  leaf->mutable_digests()->insert(digests.begin(), digests.end());
  return absl::OkStatus();
}

absl::Status Draft::Move(JobRecord* job, JobEvent event, std::string_view reason,
                         const std::map<std::string, std::string>& digests) {
  const auto from = static_cast<JobState>(job->state());
  absl::StatusOr<JobTransition> step = Step(from, event);
  if (!step.ok()) return step.status();
  job->set_state(static_cast<int32_t>(step->to));
  job->set_attempts(job->attempts() + step->attempts);
  job->set_losses(job->losses() + step->losses);
  job->set_retries(job->retries() + step->retries);
  if (step->to != JobState::kLeased) job->clear_lease_expire_us();
  if (step->to == JobState::kReady && MakesCheckpoint(static_cast<JobKind>(job->kind()))) {
    job->clear_candidate_checkpoint_id();  // the next lease makes another one
  }
  if (!reason.empty()) job->set_failure_reason(std::string(reason));
  job->set_update_us(now_us());
  AuditLeaf* leaf = Leaf("JOB_STATE", reason);
  leaf->set_job_id(job->job_id());
  leaf->set_model_id(job->model_id());
  leaf->set_checkpoint_id(job->candidate_checkpoint_id());
  leaf->set_fence(job->fence());
  leaf->set_from(std::string(Name(from)));
  leaf->set_to(std::string(Name(step->to)));
  leaf->mutable_digests()->insert(digests.begin(), digests.end());
  return absl::OkStatus();
}

absl::Status Draft::Move(CheckpointRecord* checkpoint, CheckpointEvent event, ModelRecord* model,
                         std::string_view reason,
                         const std::map<std::string, std::string>& digests) {
  const auto from = static_cast<CheckpointState>(checkpoint->state());
  absl::StatusOr<CheckpointTransition> step = Step(from, event);
  if (!step.ok()) return step.status();
  checkpoint->set_state(static_cast<int32_t>(step->to));
  checkpoint->set_update_us(now_us());
  if (step->new_generation) {
    model->set_generation(model->generation() + 1);
    model->set_current_checkpoint_id(checkpoint->checkpoint_id());
    model->set_update_us(now_us());
    checkpoint->set_generation(model->generation());
  }
  AuditLeaf* leaf = Leaf("CHECKPOINT_STATE", reason);
  leaf->set_checkpoint_id(checkpoint->checkpoint_id());
  leaf->set_job_id(checkpoint->job_id());
  leaf->set_model_id(checkpoint->model_id());
  leaf->set_fence(checkpoint->fence());
  leaf->set_generation(checkpoint->generation());
  leaf->set_from(std::string(Name(from)));
  leaf->set_to(std::string(Name(step->to)));
  leaf->mutable_digests()->insert(digests.begin(), digests.end());
  (*leaf->mutable_digests())["checkpoint"] = checkpoint->digest();
  return absl::OkStatus();
}

void Draft::Move(ModelRecord* model, ModelState to, std::string_view reason) {
  AuditLeaf* leaf = Leaf("MODEL_STATE", reason);
  leaf->set_model_id(model->model_id());
  leaf->set_generation(model->generation());
  leaf->set_from(model->state() == 0 ? "NONE"
                                     : std::string(Name(static_cast<ModelState>(model->state()))));
  leaf->set_to(std::string(Name(to)));
  model->set_state(static_cast<int32_t>(to));
  model->set_failure_reason(to == ModelState::kFailed ? std::string(reason) : std::string());
  model->set_update_us(now_us());
}

absl::Status Draft::Move(ModelRecord* model, CorpusEvent event, std::string_view reason,
                         const std::map<std::string, std::string>& digests) {
  CorpusRecord* corpus = model->mutable_corpus();
  const auto from = static_cast<CorpusState>(corpus->state());
  absl::StatusOr<CorpusTransition> step = Step(from, event);
  if (!step.ok()) return step.status();
  corpus->set_state(static_cast<int32_t>(step->to));
  corpus->set_failure_reason(std::string(reason));
  corpus->set_update_us(now_us());
  model->set_update_us(now_us());
  AuditLeaf* leaf = Leaf("CORPUS_STATE", reason);
  leaf->set_model_id(model->model_id());
  leaf->set_job_id(corpus->job_id());
  leaf->set_from(std::string(Name(from)));
  leaf->set_to(std::string(Name(step->to)));
  leaf->mutable_digests()->insert(digests.begin(), digests.end());
  return absl::OkStatus();
}

absl::Status Draft::Move(ModelRecord* model, int32_t shard, TeacherEvent event,
                         const std::string& job, std::string_view reason,
                         const std::map<std::string, std::string>& digests) {
  CorpusRecord* corpus = model->mutable_corpus();
  if (shard < 0 || shard >= corpus->shards_size()) return Malformed("the corpus has no such shard");
  TeacherRecord* teacher = corpus->mutable_shards(shard);
  const auto from = static_cast<TeacherState>(teacher->state());
  absl::StatusOr<TeacherTransition> step = Step(from, event);
  if (!step.ok()) return step.status();
  teacher->set_state(static_cast<int32_t>(step->to));
  teacher->set_failure_reason(std::string(reason));
  teacher->set_job_id(job);
  teacher->set_update_us(now_us());
  corpus->set_update_us(now_us());
  model->set_update_us(now_us());
  AuditLeaf* leaf = Leaf("TEACHER_STATE", reason);
  leaf->set_model_id(model->model_id());
  leaf->set_job_id(job);
  leaf->set_from(std::string(Name(from)));
  leaf->set_to(std::string(Name(step->to)));
  leaf->mutable_digests()->insert(digests.begin(), digests.end());
  (*leaf->mutable_digests())["shard"] = std::to_string(shard);
  return absl::OkStatus();
}

void Draft::Note(TicketRecord* ticket, std::string_view event, std::string_view reason) {
  ticket->set_update_us(now_us());
  ticket->set_version(ticket->version() + 1);
  AuditLeaf* leaf = Leaf(event, reason);
  leaf->set_ticket_id(ticket->ticket_id());
  leaf->set_model_id(ticket->model_id());
}

void Draft::Note(CheckpointRecord* checkpoint, std::string_view event) {
  checkpoint->set_update_us(now_us());
  AuditLeaf* leaf = Leaf(event, "");
  leaf->set_checkpoint_id(checkpoint->checkpoint_id());
  leaf->set_model_id(checkpoint->model_id());
}

void Draft::NoteKeyEpoch(uint64_t epoch) {
  Leaf("KEY_EPOCH_RAISED", "")->set_to(std::to_string(epoch));
}

absl::StatusOr<CountersRecord*> Draft::Counters() {
  if (!changes_.counters.has_value()) {
    LETHE_ASSIGN_OR_RETURN(changes_.counters, view_.Counters());
  }
  return &*changes_.counters;
}

AuditLeaf* Draft::Leaf(std::string_view event, std::string_view reason) {
  AuditLeaf* leaf = &leaves_.emplace_back();
  leaf->set_version(1);
  leaf->set_time_us(now_us());
  leaf->set_event(std::string(event));
  leaf->set_reason(std::string(reason));
  leaf->set_actor(actor_);
  return leaf;
}

absl::StatusOr<Changes> Draft::Finish(Receipt receipt) {
  DropUnchanged(changes_.tickets);
  DropUnchanged(changes_.jobs);
  DropUnchanged(changes_.models);
  DropUnchanged(changes_.checkpoints);
  for (const AuditLeaf& leaf : leaves_) changes_.leaves.push_back(Serialize(leaf));
  if (!changes_.leaves.empty()) {
    LETHE_ASSIGN_OR_RETURN(CountersRecord * counters, Counters());
    counters->set_audit_size(counters->audit_size() + changes_.leaves.size());
  }
  changes_.receipt = std::move(receipt);
  return std::move(changes_);
}

std::string ReasonName(lethe::v1::TicketReason reason) {
  constexpr std::string_view kPrefix = "TICKET_REASON_";
  if (reason == lethe::v1::TICKET_REASON_UNSPECIFIED) return "";
  const std::string name = lethe::v1::TicketReason_Name(reason);
  return name.substr(0, kPrefix.size()) == kPrefix ? name.substr(kPrefix.size()) : name;
}

std::string Serialize(const google::protobuf::MessageLite& message) {
  return CanonicalBytes(message);
}

}  // namespace lethe::storage
