#include "server/work_service.h"

#include <lethe/v1/work_service.grpc.pb.h>

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "server/convert.h"
#include "server/core.h"
#include "server/dispatcher.h"
#include "server/field_violations.h"
#include "server/handed_in.h"
#include "server/ticket_request.h"

namespace lethe {
namespace {

using Bytes = grpc::ByteBuffer;
using Context = grpc::CallbackServerContext;
using Unary = grpc::ServerUnaryReactor;
using S = v1::WorkService;

using Raw = S::WithRawCallbackMethod_AcquireJob<S::WithRawCallbackMethod_Heartbeat<
    S::WithRawCallbackMethod_CompleteJob<S::WithRawCallbackMethod_FailJob<S::Service>>>>;

constexpr absl::Duration kLongestWait = absl::Seconds(60);
// An answer needs so long to get back to the caller.
constexpr absl::Duration kAnswerMargin = absl::Milliseconds(500);

absl::StatusOr<JobId> ParseJobId(const std::string& text) {
  if (IsRandomId(text, 'j')) return JobId{text};
  return LeaseLost(text);
}

// An audit is no job of the store: it lives in the AuditHub alone.
bool IsAudit(const std::string& job_id) { return IsRandomId(job_id, 'a'); }

absl::StatusOr<OfferedKinds> ParseKinds(const v1::AcquireJobRequest& request) {
  OfferedKinds kinds;
  for (const int kind : request.kinds()) {
    // A kind of a newer worker that this server does not know is simply never offered.
    const bool stored = kind >= v1::JOB_KIND_PREPARE && kind <= v1::JOB_KIND_RETRAIN;
    if (stored && kind != v1::JOB_KIND_AUDIT) {
      kinds.jobs.insert(static_cast<storage::JobKind>(kind));
    }
    kinds.audits = kinds.audits || kind == v1::JOB_KIND_AUDIT;
  }
  if (kinds.jobs.empty() && !kinds.audits) {
    return FieldError("NO_KINDS", "kinds",
                      "name at least one kind of job that this process can do");
  }
  return kinds;
}

absl::Status Mismatch(const char* message) {
  return FieldError("RESULT_MISMATCH", "result", message);
}

absl::Status CheckFailure(const v1::FailJobRequest& request) {
  FieldViolations wrong;
  if (request.cause() < v1::FAILURE_CAUSE_METHOD || request.cause() > v1::FAILURE_CAUSE_DRAINED) {
    wrong.Add(FieldError("RESULT_MALFORMED", "cause", "say whose fault it is"));
  }
  if (!IsFailureReason(request.reason())) {
    wrong.Add(FieldError("RESULT_MALFORMED", "reason", "UPPER_SNAKE, at most 63 characters"));
  }
  if (request.line() < 0 || request.source() < 0) {
    wrong.Add(FieldError("RESULT_MALFORMED", "line", "lines are counted from 1, files from 0"));
  }
  return wrong.status();
}

class WorkServiceImpl final : public Raw {
 public:
  WorkServiceImpl(Core* core, Dispatcher* dispatcher) : core_(core), dispatcher_(dispatcher) {}

  Unary* AcquireJob(Context* c, const Bytes* in, Bytes* out) override {
    return StartWaiting<v1::AcquireJobRequest, v1::AcquireJobResponse>(
        acquire_, c, in, out, [this](auto* call) { Acquire(call); });
  }
  Unary* Heartbeat(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::HeartbeatRequest, v1::HeartbeatResponse>(
        heartbeat_, c, in, out, [this](auto* call) { Beat(call); });
  }
  Unary* CompleteJob(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::CompleteJobRequest, v1::CompleteJobResponse>(
        complete_, c, in, out, [this](auto* call) { Complete(call); });
  }
  Unary* FailJob(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::FailJobRequest, v1::FailJobResponse>(fail_, c, in, out,
                                                               [this](auto* call) { Fail(call); });
  }

 private:
  RpcMethod Method(const char* name, CallGate* gate) {
    return core_->Method("lethe.v1.WorkService", name, gate);
  }

