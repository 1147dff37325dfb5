#include "server/policy/next_job.h"

#include <algorithm>
#include <tuple>

namespace lethe {
namespace {

using storage::JobKind;
using storage::WaitingTicket;

int Rank(JobKind kind) {
  switch (kind) {
    case JobKind::kVerify:
      return 0;
    case JobKind::kRetrain:
      return 1;
    case JobKind::kUnlearn:
      return 2;
    case JobKind::kPrepare:
      return 3;
    case JobKind::kIngest:
      return 4;
    case JobKind::kTrain:
      return 5;
  }
  return 6;
}

std::optional<JobId> ChooseReady(const storage::WorkView& work, const std::set<JobKind>& kinds,
                                 const Taken& taken, absl::Time now, absl::Time& look_again) {
  const storage::JobRecord* best = nullptr;
  const auto order = [](const storage::JobRecord& job) {
    return std::make_tuple(Rank(static_cast<JobKind>(job.kind())), job.create_us(), job.job_id());
  };
  for (const storage::JobRecord& job : work.ready) {
    if (!kinds.contains(static_cast<JobKind>(job.kind()))) continue;
    if (taken.jobs.contains(JobId{job.job_id()})) continue;
    if (const absl::Time due = absl::FromUnixMicros(job.not_before_us()); due > now) {
      look_again = std::min(look_again, due);
      continue;
    }
    if (best == nullptr || order(job) < order(*best)) best = &job;
  }
  if (best == nullptr) return std::nullopt;
  return JobId{best->job_id()};
}

// The tickets that may be tried now, the most urgent first.
std::vector<const WaitingTicket*> Due(const storage::ModelQueue& queue, absl::Time now,
                                      absl::Time& look_again) {
  std::vector<const WaitingTicket*> due;
  for (const WaitingTicket& ticket : queue.head) {
    if (ticket.not_before > now) {
      look_again = std::min(look_again, ticket.not_before);
    } else {
      due.push_back(&ticket);
    }
  }
  std::sort(due.begin(), due.end(), [](const WaitingTicket* a, const WaitingTicket* b) {
    return std::tie(a->due_time, a->queue_seq) < std::tie(b->due_time, b->queue_seq);
  });
  return due;
}

// The job that would be formed, whether or not its time has come; `*start` says when it has.
JobPlan Plan(const storage::ModelQueue& queue, const std::vector<const WaitingTicket*>& due,
             const QueuePolicy& policy, absl::Time* start) {
  JobPlan plan{.model = queue.model, .generation = queue.generation, .rung = due.front()->rung};
  const auto cap = [&](const WaitingTicket& ticket) {
    const int32_t most = std::max(policy.max_tickets_per_job, 1);
    return ticket.batch_cap > 0 ? std::min(ticket.batch_cap, most) : most;
  };
  int32_t limit = cap(*due.front());
  *start = absl::InfiniteFuture();
  for (const WaitingTicket* ticket : due) {
    if (ticket->rung != plan.rung) continue;
    const int32_t with = std::min(limit, cap(*ticket));
    // A ticket that must travel in a smaller job than this one already is waits for the next.
    if (static_cast<int32_t>(plan.tickets.size()) + 1 > with) continue;
    limit = with;
    plan.tickets.push_back(ticket->id);
    *start = std::min({*start, ticket->create_time + policy.max_batch_wait,
                       ticket->due_time - policy.max_batch_wait});
  }
  if (static_cast<int32_t>(plan.tickets.size()) >= limit) *start = absl::InfinitePast();
  return plan;
}

}  // namespace

NextJob ChooseJob(const storage::WorkView& work, const std::set<JobKind>& kinds,
                  const QueuePolicies& policies, const Taken& taken, absl::Time now) {
  NextJob next;
  next.lease = ChooseReady(work, kinds, taken, now, next.look_again);
  if (next.lease.has_value() || !kinds.contains(JobKind::kUnlearn)) return next;
  absl::Time most_urgent = absl::InfiniteFuture();
  for (const storage::ModelQueue& queue : work.queues) {
    if (!queue.idle || taken.models.contains(queue.model)) continue;
    const std::vector<const WaitingTicket*> due = Due(queue, now, next.look_again);
    if (due.empty()) continue;
    const auto policy = policies.find(queue.model);
    absl::Time start;
    JobPlan plan =
        Plan(queue, due, policy == policies.end() ? QueuePolicy{} : policy->second, &start);
    if (start > now) {
      next.look_again = std::min(next.look_again, start);
    } else if (!next.form.has_value() || due.front()->due_time < most_urgent) {
      most_urgent = due.front()->due_time;
      next.form = std::move(plan);
    }
  }
  return next;
}

}  // namespace lethe
