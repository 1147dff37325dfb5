#include "server/dispatcher.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/random.h"
#include "server/job_message.h"
#include "server/policy/ladder.h"

namespace lethe {
namespace {

// So many waiting tickets of a model are looked at; the most urgent of them lead the next job.
constexpr int32_t kQueueHead = 256;

uint64_t RandomSeed(Random* random) {
  uint64_t seed = 0;
  for (const char byte : random->Bytes(sizeof(seed))) {
    seed = seed << 8 | static_cast<unsigned char>(byte);
  }
  return seed;
}

}  // namespace

Dispatcher::Dispatcher(Core* core) : core_(core), thread_([this] { Loop(); }) {}

Dispatcher::~Dispatcher() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  thread_.join();
}

void Dispatcher::Acquire(AcquireCall* call, OfferedKinds kinds, absl::Duration wait) {
  PollId id = 0;
  {
    absl::MutexLock lock(&mu_);
    if (!draining_) {
      id = next_poll_++;
      call->RunOnCancel([this, id] { Cancelled(id); });
      polls_[id] =
          Poll{.call = call, .worker = call->request.worker_id(), .kinds = std::move(kinds)};
      core_->metrics->polls->Set(static_cast<double>(polls_.size()));
      poked_ = true;
    }
  }
  if (id == 0) {
    call->Finish(ServerDraining());
  } else {
    timers_.After(wait, [this, id] { WaitOver(id); });
  }
}

void Dispatcher::Poke() {
  absl::MutexLock lock(&mu_);
  if (!polls_.empty()) poked_ = true;
}

void Dispatcher::Tick() {
  absl::MutexLock lock(&mu_);
  const bool refused = !cooling_.jobs.empty() || !cooling_.models.empty();
  for (const JobId& job : cooling_.jobs) taken_.jobs.erase(job);
  for (const ModelId& model : cooling_.models) taken_.models.erase(model);
  cooling_ = Taken();
  if (!polls_.empty() && (refused || core_->clock->Now() >= look_again_)) poked_ = true;
}

void Dispatcher::Drain() {
  std::vector<AcquireCall*> calls;
  {
    absl::MutexLock lock(&mu_);
    draining_ = true;
    for (auto it = polls_.begin(); it != polls_.end();) {
      // One that is being leased is answered when its lease is on disk.
      if (it->second.leasing) {
        ++it;
      } else {
        calls.push_back(it->second.call);
        it = polls_.erase(it);
      }
    }
    core_->metrics->polls->Set(static_cast<double>(polls_.size()));
  }
  for (AcquireCall* call : calls) call->Finish(ServerDraining());
}

void Dispatcher::Loop() {
  while (true) {
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(this, &Dispatcher::ShouldWork));
      if (stopping_) return;
      poked_ = false;
    }
    Serve();
  }
}

void Dispatcher::Serve() {
  const storage::WorkView work = core_->store->Work(kQueueHead);
  const QueuePolicies policies = core_->models->Policies();
  const absl::Time now = core_->clock->Now();
  std::vector<std::pair<PollId, NextJob>> chosen;
  std::vector<std::pair<AcquireCall*, v1::Job>> audits;
  {
    absl::MutexLock lock(&mu_);
    look_again_ = absl::InfiniteFuture();
    for (auto it = polls_.begin(); it != polls_.end();) {
      const PollId id = it->first;
      Poll& poll = (it++)->second;  // answered below, it is taken out
      if (poll.leasing) continue;
      NextJob next = ChooseJob(work, poll.kinds.jobs, policies, taken_, now);
      look_again_ = std::min(look_again_, next.look_again);
      if (!next.lease.has_value() && !next.form.has_value()) {
        if (!poll.kinds.audits) continue;
        std::optional<v1::Job> audit = core_->audits->Lease(poll.worker);
        if (audit.has_value()) audits.emplace_back(Take(id), *std::move(audit));
        continue;
      }
      poll.leasing = true;
      if (next.lease.has_value()) taken_.jobs.insert(*next.lease);
      if (next.form.has_value()) taken_.models.insert(next.form->model);
      chosen.emplace_back(id, std::move(next));
    }
  }
  for (auto& [call, job] : audits) DeliverAudit(call, std::move(job));
  for (const auto& [id, next] : chosen) {
    if (next.lease.has_value()) {
      Lease(id, *next.lease);
    } else {
      Form(id, *next.form);
    }
  }
}

void Dispatcher::Form(PollId poll, const JobPlan& plan) {
  const std::shared_ptr<const ModelInfo> model = core_->models->Find(plan.model);
  const v1::Rung rung = RungOf(model->model.policy(), plan.rung);
  storage::FormUnlearnJob form{.actor = "server",
                               .job = JobId{NewId(core_->random, 'j')},
                               .seed = RandomSeed(core_->random),
                               .model = plan.model,
                               .tickets = plan.tickets,
                               .rung = plan.rung,
                               .method = rung.method(),
                               .preset = rung.preset(),
                               .expected_generation = plan.generation};
  for (const auto& [name, value] : rung.overrides()) form.overrides[name] = value;
  core_->store->Post(std::move(form), [this, poll, model_id = plan.model](auto receipt) {
    if (!receipt.ok()) {
      {
        absl::MutexLock lock(&mu_);
        cooling_.models.insert(model_id);
      }
      Refused(poll, receipt.status());
      return;
    }
    const JobId job{receipt->job->job_id()};
    {
      absl::MutexLock lock(&mu_);
      taken_.models.erase(model_id);
      taken_.jobs.insert(job);
    }
    Lease(poll, job);
  });
}