  template <typename Call>
  void Acquire(Call* call) {
    const v1::AcquireJobRequest& request = call->request;
    auto kinds = ParseKinds(request);
    const auto wait = FromDuration(request.wait());
    FieldViolations wrong;
    if (!IsPlainName(request.worker_id())) {
      wrong.Add(FieldError("WORKER_ID_MALFORMED", "worker_id", "1 to 64 of [A-Za-z0-9._-]"));
    }
    wrong.Add(kinds.status());
    if (!wait.has_value() || *wait < absl::ZeroDuration() || *wait > kLongestWait) {
      wrong.Add(FieldError("WAIT_INVALID", "wait", "0 to 60 seconds"));
    }
    if (const absl::Status status = wrong.status(); !status.ok()) {
      call->Finish(status);
    } else {
      // gRPC's deadlines are of the machine's clock, whatever clock decides about leases.
      const absl::Duration left = call->deadline() - absl::Now() - kAnswerMargin;
      dispatcher_->Acquire(call, *std::move(kinds),
                           std::max(std::min(*wait, left), absl::ZeroDuration()));
    }
  }

  // Ends the call. A job that nobody knows is a lease that nobody
  // holds; refusals of stale fences are counted.
  template <typename Call>
  void FinishWork(Call* call, const absl::Status& status) {
    const std::string reason = ErrorReason(status);
    if (reason == "LEASE_LOST" || reason == "JOB_NOT_FOUND") {
      core_->metrics->stale_fences->Increment();
      call->Finish(reason == "LEASE_LOST" ? status : LeaseLost(call->request.job_id()));
    } else {
      call->Finish(status);
    }
  }

  template <typename Call>
  void Beat(Call* call) {
    if (IsAudit(call->request.job_id())) {
      auto answer = core_->audits->Heartbeat(call->request.job_id(), Fence{call->request.fence()},
                                             call->request.progress());
      if (answer.ok()) call->response = *std::move(answer);
      FinishWork(call, answer.status());
      return;
    }
    const auto job = ParseJobId(call->request.job_id());
    if (!job.ok()) {
      FinishWork(call, job.status());
      return;
    }
    storage::Heartbeat beat{.actor = call->principal().name,
                            .job = *job,
                            .fence = Fence{call->request.fence()},
                            .ttl = core_->config->lease_duration};
    core_->Post(std::move(beat), [this, call](absl::StatusOr<storage::Receipt> receipt) {
      if (receipt.ok()) {
        const storage::JobRecord& job = *receipt->job;
        const bool cancel = receipt->directive == storage::Directive::kCancel;
        call->response.set_directive(cancel ? v1::DIRECTIVE_CANCEL : v1::DIRECTIVE_CONTINUE);
        ToTimestamp(absl::FromUnixMicros(job.lease_expire_us()),
                    call->response.mutable_lease_expire_time());
        if (!cancel && call->request.has_progress()) {
          std::vector<TicketId> tickets;
          for (const std::string& ticket : job.ticket_ids()) tickets.push_back(TicketId{ticket});
          core_->hub->SetProgress(JobId{job.job_id()}, call->request.progress(), tickets);
        }
      }
      FinishWork(call, receipt.status());
    });
  }

  // The job as it is now; LEASE_LOST when the call's fence is not its own. A cheap look before
  // files are read: the command checks again.
  absl::StatusOr<storage::JobRecord> Look(const v1::CompleteJobRequest& request) const {
    LETHE_ASSIGN_OR_RETURN(const JobId id, ParseJobId(request.job_id()));
    LETHE_ASSIGN_OR_RETURN(const auto job, core_->store->Snapshot()->FindJob(id));
    const bool current = job.has_value() && job->fence() == request.fence() && request.fence() != 0;
    if (!current) return LeaseLost(id.value);
    return *job;
  }

