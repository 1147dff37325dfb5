#include "client/lease.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/log.h"
#include "base/status.h"

namespace lethe {
namespace {

// A new phase is told at once, but not more often than this.
constexpr absl::Duration kLeastPause = absl::Milliseconds(250);
constexpr size_t kLongestDetail = 1000;  // of a failure, in the log

absl::Duration FromProto(const google::protobuf::Duration& duration) {
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

template <typename Request>
Request Proof(const v1::Job& job) {
  Request request;
  request.set_job_id(job.job_id());
  request.set_fence(job.fence());
  return request;
}

// Where each kind of result stands in a request.
auto* ResultOf(v1::CompleteJobRequest* r, const v1::PrepareResult&) { return r->mutable_prepare(); }
auto* ResultOf(v1::CompleteJobRequest* r, const v1::UnlearnResult&) { return r->mutable_unlearn(); }
auto* ResultOf(v1::CompleteJobRequest* r, const v1::VerifyResult&) { return r->mutable_verify(); }
auto* ResultOf(v1::CompleteJobRequest* r, const v1::IngestResult&) { return r->mutable_ingest(); }
auto* ResultOf(v1::CompleteJobRequest* r, const v1::TrainResult&) { return r->mutable_train(); }
auto* ResultOf(v1::CompleteJobRequest* r, const v1::RetrainResult&) { return r->mutable_retrain(); }

bool IsLeaseLost(const absl::Status& status) { return ErrorReason(status) == "LEASE_LOST"; }

// What came back is no answer of the server about this call: it may be sent again. A fence makes
// every repeat safe.
bool MaySendAgain(const absl::Status& status) {
  return ShouldRetry(status, Repeat::kSafe) || status.code() == absl::StatusCode::kInternal ||
         status.code() == absl::StatusCode::kUnknown ||
         status.code() == absl::StatusCode::kResourceExhausted;
}

}  // namespace

Lease::Lease(LeaseLoop* loop, const v1::Job& job, absl::Time acquired)
    : loop_(loop),
      job_(job),
      interval_(std::max(FromProto(job.heartbeat_interval()), absl::Milliseconds(1))),
      contact_(acquired) {
  heartbeats_ = std::thread([this] { HeartbeatLoop(); });
}

Lease::~Lease() {
  {
    absl::MutexLock lock(&mu_);
    done_ = true;
  }
  over_.Request();
  heartbeats_.join();
}

void Lease::Report(const v1::Progress& progress) {
  absl::MutexLock lock(&mu_);
  urgent_ = urgent_ || progress.phase() != progress_.phase();
  progress_ = progress;
}

// --- heartbeats ---------------------------------------------------------------------------------

void Lease::HeartbeatLoop() {
  // Repeats come at most one interval apart, so that several fit into what is left of the lease.
  Backoff backoff({.first_pause = interval_ / 8, .longest_pause = interval_, .max_attempts = 0},
                  loop_->options_.random);
  absl::Duration pause = interval_;
  while (WaitForNext(pause)) {
    const absl::Status status = Heartbeat();
    loop_->observer_->OnHeartbeat(job_, status);
    if (status.ok()) {
      backoff.Reset();
      pause = interval_;
      continue;
    }
    if (IsLeaseLost(status)) return End(LeaseEnd::kLost);
    if (SurelyOver()) return End(LeaseEnd::kUnreachable);
    pause = backoff.Next(status);
  }
}

bool Lease::WaitForNext(absl::Duration pause) {
  // The drain's grace is looked at in slices of the pause; it is the only thing here that nothing
  // wakes us for.
  const absl::Time until = absl::Now() + pause;
  const absl::Time earliest = absl::Now() + std::min(pause, kLeastPause);
  while (true) {
    CheckDrain();
    absl::MutexLock lock(&mu_);
    if (done_ || (end_ && cancelled_)) return false;
    const absl::Time now = absl::Now();
    if (now >= until || (urgent_ && now >= earliest)) return true;
    const absl::Time slice = std::min(until, now + kLeastPause);
    mu_.AwaitWithDeadline(absl::Condition(&done_), urgent_ ? std::min(slice, earliest) : slice);
  }
}

absl::Status Lease::Heartbeat() {
  auto request = Proof<v1::HeartbeatRequest>(job_);
  {
    absl::MutexLock lock(&mu_);
    *request.mutable_progress() = progress_;
    urgent_ = false;
  }
  v1::HeartbeatResponse response;
  const Caller caller({.stop = &over_, .random = loop_->options_.random});
  // Within an interval, so that a lost connection is noticed while the lease still lives.
  const absl::Duration deadline =
      std::clamp(interval_, absl::Milliseconds(500), loop_->options_.call_deadline);
  const absl::Status status = caller.Once(deadline, [&](grpc::ClientContext* context) {
    return loop_->stub_->Heartbeat(context, request, &response);
  });
  if (status.ok()) {
    Contacted();
    OnHeartbeatReply(response);
  }
  return status;
}

void Lease::OnHeartbeatReply(const v1::HeartbeatResponse& response) {
  if (response.directive() == v1::DIRECTIVE_CANCEL) return End(LeaseEnd::kCancelled);
  // A server's DRAIN lets the job finish: no grace runs. Only acquiring ends.
  if (response.directive() == v1::DIRECTIVE_DRAIN && !loop_->draining()) {
    LogInfo("the server asks this process to drain", {{"job", job_.job_id()}});
    loop_->drained_by_server_ = true;
  }
}

void Lease::CheckDrain() {
  if (!loop_->draining() || end()) return;
  {
    absl::MutexLock lock(&mu_);
    const absl::Time now = loop_->options_.clock->Now();
    if (!drain_since_) drain_since_ = now;
    if (now < *drain_since_ + loop_->options_.drain_grace) return;
  }
  cancelled_ = true;  // not an end yet: the job is still ours and will be given back
}

// --- results ------------------------------------------------------------------------------------

LeaseEnd Lease::Deliver(const JobOutcome& outcome) {
  if (auto over = end()) return *over;
  if (const auto* failure = std::get_if<JobFailure>(&outcome)) {
    if (loop_->draining() && cancelled_) {
      return Fail({v1::FAILURE_CAUSE_DRAINED, "WORKER_DRAINED", "the worker was asked to stop"},
                  LeaseEnd::kDrained);
    }
    return Fail(*failure, LeaseEnd::kFailed);
  }
  absl::Status refusal;
  const LeaseEnd how = SendUntilAnswered(
      LeaseEnd::kCompleted, [&] { return Complete(std::get<JobResult>(outcome)); }, &refusal);
  if (refusal.ok()) return how;
  // The server cannot use the result. A folder it cannot see is the installation's fault, all else
  // ours.
  const std::string reason = ErrorReason(refusal);
  const bool installation = reason == "ARTEFACT_MISMATCH";
  return Fail({installation ? v1::FAILURE_CAUSE_INFRASTRUCTURE : v1::FAILURE_CAUSE_METHOD,
               reason.empty() ? "RESULT_REFUSED" : reason, std::string(refusal.message())},
              LeaseEnd::kFailed);
}

LeaseEnd Lease::SendUntilAnswered(LeaseEnd accepted, const std::function<absl::Status()>& send,
                                  absl::Status* refusal) {
  Backoff backoff(loop_->options_.retry, loop_->options_.random);
  Stop pause;  // over_ may be thrown already
  bool in_doubt = false;
  while (true) {
    // Heartbeats go on meanwhile and may end the lease. After a send without an answer their
    // LEASE_LOST proves nothing, since a job whose result was accepted has no lease either: only
    // the answer to a repeat tells, and until then nothing that was made may go.
    if (auto over = end(); over && !in_doubt) return *over;
    const absl::Status status = send();
    if (status.ok()) {
      End(accepted);
      return accepted;
    }
    if (IsLeaseLost(status)) {
      End(LeaseEnd::kLost);
      return *end();
    }
    if (!MaySendAgain(status)) {
      LogWarning("the server refuses the result of a job",
                 {{"job", job_.job_id()}, {"reason", ErrorReason(status)}});
      *refusal = status;
      return LeaseEnd::kFailed;
    }
    in_doubt = true;
    if (SurelyOver()) {
      End(LeaseEnd::kUnreachable);
      return LeaseEnd::kUnreachable;
    }
    pause.WaitFor(std::min(backoff.Next(status), interval_));
  }
}

LeaseEnd Lease::Fail(const JobFailure& failure, LeaseEnd accepted) {
  auto request = Proof<v1::FailJobRequest>(job_);
  request.set_cause(failure.cause);
  request.set_reason(failure.reason);
  request.set_line(failure.line);
  request.set_source(failure.source);
  LogInfo("a job is given back", {{"job", job_.job_id()},
                                  {"fence", job_.fence()},
                                  {"cause", v1::FailureCause_Name(failure.cause)},
                                  {"reason", failure.reason},
                                  {"detail", failure.message.substr(0, kLongestDetail)}});
  const Caller caller({.random = loop_->options_.random});
  absl::Status refusal;
  return SendUntilAnswered(
      accepted,
      [&] {
        v1::FailJobResponse response;
        return caller.Once(loop_->options_.call_deadline, [&](grpc::ClientContext* context) {
          return loop_->stub_->FailJob(context, request, &response);
        });
      },
      &refusal);
}

absl::Status Lease::Complete(const JobResult& result) {
  auto request = Proof<v1::CompleteJobRequest>(job_);
  std::visit([&](const auto& made) { *ResultOf(&request, made) = made; }, result);
  const Caller caller({.random = loop_->options_.random});
  v1::CompleteJobResponse response;
  return caller.Once(loop_->options_.call_deadline, [&](grpc::ClientContext* context) {
    return loop_->stub_->CompleteJob(context, request, &response);
  });
}

// --- the lease's end ----------------------------------------------------------------------------

void Lease::End(LeaseEnd end) {
  {
    absl::MutexLock lock(&mu_);
    if (end_) return;
    end_ = end;
  }
  if (end != LeaseEnd::kCompleted && end != LeaseEnd::kFailed && end != LeaseEnd::kDrained) {
    cancelled_ = true;
    over_.Request();
  }
}

std::optional<LeaseEnd> Lease::end() const {
  absl::MutexLock lock(&mu_);
  return end_;
}

void Lease::Contacted() {
  absl::MutexLock lock(&mu_);
  contact_ = loop_->options_.clock->Now();
}

bool Lease::SurelyOver() const {
  absl::MutexLock lock(&mu_);
  return loop_->options_.clock->Now() > contact_ + 4 * interval_;
}

}  // namespace lethe
