#include "storage/live_index.h"

#include "base/status.h"

namespace lethe::storage {
namespace {

absl::Time FromUs(int64_t us) { return us == 0 ? absl::InfinitePast() : absl::FromUnixMicros(us); }

TicketState StateOf(const TicketRecord& ticket) { return static_cast<TicketState>(ticket.state()); }

}  // namespace

absl::Status LiveIndex::Rebuild(const Snapshot& snapshot) {
  absl::MutexLock lock(&mu_);
  counts_.clear();
  models_.clear();
  jobs_.clear();
  queued_.clear();
  due_.clear();
  held_ = 0;
  LETHE_RETURN_IF_ERROR(snapshot.ForEachModel([&](const std::string&, const ModelRecord& m)
                                                  ABSL_NO_THREAD_SAFETY_ANALYSIS {
                                                    SetModel(m);
                                                    return absl::OkStatus();
                                                  }));
  for (JobState state : {JobState::kReady, JobState::kLeased}) {
    LETHE_ASSIGN_OR_RETURN(std::vector<JobId> ids, snapshot.JobsInState(state));
    for (const JobId& id : ids) {
      LETHE_ASSIGN_OR_RETURN(JobRecord job, snapshot.GetJob(id));
      SetJob(job);
    }
  }
  return snapshot.ForEachTicket([&](const std::string&, const TicketRecord& t)
                                    ABSL_NO_THREAD_SAFETY_ANALYSIS {
                                      AddTicket(t);
                                      return absl::OkStatus();
                                    });
}

void LiveIndex::Apply(const Changes& changes) {
  absl::MutexLock lock(&mu_);
  for (const auto& [id, put] : changes.models) SetModel(put.after);
  for (const auto& [id, put] : changes.jobs) SetJob(put.after);
  for (const auto& [id, put] : changes.tickets) {
    if (put.before.has_value()) RemoveTicket(*put.before);
    AddTicket(put.after);
  }
}

void LiveIndex::AddTicket(const TicketRecord& t) {
  const TicketState state = StateOf(t);
  ++counts_[state];
  if (IsFinal(state)) return;
  due_.emplace(t.due_us(), t.ticket_id());
  held_ += t.held();
  if (state != TicketState::kQueued) return;
  queued_.emplace(t.create_us(), t.ticket_id());
  if (t.held()) return;
  models_[t.model_id()].waiting[t.queue_seq()] = WaitingTicket{
      .id = TicketId{t.ticket_id()},
      .queue_seq = t.queue_seq(),
      .rung = t.rung(),
      .batch_cap = t.batch_cap(),
      .create_time = absl::FromUnixMicros(t.create_us()),
      .due_time = absl::FromUnixMicros(t.due_us()),
      .not_before = FromUs(t.not_before_us()),
  };
}

void LiveIndex::RemoveTicket(const TicketRecord& t) {
  const TicketState state = StateOf(t);
  --counts_[state];
  if (IsFinal(state)) return;
  due_.erase({t.due_us(), t.ticket_id()});
  held_ -= t.held();
  if (state != TicketState::kQueued) return;
  queued_.erase({t.create_us(), t.ticket_id()});
  if (!t.held()) models_[t.model_id()].waiting.erase(t.queue_seq());
}

void LiveIndex::SetJob(const JobRecord& job) {
  if (IsFinal(static_cast<JobState>(job.state()))) {
    jobs_.erase(job.job_id());
  } else {
    jobs_[job.job_id()] = job;
  }
}

void LiveIndex::SetModel(const ModelRecord& model) {
  Model& m = models_[model.model_id()];
  m.ready = model.state() == static_cast<int32_t>(ModelState::kReady);
  m.idle = m.ready && model.active_job_id().empty();
  m.generation = model.generation();
}

WorkView LiveIndex::Work(int32_t head) const {
  absl::MutexLock lock(&mu_);
  WorkView view;
  for (const auto& [id, job] : jobs_) {
    (job.state() == static_cast<int32_t>(JobState::kReady) ? view.ready : view.leased)
        .push_back(job);
  }
  for (const auto& [id, model] : models_) {
    if (!model.ready || model.waiting.empty()) continue;
    ModelQueue queue{.model = ModelId{id},
                     .idle = model.idle,
                     .generation = Generation{model.generation},
                     .waiting = static_cast<int64_t>(model.waiting.size())};
    for (const auto& [seq, ticket] : model.waiting) {
      if (queue.head.size() >= static_cast<size_t>(head)) break;
      queue.head.push_back(ticket);
    }
    view.queues.push_back(std::move(queue));
  }
  return view;
}

storage::Totals LiveIndex::Totals() const {
  absl::MutexLock lock(&mu_);
  storage::Totals totals;
  for (TicketState state : kTicketStates) {
    if (state == TicketState::kNone) continue;
    auto it = counts_.find(state);
    totals.tickets[state] = it == counts_.end() ? 0 : it->second;
  }
  for (const auto& [id, job] : jobs_) {
    ++totals.open_jobs[{static_cast<JobKind>(job.kind()), static_cast<JobState>(job.state())}];
  }
  if (!queued_.empty()) totals.oldest_waiting = absl::FromUnixMicros(queued_.begin()->first);
  if (!due_.empty()) totals.nearest_due = absl::FromUnixMicros(due_.begin()->first);
  totals.held = held_;
  return totals;
}

}  // namespace lethe::storage