  template <typename Call>
  void Complete(Call* call) {
    const v1::CompleteJobRequest& request = call->request;
    if (IsAudit(request.job_id())) {
      core_->RunFor(call, core_->background, [this, call] { CompleteAudit(call); });
      return;
    }
    const auto job = Look(request);
    if (!job.ok()) {
      FinishWork(call, job.status());
      return;
    }
    const auto kind = static_cast<storage::JobKind>(job->kind());
    if (request.has_verify() && kind == storage::JobKind::kVerify) {
      core_->RunFor(call, core_->digests, [this, call, job = *job] { CompleteVerify(call, job); });
    } else if (request.has_unlearn() && kind == storage::JobKind::kUnlearn) {
      core_->RunFor(call, core_->digests, [this, call, job = *job] { CompleteUnlearn(call, job); });
    } else if (request.has_prepare() && kind == storage::JobKind::kPrepare) {
      core_->RunFor(call, core_->digests, [this, call, job = *job] { CompletePrepare(call, job); });
    } else if (request.has_ingest() && kind == storage::JobKind::kIngest) {
      core_->RunFor(call, core_->digests, [this, call, job = *job] { CompleteIngest(call, job); });
    } else if (request.has_train() && kind == storage::JobKind::kTrain) {
      core_->RunFor(call, core_->digests, [this, call, job = *job] { CompleteTrain(call, job); });
    } else if (request.has_retrain() && kind == storage::JobKind::kRetrain) {
      core_->RunFor(call, core_->digests, [this, call, job = *job] { CompleteRetrain(call, job); });
    } else {
      FinishWork(call, Mismatch("the result must be that of the job's kind"));
    }
  }

  template <typename Call>
  void CompleteAudit(Call* call) {
    const v1::CompleteJobRequest& request = call->request;
    if (!request.has_verify()) {
      FinishWork(call, Mismatch("the result must be that of the job's kind"));
      return;
    }
    FinishWork(call, core_->audits->Complete(request.job_id(), Fence{request.fence()},
                                             request.verify().measurements()));
  }

  template <typename Call>
  void CompleteVerify(Call* call, const storage::JobRecord& job) {
    // A repeat of a result that was taken: a candidate that failed may be gone by now.
    const bool done = job.state() != static_cast<int>(storage::JobState::kLeased);
    const absl::Status status = done ? absl::OkStatus() : CheckCandidate(*core_, job);
    if (!status.ok()) {
      FinishWork(call, status);
      return;
    }
    PostResult(call, storage::CompleteVerify{.measurements = call->request.verify().measurements(),
                                             .retrain_job = JobId{NewId(core_->random, 'j')}});
  }

  template <typename Call>
  void CompleteUnlearn(Call* call, const storage::JobRecord& job) {
    const v1::UnlearnResult& result = call->request.unlearn();
    const bool done = job.state() != static_cast<int>(storage::JobState::kLeased);
    // A repeat of a result that was taken is not digested again: its folder may be gone by now.
    const absl::Status status =
        done ? absl::OkStatus() : CheckArtefact(*core_, job, result.candidate_digest());
    if (!status.ok()) {
      FinishWork(call, status);
      return;
    }
    PostResult(call, storage::CompleteUnlearn{.digest = result.candidate_digest(),
                                              .run = DeterministicBytes(result.run()),
                                              .verify_job = JobId{NewId(core_->random, 'j')}});
  }

  template <typename Call>
  void CompletePrepare(Call* call, const storage::JobRecord& job) {
    const v1::PrepareResult& result = call->request.prepare();
    const bool done = job.state() != static_cast<int>(storage::JobState::kLeased);
    const absl::Status status = done ? absl::OkStatus() : CheckPrepared(*core_, job, result);
    if (!status.ok()) {
      FinishWork(call, status);
      return;
    }
    PostResult(call, storage::CompletePrepare{.facts = DeterministicBytes(result.facts()),
                                              .thresholds = DeterministicBytes(result.thresholds()),
                                              .run = DeterministicBytes(result.run()),
                                              .digest = result.facts().folder_digest()});
  }

