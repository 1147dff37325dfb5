#include "server/audit_hub.h"

#include <lethe/v1/verifier_service.pb.h>

#include <algorithm>
#include <filesystem>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/log.h"
#include "base/model_layout.h"
#include "evidence/report.h"
#include "server/convert.h"
#include "server/errors.h"
#include "server/ticket_hub.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

// Keys of WatchCall, sent in the order of the alphabet.
constexpr char kProgressKey[] = "progress";
constexpr char kReportKey[] = "report";

v1::Progress Stage(const char* name) {
  v1::Progress progress;
  progress.set_phase(name);
  return progress;
}

absl::Status Mismatch(std::string_view message) {
  return FieldError("RESULT_MISMATCH", "verify.measurements", message);
}

// The measurements are of this very audit, and leave out none of its sequences.
absl::Status CheckMeasurements(const v1::Measurements& m, const v1::Job& job) {
  const v1::VerifyWork& work = job.verify();
  if (m.job_id() != job.job_id() || m.fence() != job.fence() || m.model_id() != job.model_id()) {
    return Mismatch("the measurements are of another job, lease or model");
  }
  if (m.candidate_checkpoint_id() != work.candidate_checkpoint_id() ||
      m.candidate_digest() != work.candidate_digest() ||
      m.base_checkpoint_id() != work.base_checkpoint_id() ||
      m.base_digest() != work.base_digest() || m.base_generation() != work.base_generation()) {
    return Mismatch("the measurements are of other checkpoints");
  }
  const int sequences = work.tickets(0).sequences_size();
  std::set<int32_t> seen;
  for (const v1::ForgottenSequence& f : m.forgotten()) {
    const bool ours = f.ticket_id() == job.job_id() && f.index() >= 0 && f.index() < sequences;
    if (!ours || !seen.insert(f.index()).second) {
      return Mismatch("the measurements name a sequence that was not asked for, or one twice");
    }
  }
  if (static_cast<int>(seen.size()) != sequences) {
    return Mismatch("the measurements leave out sequences");
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::VerificationReport> Judge(const Audit& audit, const std::string& measurements,
                                             absl::Time now) {
  v1::Measurements parsed;
  if (!parsed.ParseFromString(measurements)) {
    return FieldError("RESULT_MALFORMED", "verify.measurements", "the measurements cannot be read");
  }
  LETHE_RETURN_IF_ERROR(CheckMeasurements(parsed, audit.job));
  return BuildReport(measurements, audit.policy, now);
}

// What the caller hears of a verifier's failure. Nothing is tried again for a caller who is there:
// only where the verifier's machine is at fault does a repeat make sense.
absl::Status AuditFailed(v1::FailureCause cause, const std::string& reason) {
  const bool changed = reason == "CANDIDATE_CHANGED" || reason == "BASE_CHANGED";
  ErrorMetadata metadata = {{"failure", reason}};
  if (cause == v1::FAILURE_CAUSE_INFRASTRUCTURE && !changed) {
    metadata["retry_after_ms"] = "5000";
    return Error(absl::StatusCode::kUnavailable, "AUDIT_FAILED",
                 "the verifier's disk, memory or device failed; its log says more, and another "
                 "call may reach another verifier",
                 metadata);
  }
  return Error(absl::StatusCode::kFailedPrecondition, "AUDIT_FAILED",
               changed ? "the checkpoint's folder is not what its digest says: it was changed or "
                         "damaged, and nothing said of it would count"
                       : "the verifier cannot audit this; its log says more, under the audit's id",
               metadata);
}

absl::Status CallerLeft() {
  return Error(absl::StatusCode::kCancelled, "CALLER_LEFT", "the caller cancelled the call");
}

}  // namespace

bool AuditHub::Keeps(const std::string& incoming_name) {
  absl::MutexLock lock(&mu_);
  return std::any_of(audits_.begin(), audits_.end(), [&](const auto& audit) {
    const Entry& entry = audit.second;
    const fs::path kept = KeptWorkFolder(entry.model, JobId{audit.first});
    return entry.state != State::kOver && kept.filename() == incoming_name;
  });
}

// --- the caller's side ---------------------------------------------------------------------------

void AuditHub::Enter(const std::string& id, std::shared_ptr<WatchCall> call) {
  std::optional<absl::Status> ended;
  {
    absl::MutexLock lock(&mu_);
    ended = ended_;
    if (!ended.has_value()) {
      Entry& entry = audits_[id];
      entry.place = next_place_++;
      entry.call = call;
    }
  }
  if (ended.has_value()) call->End(*ended);
}

absl::Status AuditHub::Begin(const std::string& id, Audit audit) {
  Message message;
  {
    absl::MutexLock lock(&mu_);
    const auto it = audits_.find(id);
    if (it == audits_.end()) return CallerLeft();
    if (Count(State::kWaiting) >= config_->max_waiting_audits) {
      return RetryLater(absl::StatusCode::kResourceExhausted, "QUEUE_FULL",
                        "too many audits wait for a verifier; add verifiers, or call again later",
                        absl::Seconds(30));
    }
    const v1::VerifyWork& work = audit.job.verify();
    LogInfo("audit begun", {{"audit", id},
                            {"model", audit.job.model_id()},
                            {"checkpoint", work.candidate_checkpoint_id()},
                            {"base", work.base_checkpoint_id()},
                            {"sequences", work.tickets(0).sequences_size()}});
    it->second.model = ModelId{audit.job.model_id()};
    it->second.audit = std::move(audit);
    it->second.begun = clock_->Now();
    message = Wait(id, &it->second);
  }
  Send(message);
  return absl::OkStatus();
}

void AuditHub::Leave(const std::string& id) {
  std::shared_ptr<WatchCall> last;  // destroyed after the lock is left
  absl::MutexLock lock(&mu_);
  const auto it = audits_.find(id);
  if (it == audits_.end() || it->second.state == State::kOver) return;
  if (it->second.state == State::kChecking) {
    last = std::move(it->second.call);  // refused, or gone before it was an audit
    audits_.erase(it);
    return;
  }
  if (it->second.state == State::kLeased) metrics_->JobEnded("audit", "abandoned");
  last = Over(id, &it->second, "cancelled");
}

// --- the verifier's side -------------------------------------------------------------------------

std::optional<v1::Job> AuditHub::Lease(const std::string& worker) {
  std::optional<v1::Job> job;
  Message message;
  {
    absl::MutexLock lock(&mu_);
    auto first = audits_.end();
    for (auto it = audits_.begin(); it != audits_.end(); ++it) {
      if (it->second.state != State::kWaiting) continue;
      if (first == audits_.end() || it->second.place < first->second.place) first = it;
    }
    if (first == audits_.end()) return std::nullopt;
    Entry& entry = first->second;
    entry.state = State::kLeased;
    entry.fence = last_fence_ = last_fence_.Next();
    entry.worker = worker;
    entry.lease_end = clock_->Now() + config_->lease_duration;
    v1::Job& leased = entry.audit.job;
    leased.set_fence(entry.fence.value);
    ToTimestamp(entry.lease_end, leased.mutable_lease_expire_time());
    ToDuration(config_->HeartbeatInterval(), leased.mutable_heartbeat_interval());
    job = leased;
    message = Tell(first->first, &entry, Stage("starting"));
    SetGauges();
    LogInfo("audit leased",
            {{"audit", first->first}, {"fence", entry.fence.value}, {"worker", worker}});
  }
  Send(message);
  return job;
}

void AuditHub::Return(const std::string& id, Fence fence) {
  Message message;
  {
    absl::MutexLock lock(&mu_);
    Entry* entry = Find(id, fence);
    if (entry == nullptr || entry->state != State::kLeased) return;
    metrics_->JobEnded("audit", "returned");
    message = Wait(id, entry);
  }
  Send(message);
}

absl::StatusOr<v1::HeartbeatResponse> AuditHub::Heartbeat(const std::string& id, Fence fence,
                                                          const v1::Progress& progress) {
  v1::HeartbeatResponse response;
  Message message;
  {
    absl::MutexLock lock(&mu_);
    Entry* entry = Find(id, fence);
    if (entry == nullptr) return LeaseLost(id);
    if (entry->state == State::kOver) {
      // Its result was taken, or nobody waits for one.
      if (!entry->result_digest.empty()) return LeaseLost(id);
      response.set_directive(v1::DIRECTIVE_CANCEL);
    } else {
      response.set_directive(v1::DIRECTIVE_CONTINUE);
      entry->lease_end = clock_->Now() + config_->lease_duration;
      if (!progress.phase().empty()) message = Tell(id, entry, TrimProgress(progress));
    }
    ToTimestamp(entry->lease_end, response.mutable_lease_expire_time());
  }
  Send(message);
  return response;
}

absl::Status AuditHub::Complete(const std::string& id, Fence fence,
                                const std::string& measurements) {
  const std::string digest = Sha256Hex(measurements);
  Audit audit;
  {
    absl::MutexLock lock(&mu_);
    Entry* entry = Find(id, fence);
    if (entry == nullptr) return LeaseLost(id);
    if (entry->state == State::kOver) {
      return entry->result_digest == digest ? absl::OkStatus() : LeaseLost(id);
    }
    audit = entry->audit;
  }
  LETHE_ASSIGN_OR_RETURN(v1::VerificationReport report, Judge(audit, measurements, clock_->Now()));
  v1::AuditCheckpointResponse response;
  *response.mutable_report() = std::move(report);
  const v1::Outcome outcome = response.report().verdict().outcome();
  std::shared_ptr<WatchCall> call;
  {
    absl::MutexLock lock(&mu_);
    Entry* entry = Find(id, fence);
    // While it was judged the caller left, or the same result came in twice.
    if (entry == nullptr || entry->state == State::kOver) {
      const bool repeated = entry != nullptr && entry->result_digest == digest;
      return repeated ? absl::OkStatus() : LeaseLost(id);
    }
    entry->result_digest = digest;
    metrics_->JobEnded("audit", "succeeded");
    call = Over(id, entry, EnumLabel(v1::Outcome_Name(outcome), "OUTCOME_"));
  }
  call->Publish(kReportKey, 1, response);
  call->End(absl::OkStatus());
  return absl::OkStatus();
}

absl::Status AuditHub::Fail(const std::string& id, Fence fence, v1::FailureCause cause,
                            const std::string& reason) {
  Message message;
  std::shared_ptr<WatchCall> call;
  {
    absl::MutexLock lock(&mu_);
    Entry* entry = Find(id, fence);
    if (entry == nullptr || entry->state == State::kOver) return LeaseLost(id);
    if (cause == v1::FAILURE_CAUSE_DRAINED) {
      metrics_->JobEnded("audit", "returned");
      message = Wait(id, entry);
    } else {
      metrics_->JobEnded("audit", "failed");
      call = Over(id, entry, "failed");
    }
  }
  if (call != nullptr) call->End(AuditFailed(cause, reason));
  Send(message);
  return absl::OkStatus();
}

// --- upkeep --------------------------------------------------------------------------------------

bool AuditHub::ExpireLeases() {
  std::vector<Message> messages;
  std::vector<std::shared_ptr<WatchCall>> given_up;
  {
    absl::MutexLock lock(&mu_);
    const absl::Time now = clock_->Now();
    for (auto it = audits_.begin(); it != audits_.end();) {
      Entry& entry = it->second;
      const bool holds = entry.state == State::kLeased || entry.state == State::kOver;
      if (!holds || entry.lease_end > now) {
        ++it;
      } else if (entry.state == State::kOver) {
        on_over_(entry.model);
        it = audits_.erase(it);
      } else {
        ++entry.losses;
        metrics_->JobEnded("audit", "lost");
        metrics_->leases_lost->Increment();
        LogWarning("a lease ran out",
                   {{"audit", it->first}, {"worker", entry.worker}, {"losses", entry.losses}});
        if (entry.losses < config_->worker_loss_limit) {
          messages.push_back(Wait(it->first, &entry));
        } else {
          given_up.push_back(Over(it->first, &entry, "failed"));
        }
        ++it;
      }
    }
  }
  for (const Message& message : messages) Send(message);
  for (const auto& call : given_up) {
    call->End(Error(absl::StatusCode::kUnavailable, "AUDIT_FAILED",
                    "one verifier after the other was lost with this audit: see their logs",
                    {{"failure", "WORKERS_LOST"}}));
  }
  return !messages.empty();
}

void AuditHub::EndAll(const absl::Status& status) {
  std::vector<std::shared_ptr<WatchCall>> calls;
  {
    absl::MutexLock lock(&mu_);
    ended_ = status;
    for (auto it = audits_.begin(); it != audits_.end();) {
      Entry& entry = it->second;
      if (entry.state == State::kChecking) {
        calls.push_back(std::move(entry.call));
        it = audits_.erase(it);
        continue;
      }
      if (entry.state == State::kLeased) metrics_->JobEnded("audit", "abandoned");
      if (entry.state != State::kOver) calls.push_back(Over(it->first, &entry, "drained"));
      ++it;
    }
  }
  for (const auto& call : calls) call->End(status);
}

// --- under the lock ------------------------------------------------------------------------------

AuditHub::Entry* AuditHub::Find(const std::string& id, Fence fence) {
  const auto it = audits_.find(id);
  if (it == audits_.end() || fence.value == 0 || it->second.fence != fence) return nullptr;
  const State state = it->second.state;
  return state == State::kLeased || state == State::kOver ? &it->second : nullptr;
}

AuditHub::Message AuditHub::Tell(const std::string& id, Entry* entry,
                                 const v1::Progress& progress) {
  return Message{.call = entry->call, .version = ++entry->told, .progress = progress, .id = id};
}

AuditHub::Message AuditHub::Wait(const std::string& id, Entry* entry) {
  entry->state = State::kWaiting;
  SetGauges();
  return Tell(id, entry, Stage("waiting"));
}

std::shared_ptr<WatchCall> AuditHub::Over(const std::string& id, Entry* entry,
                                          std::string_view outcome) {
  // One that no verifier holds has nobody to be told why.
  if (entry->state == State::kWaiting) entry->lease_end = absl::InfinitePast();
  entry->state = State::kOver;
  entry->audit = Audit();
  metrics_->AuditEnded(outcome);
  SetGauges();
  on_over_(entry->model);
  LogInfo("audit ended", {{"audit", id},
                          {"outcome", outcome},
                          {"seconds", absl::ToDoubleSeconds(clock_->Now() - entry->begun)}});
  return std::exchange(entry->call, nullptr);
}

int64_t AuditHub::Count(State state) const {
  return std::count_if(audits_.begin(), audits_.end(),
                       [state](const auto& audit) { return audit.second.state == state; });
}

void AuditHub::SetGauges() {
  metrics_->audits_waiting->Set(static_cast<double>(Count(State::kWaiting)));
  metrics_->audits_running->Set(static_cast<double>(Count(State::kLeased)));
}

void AuditHub::Send(const Message& message) {
  if (message.call == nullptr) return;
  v1::AuditCheckpointResponse response;
  v1::AuditProgress* progress = response.mutable_progress();
  progress->set_audit_id(message.id);
  progress->set_stage(message.progress.phase());
  progress->set_done(message.progress.step());
  progress->set_total(message.progress.max_steps());
  message.call->Publish(kProgressKey, message.version, response);
}

}  // namespace lethe
