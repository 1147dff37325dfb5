// Commands about jobs and their leases. Results are in decide_results.cc.
#include <algorithm>
#include <set>

#include "base/digest.h"
#include "base/model_layout.h"
#include "base/status.h"
#include "storage/command/decide_internal.h"
#include "storage/command/draft.h"
#include "storage/command/hand_in.h"
#include "storage/command/outcomes.h"

namespace lethe::storage {
namespace {

absl::Status CannotForm(std::string_view reason, std::string_view message,
                        const std::string& ticket) {
  return Error(absl::StatusCode::kFailedPrecondition, reason, message, {{"ticket", ticket}});
}

absl::Status CheckTicket(const TicketRecord& ticket, const FormUnlearnJob& c, absl::Time now) {
  const std::string& id = ticket.ticket_id();
  if (ticket.model_id() != c.model.value) return Malformed("a ticket is of another model");
  if (ticket.held()) return CannotForm("TICKET_HELD", "the ticket is under a hold", id);
  if (ticket.not_before_us() > absl::ToUnixMicros(now)) {
    return CannotForm("TICKET_NOT_DUE", "the ticket waits for its next try", id);
  }
  if (ticket.rung() != c.rung) {
    return CannotForm("RUNG_MISMATCH", "the ticket stands on another rung", id);
  }
  if (ticket.batch_cap() > 0 && static_cast<size_t>(ticket.batch_cap()) < c.tickets.size()) {
    return CannotForm("BATCH_TOO_LARGE", "the ticket may only be part of a smaller job", id);
  }
  return absl::OkStatus();
}

absl::Status CheckModel(const ModelRecord& model, const FormUnlearnJob& c) {
  const ErrorMetadata metadata = {{"model", model.model_id()}};
  if (model.state() != static_cast<int32_t>(ModelState::kReady)) {
    return Error(absl::StatusCode::kFailedPrecondition, "MODEL_NOT_READY", "the model is not READY",
                 metadata);
  }
  if (!model.active_job_id().empty()) {
    return Error(absl::StatusCode::kFailedPrecondition, "JOB_ACTIVE",
                 "another job works on this model", metadata);
  }
  if (model.generation() != c.expected_generation.value) {
    return Error(absl::StatusCode::kFailedPrecondition, "GENERATION_MISMATCH",
                 "the model has moved on since", metadata);
  }
  LETHE_ASSIGN_OR_RETURN(lethe::v1::ModelPolicy policy, PolicyOf(model));
  if (c.rung < 0 || c.rung >= policy.ladder_size()) {
    return Error(absl::StatusCode::kFailedPrecondition, "RUNG_MISMATCH",
                 "the model's ladder has no such rung", metadata);
  }
  if (c.tickets.size() > static_cast<size_t>(MaxTicketsPerJob(policy))) {
    return Error(absl::StatusCode::kFailedPrecondition, "BATCH_TOO_LARGE",
                 "the model's policy allows fewer tickets in a job", metadata);
  }
  return absl::OkStatus();
}

LineAtFault PlaceOf(const FailJob& c) { return {.source = c.source, .line = c.line}; }

// Between half of it and the whole of first × 2^(retries-1), at most `most`. The jitter is a digest
// of job and count: the same decision each time it is computed, different for each job.
absl::Duration Backoff(const JobRecord& job, const Rules& rules) {
  absl::Duration whole = rules.backoff_first;
  for (int i = 1; i < job.retries() && whole < rules.backoff_most; ++i) whole *= 2;
  whole = std::min(whole, rules.backoff_most);
  const std::string digest = Sha256Hex(job.job_id() + "/" + std::to_string(job.retries()));
  const double share =
      static_cast<double>(std::stoul(digest.substr(0, 8), nullptr, 16)) / 4294967296.0;
  return whole * (0.5 + 0.5 * share);
}

bool IsReason(const std::string& reason) {
  if (reason.empty() || reason.size() > 63 || !(reason[0] >= 'A' && reason[0] <= 'Z')) return false;
  return std::all_of(reason.begin(), reason.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

// Another rung would not help: the job's tickets FAILED at once; what has no rungs fails as ever.
absl::Status GiveUp(Draft* draft, JobRecord* job, JobEvent event, const FailJob& c,
                    lethe::v1::TicketReason ticket_reason) {
  if (!HasRungs(*job)) return FailMethod(draft, job, event, c.reason, ticket_reason, PlaceOf(c));
  LETHE_RETURN_IF_ERROR(draft->Move(job, event, c.reason));
  LETHE_RETURN_IF_ERROR(RejectCandidate(draft, *job, c.reason));
  return GiveUpTickets(draft, *job, ticket_reason);
}

absl::Status FailInfrastructure(Draft* draft, JobRecord* job, const FailJob& c,
                                const Context& context) {
  if (job->retries() + 1 >= context.rules.max_retries) {
    return GiveUp(draft, job, JobEvent::kRetriesUsedUp, c,
                  lethe::v1::TICKET_REASON_INFRASTRUCTURE_FAILED);
  }
  LETHE_RETURN_IF_ERROR(draft->Move(job, JobEvent::kInfrastructureFailed, c.reason));
  job->set_not_before_us(absl::ToUnixMicros(context.now + Backoff(*job, context.rules)));
  return absl::OkStatus();
}

}  // namespace

Decision Decide(const FormUnlearnJob& c, const Context& context) {
  if (c.tickets.empty()) return Malformed("a job needs tickets");
  if (std::set<TicketId>(c.tickets.begin(), c.tickets.end()).size() != c.tickets.size()) {
    return Malformed("a ticket is named twice");
  }
  LETHE_RETURN_IF_ERROR(CheckFresh(c.job, context.view));
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(ModelRecord * model, draft.Model(c.model));
  LETHE_RETURN_IF_ERROR(CheckModel(*model, c));
  JobRecord* job = draft.NewJob(c.job);
  job->set_kind(static_cast<int32_t>(JobKind::kUnlearn));
  job->set_model_id(c.model.value);
  job->set_rung(c.rung);
  job->set_method(c.method);
  job->set_preset(c.preset);
  job->mutable_overrides()->insert(c.overrides.begin(), c.overrides.end());
  job->set_base_generation(model->generation());
  job->set_base_checkpoint_id(model->current_checkpoint_id());
  job->set_seed(c.seed);
  for (const TicketId& id : c.tickets) job->add_ticket_ids(id.value);
  LETHE_RETURN_IF_ERROR(draft.Move(job, JobEvent::kForm));
  Receipt receipt;
  for (const TicketId& id : c.tickets) {
    LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, draft.Ticket(id));
    LETHE_RETURN_IF_ERROR(CheckTicket(*ticket, c, context.now));
    ticket->set_job_id(c.job.value);
    LETHE_RETURN_IF_ERROR(draft.Move(ticket, TicketEvent::kJobFormed));
    receipt.tickets.push_back(*ticket);
  }
  model->set_active_job_id(c.job.value);
  model->set_update_us(draft.now_us());
  receipt.job = *job;
  return draft.Finish(std::move(receipt));
}

Decision Decide(const LeaseJob& c, const Context& context) {
  if (c.ttl <= absl::ZeroDuration()) return Malformed("a lease needs a length");
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(JobRecord * job, draft.Job(c.job));
  if (job->state() == static_cast<int32_t>(JobState::kReady) &&
      job->not_before_us() > draft.now_us()) {
    return Error(absl::StatusCode::kFailedPrecondition, "JOB_NOT_DUE",
                 "the job waits for its next try", {{"job", c.job.value}});
  }
  LETHE_RETURN_IF_ERROR(Step(static_cast<JobState>(job->state()), JobEvent::kAcquire).status());
  LETHE_ASSIGN_OR_RETURN(CountersRecord * counters, draft.Counters());
  counters->set_fence(counters->fence() + 1);
  job->set_fence(counters->fence());
  job->set_worker_id(c.worker);
  job->clear_result_digest();
  job->clear_not_before_us();
  if (MakesCheckpoint(static_cast<JobKind>(job->kind()))) {
    job->set_candidate_checkpoint_id(CheckpointOfLease(c.job, Fence{job->fence()}).value);
  }
  LETHE_RETURN_IF_ERROR(draft.Move(job, JobEvent::kAcquire));
  job->set_lease_expire_us(absl::ToUnixMicros(context.now + c.ttl));
  Receipt receipt;
  receipt.job = *job;
  return draft.Finish(std::move(receipt));
}

Decision Decide(const Heartbeat& c, const Context& context) {
  if (c.ttl <= absl::ZeroDuration()) return Malformed("a lease needs a length");
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(JobRecord * job, draft.Job(c.job));
  const auto state = static_cast<JobState>(job->state());
  if (c.fence.value == 0 || job->fence() != c.fence.value) return LeaseLost(c.job);
  Receipt receipt;
  if (state == JobState::kCancelled) {
    receipt.directive = Directive::kCancel;
  } else if (state == JobState::kLeased) {
    job->set_lease_expire_us(
        std::max(job->lease_expire_us(), absl::ToUnixMicros(context.now + c.ttl)));
  } else {
    return LeaseLost(c.job);
  }
  receipt.job = *job;
  return draft.Finish(std::move(receipt));
}

Decision Decide(const FailJob& c, const Context& context) {
  if (!IsReason(c.reason)) return Malformed("a failure needs a reason in UPPER_SNAKE");
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(JobRecord * job, draft.Job(c.job));
  const std::string digest =
      Sha256Hex("failed " + std::to_string(static_cast<int32_t>(c.cause)) + " " + c.reason);
  if (c.fence.value == 0 || job->fence() != c.fence.value) return LeaseLost(c.job);
  Receipt receipt;
  if (job->state() != static_cast<int32_t>(JobState::kLeased)) {
    if (job->result_digest() != digest) return LeaseLost(c.job);
    receipt.job = *job;
    receipt.repeated = true;
    return draft.Finish(std::move(receipt));
  }
  job->set_result_digest(digest);
  switch (c.cause) {
    case FailureCause::kMethod:
      LETHE_RETURN_IF_ERROR(FailMethod(&draft, job, JobEvent::kMethodFailed, c.reason,
                                       lethe::v1::TICKET_REASON_METHOD_FAILED, PlaceOf(c)));
      break;
    case FailureCause::kInput:
      LETHE_RETURN_IF_ERROR(
          GiveUp(&draft, job, JobEvent::kInputFailed, c, lethe::v1::TICKET_REASON_METHOD_FAILED));
      break;
    case FailureCause::kInfrastructure:
      LETHE_RETURN_IF_ERROR(FailInfrastructure(&draft, job, c, context));
      break;
    case FailureCause::kDrained:
      LETHE_RETURN_IF_ERROR(draft.Move(job, JobEvent::kDrained, c.reason));
      break;
    default:
      return Malformed("a failure needs a cause");
  }
  receipt.job = *job;
  for (const std::string& id : job->ticket_ids()) {
    LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, draft.Ticket(TicketId{id}));
    receipt.tickets.push_back(*ticket);
  }
  return draft.Finish(std::move(receipt));
}

Decision Decide(const ExpireLeases& c, const Context& context) {
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(std::vector<JobId> leased, context.view.JobsInState(JobState::kLeased));
  Receipt receipt;
  for (const JobId& id : leased) {
    LETHE_ASSIGN_OR_RETURN(JobRecord * job, draft.Job(id));
    if (job->lease_expire_us() > draft.now_us()) continue;
    if (job->losses() + 1 < context.rules.max_losses) {
      LETHE_RETURN_IF_ERROR(draft.Move(job, JobEvent::kLeaseExpired, "LEASE_EXPIRED"));
    } else {
      LETHE_RETURN_IF_ERROR(FailMethod(&draft, job, JobEvent::kWorkersLost, "WORKERS_LOST",
                                       lethe::v1::TICKET_REASON_WORKERS_LOST));
    }
    receipt.jobs.push_back(*job);
  }
  return draft.Finish(std::move(receipt));
}

Decision Decide(const RestartLeases& c, const Context& context) {
  if (c.ttl <= absl::ZeroDuration()) return Malformed("a lease needs a length");
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(std::vector<JobId> leased, context.view.JobsInState(JobState::kLeased));
  Receipt receipt;
  for (const JobId& id : leased) {
    LETHE_ASSIGN_OR_RETURN(JobRecord * job, draft.Job(id));
    job->set_lease_expire_us(absl::ToUnixMicros(context.now + c.ttl));
    receipt.jobs.push_back(*job);
  }
  return draft.Finish(std::move(receipt));
}

}  // namespace lethe::storage