  template <typename Call>
  void CompleteIngest(Call* call, const storage::JobRecord& job) {
    const v1::IngestResult& result = call->request.ingest();
    if (const absl::Status status = CheckCorpus(*core_, job, result); !status.ok()) {
      FinishWork(call, status);
      return;
    }
    storage::CompleteIngest done{.sequences = result.sequences(), .tokens = result.tokens()};
    const auto model = core_->models->Find(ModelId{job.model_id()});
    const int shards = model == nullptr ? 0 : model->model.corpus().options().shards();
    for (int i = 0; i < shards; ++i) {
      done.train_jobs.push_back(JobId{NewId(core_->random, 'j')});
    }
    PostResult(call, std::move(done));
  }

  template <typename Call>
  void CompleteTrain(Call* call, const storage::JobRecord& job) {
    const v1::TrainResult& result = call->request.train();
    auto teacher = CheckTeacher(*core_, job, result.teacher());
    if (!teacher.ok()) {
      FinishWork(call, teacher.status());
      return;
    }
    PostResult(call, storage::CompleteTrain{.teacher = *std::move(teacher),
                                            .trained_tokens = result.teacher().trained_tokens(),
                                            .run = DeterministicBytes(result.run())});
  }

  template <typename Call>
  void CompleteRetrain(Call* call, const storage::JobRecord& job) {
    const v1::RetrainResult& result = call->request.retrain();
    const absl::StatusOr<int64_t> erased = CheckErased(*core_, job);
    if (!erased.ok()) {
      FinishWork(call, erased.status());
      return;
    }
    storage::CompleteRetrain done{.erased = *erased, .run = DeterministicBytes(result.run())};
    for (const v1::TeacherResult& trained : result.teachers()) {
      auto teacher = CheckTeacher(*core_, job, trained);
      if (!teacher.ok()) {
        FinishWork(call, teacher.status());
        return;
      }
      done.teachers.push_back(*std::move(teacher));
      done.trained_tokens += trained.trained_tokens();
    }
    PostResult(call, std::move(done));
  }

  template <typename Call, typename Command>
  void PostResult(Call* call, Command command) {
    command.actor = call->principal().name;
    command.job = JobId{call->request.job_id()};
    command.fence = Fence{call->request.fence()};
    core_->Post(std::move(command), [this, call](absl::StatusOr<storage::Receipt> receipt) {
      FinishWork(call, receipt.status());
    });
  }

  template <typename Call>
  void Fail(Call* call) {
    const v1::FailJobRequest& request = call->request;
    const std::string& id = request.job_id();
    if (!IsRandomId(id, 'j') && !IsAudit(id)) {
      FinishWork(call, LeaseLost(id));
      return;
    }
    if (const absl::Status status = CheckFailure(request); !status.ok()) {
      call->Finish(status);
      return;
    }
    // The worker's log has the details, under the same job and fence.
    LogInfo("job handed back", {{"job", id},
                                {"fence", request.fence()},
                                {"cause", v1::FailureCause_Name(request.cause())},
                                {"reason", request.reason()}});
    if (IsAudit(id)) {
      const absl::Status status =
          core_->audits->Fail(id, Fence{request.fence()}, request.cause(), request.reason());
      dispatcher_->Poke();  // one that was given back waits for another verifier
      FinishWork(call, status);
    } else {
      PostResult(call,
                 storage::FailJob{.cause = static_cast<storage::FailureCause>(request.cause()),
                                  .reason = request.reason(),
                                  .line = request.line(),
                                  .source = request.source()});
    }
  }

  Core* const core_;
  Dispatcher* const dispatcher_;
  const RpcMethod acquire_ = Method("AcquireJob", core_->polls);
  const RpcMethod heartbeat_ = Method("Heartbeat", core_->calls);
  const RpcMethod complete_ = Method("CompleteJob", core_->calls);
  const RpcMethod fail_ = Method("FailJob", core_->calls);
};

}  // namespace

std::unique_ptr<grpc::Service> MakeWorkService(Core* core, Dispatcher* dispatcher) {
  return std::make_unique<WorkServiceImpl>(core, dispatcher);
}

}  // namespace lethe
