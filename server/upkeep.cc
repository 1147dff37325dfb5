#include "server/upkeep.h"

#include <algorithm>
#include <limits>

#include "base/log.h"
#include "storage/state/corpus_state.h"

namespace lethe {

void Upkeep::Start() {
  thread_ = std::thread([this] {
    while (true) {
      {
        absl::MutexLock lock(&mu_);
        mu_.AwaitWithTimeout(absl::Condition(&stopping_), core_->config->maintenance_interval);
        if (stopping_) return;
      }
      Tick();
    }
  });
}

void Upkeep::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  if (thread_.joinable()) thread_.join();
}

void Upkeep::Tick() {
  const absl::Time now = core_->clock->Now();
  ExpireLeases(now);
  if (core_->audits->ExpireLeases()) dispatcher_->Poke();
  PurgeRequests(now);
  SetGauges(now);
  keeper_->Tick();
  dispatcher_->Tick();
}

void Upkeep::ExpireLeases(absl::Time now) {
  const auto leased = core_->store->Work(0).leased;
  const bool any = std::any_of(leased.begin(), leased.end(), [&](const storage::JobRecord& job) {
    return absl::FromUnixMicros(job.lease_expire_us()) <= now;
  });
  if (!any) return;
  const auto receipt = core_->store->Commit(storage::ExpireLeases{.actor = "server"});
  if (!receipt.ok()) return;  // the store says so itself
  for (const storage::JobRecord& job : receipt->jobs) {
    LogWarning("a lease ran out",
               {{"job", job.job_id()}, {"worker", job.worker_id()}, {"losses", job.losses()}});
  }
}

void Upkeep::PurgeRequests(absl::Time now) {
  constexpr int32_t kAtOnce = 1'000;
  const auto old = core_->store->Snapshot()->ExpiredRequests(absl::ToUnixMicros(now), 1);
  if (!old.ok() || old->empty()) return;
  const auto receipt =
      core_->store->Commit(storage::PurgeRequests{.actor = "server", .limit = kAtOnce});
  if (receipt.ok()) LogDebug("old request ids forgotten", {{"count", receipt->count}});
}

void Upkeep::SetGauges(absl::Time now) {
  Metrics& metrics = *core_->metrics;
  const storage::Totals totals = core_->store->Totals();
  for (const storage::TicketState state : storage::kTicketStates) {
    if (state == storage::TicketState::kNone) continue;
    const auto it = totals.tickets.find(state);
    metrics.TicketsInState(std::string(storage::Name(state)),
                           it == totals.tickets.end() ? 0 : it->second);
  }
  std::map<int, int> teachers = core_->models->TeachersByState();
  for (const storage::TeacherState state : storage::kTeacherStates) {
    if (state == storage::TeacherState::kNone) continue;
    metrics.TeachersInState(std::string(storage::Name(state)), teachers[static_cast<int>(state)]);
  }
  const absl::Duration age =
      totals.oldest_waiting.has_value() ? now - *totals.oldest_waiting : absl::ZeroDuration();
  metrics.oldest_waiting_age_seconds->Set(absl::ToDoubleSeconds(age));
  metrics.deadline_min_seconds->Set(totals.nearest_due.has_value()
                                        ? absl::ToDoubleSeconds(*totals.nearest_due - now)
                                        : std::numeric_limits<double>::infinity());
  metrics.watchers->Set(static_cast<double>(core_->watches->inside()));
  metrics.calls_in_flight->Set(static_cast<double>(core_->calls->inside()));
  if (const auto counters = core_->store->Snapshot()->Counters(); counters.ok()) {
    metrics.audit_leaves->Set(static_cast<double>(counters->audit_size()));
  }
}

}  // namespace lethe