void Dispatcher::Lease(PollId poll, const JobId& job) {
  std::string worker;
  {
    absl::MutexLock lock(&mu_);
    worker = polls_[poll].worker;
  }
  storage::LeaseJob lease{
      .actor = "server", .job = job, .worker = worker, .ttl = core_->config->lease_duration};
  core_->store->Post(std::move(lease), [this, poll, job](auto receipt) {
    {
      absl::MutexLock lock(&mu_);
      if (receipt.ok()) {
        taken_.jobs.erase(job);
      } else {
        cooling_.jobs.insert(job);
      }
    }
    if (!receipt.ok()) {
      Refused(poll, receipt.status());
      return;
    }
    const storage::JobRecord record = *receipt->job;
    if (!core_->background->Run([this, poll, record] { Deliver(poll, record); })) {
      GiveBack(record, storage::FailureCause::kDrained, "SERVER_BUSY");
      Refused(poll, RetryLater(absl::StatusCode::kResourceExhausted, "SERVER_BUSY",
                               "the server is busy", absl::Milliseconds(500)));
    }
  });
}

// On a background thread: the lease is durable, now the worker is told.
void Dispatcher::Deliver(PollId poll, const storage::JobRecord& record) {
  bool gone = false;
  {
    absl::MutexLock lock(&mu_);
    gone = polls_[poll].gone;
  }
  absl::StatusOr<v1::Job> job;
  if (!gone) job = BuildJob(*core_, record);
  AcquireCall* call = nullptr;
  {
    absl::MutexLock lock(&mu_);
    gone = polls_[poll].gone;
    call = Take(poll);
  }
  if (gone) {
    GiveBack(record, storage::FailureCause::kDrained, "CALLER_LEFT");
    call->Finish(
        Error(absl::StatusCode::kCancelled, "CALLER_LEFT", "the caller cancelled the call"));
  } else if (!job.ok()) {
    LogError("a leased job could not be handed out",
             {{"job", record.job_id()}, {"reason", ErrorReason(job.status())}});
    GiveBack(record, storage::FailureCause::kInfrastructure, "JOB_UNREADABLE");
    call->Finish(Error(absl::StatusCode::kInternal, "JOB_UNREADABLE",
                       "the job could not be read; it is tried again after a pause",
                       {{"job", record.job_id()}}));
  } else {
    LogInfo("job leased", {{"job", record.job_id()},
                           {"fence", record.fence()},
                           {"kind", v1::JobKind_Name(job->kind())},
                           {"model", record.model_id()},
                           {"tickets", record.ticket_ids_size()},
                           {"worker", record.worker_id()}});
    *call->response.mutable_job() = *std::move(job);
    call->Finish(absl::OkStatus());
  }
}

void Dispatcher::DeliverAudit(AcquireCall* call, v1::Job job) {
  if (call->cancelled()) {
    core_->audits->Return(job.job_id(), Fence{job.fence()});
    Poke();
    call->Finish(
        Error(absl::StatusCode::kCancelled, "CALLER_LEFT", "the caller cancelled the call"));
    return;
  }
  *call->response.mutable_job() = std::move(job);
  call->Finish(absl::OkStatus());
}

// The store said no: the poll waits on, unless it has to end.
void Dispatcher::Refused(PollId poll, const absl::Status& status) {
  AcquireCall* call = nullptr;
  absl::Status end = absl::OkStatus();
  {
    absl::MutexLock lock(&mu_);
    Poll& waiting = polls_[poll];
    waiting.leasing = false;
    if (waiting.gone) {
      end = Error(absl::StatusCode::kCancelled, "CALLER_LEFT", "the caller cancelled the call");
      call = Take(poll);
    } else if (draining_) {
      end = ServerDraining();
      call = Take(poll);
    } else if (absl::IsUnavailable(status) || absl::IsResourceExhausted(status)) {
      end = status;
      call = Take(poll);
    } else if (waiting.over) {
      call = Take(poll);
    } else {
      poked_ = true;
    }
  }
  if (call != nullptr) call->Finish(end);
}

void Dispatcher::Cancelled(PollId poll) {
  AcquireCall* call = nullptr;
  {
    absl::MutexLock lock(&mu_);
    const auto it = polls_.find(poll);
    if (it == polls_.end()) return;
    if (it->second.leasing) {
      it->second.gone = true;
      return;
    }
    call = Take(poll);
  }
  call->Finish(Error(absl::StatusCode::kCancelled, "CALLER_LEFT", "the caller cancelled the call"));
}

void Dispatcher::WaitOver(PollId poll) {
  AcquireCall* call = nullptr;
  {
    absl::MutexLock lock(&mu_);
    const auto it = polls_.find(poll);
    if (it == polls_.end()) return;
    if (it->second.leasing) {
      it->second.over = true;
      return;
    }
    call = Take(poll);
  }
  call->Finish(absl::OkStatus());
}

Dispatcher::AcquireCall* Dispatcher::Take(PollId poll) {
  const auto it = polls_.find(poll);
  if (it == polls_.end()) return nullptr;
  AcquireCall* call = it->second.call;
  polls_.erase(it);
  core_->metrics->polls->Set(static_cast<double>(polls_.size()));
  return call;
}

void Dispatcher::GiveBack(const storage::JobRecord& job, storage::FailureCause cause,
                          const char* reason) {
  storage::FailJob fail{.actor = "server",
                        .job = JobId{job.job_id()},
                        .fence = Fence{job.fence()},
                        .cause = cause,
                        .reason = reason};
  core_->store->Post(std::move(fail), [id = job.job_id()](auto receipt) {
    // A lease that cannot be given back runs out by itself.
    if (!receipt.ok()) LogWarning("a lease was not given back", {{"job", id}});
  });
}

}  // namespace lethe
