// Commands that hand in results: CompletePrepare, CompleteUnlearn, CompleteVerify.
#include <map>
#include <set>

#include "base/digest.h"
#include "base/model_layout.h"
#include "base/status.h"
#include "evidence/policy.h"
#include "lethe/v1/model.pb.h"
#include "lethe/v1/report.pb.h"
#include "storage/command/decide_internal.h"
#include "storage/command/draft.h"
#include "storage/command/hand_in.h"
#include "storage/command/outcomes.h"

namespace lethe::storage {
namespace {

// The measurements are of this very job, and leave out no sequence of any ticket.
absl::Status CheckMeasurements(const lethe::v1::Measurements& m, const JobRecord& job,
                               const CheckpointRecord& candidate, const CheckpointRecord& base,
                               Draft* draft) {
  const JobId id{job.job_id()};
  if (m.job_id() != job.job_id() || m.fence() != job.fence() || m.model_id() != job.model_id()) {
    return ResultMismatch("the measurements are of another job, lease or model", id);
  }
  if (m.candidate_checkpoint_id() != candidate.checkpoint_id() ||
      m.candidate_digest() != candidate.digest()) {
    return ResultMismatch("the measurements are of another candidate", id);
  }
  if (m.base_checkpoint_id() != base.checkpoint_id() || m.base_digest() != base.digest() ||
      m.base_generation() != job.base_generation()) {
    return ResultMismatch("the measurements compare with another base", id);
  }
  if (m.unlearn_run().method() != job.method()) {
    return ResultMismatch("the measurements name another method than the candidate's", id);
  }
  std::map<std::string, std::set<int32_t>> seen;
  for (const lethe::v1::ForgottenSequence& f : m.forgotten()) {
    if (!seen[f.ticket_id()].insert(f.index()).second) {
      return ResultMismatch("a sequence is measured twice", id);
    }
  }
  if (seen.size() != static_cast<size_t>(job.ticket_ids_size())) {
    return ResultMismatch("the measurements name other tickets than the job", id);
  }
  for (const std::string& ticket_id : job.ticket_ids()) {
    LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, draft->Ticket(TicketId{ticket_id}));
    const std::set<int32_t>& indexes = seen[ticket_id];
    if (indexes.size() != static_cast<size_t>(ticket->sequences()) || *indexes.begin() != 0 ||
        *indexes.rbegin() != ticket->sequences() - 1) {
      return ResultMismatch("the measurements leave out sequences of a ticket", id);
    }
  }
  return absl::OkStatus();
}

lethe::v1::VerificationReport MakeReport(const std::string& measurements,
                                         const lethe::v1::VerdictPolicy& policy,
                                         lethe::v1::Verdict verdict, int64_t now_us) {
  lethe::v1::VerificationReport report;
  report.set_version(1);
  report.set_report_id(Sha256Hex(measurements));
  report.set_measurements(measurements);
  report.set_policy(Serialize(policy));
  *report.mutable_verdict() = std::move(verdict);
  report.mutable_create_time()->set_seconds(now_us / 1000000);
  report.mutable_create_time()->set_nanos(static_cast<int32_t>(now_us % 1000000) * 1000);
  return report;
}

// The tickets that did not pass; all of them when each passed for itself and yet the whole did not.
std::set<std::string> NotPassed(const JobRecord& job, const lethe::v1::Verdict& verdict) {
  std::set<std::string> failed(job.ticket_ids().begin(), job.ticket_ids().end());
  for (const lethe::v1::TicketOutcome& outcome : verdict.tickets()) {
    if (outcome.outcome() == lethe::v1::OUTCOME_PASS) failed.erase(outcome.ticket_id());
  }
  if (failed.empty()) failed.insert(job.ticket_ids().begin(), job.ticket_ids().end());
  return failed;
}

}  // namespace

Decision Decide(const CompletePrepare& c, const Context& context) {
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(JobRecord * job, draft.Job(c.job));
  const std::string digest = ResultDigest({"prepare", c.facts, c.thresholds, c.digest});
  LETHE_ASSIGN_OR_RETURN(HeldLease lease, CheckLease(*job, c.fence, JobKind::kPrepare, digest));
  if (lease == HeldLease::kRepeated) return Repeated(*job);
  if (c.digest.empty() || !lethe::v1::ModelFacts().ParseFromString(c.facts) ||
      !lethe::v1::Thresholds().ParseFromString(c.thresholds) ||
      !lethe::v1::RunRecord().ParseFromString(c.run)) {
    return ResultMalformed("the result of PREPARE cannot be read", c.job);
  }
  LETHE_ASSIGN_OR_RETURN(ModelRecord * model, draft.Model(ModelId{job->model_id()}));
  const CheckpointId id{job->candidate_checkpoint_id()};
  CheckpointRecord* checkpoint = draft.NewCheckpoint(id);
  checkpoint->set_model_id(model->model_id());
  checkpoint->set_job_id(job->job_id());
  checkpoint->set_fence(job->fence());
  checkpoint->set_digest(c.digest);
  checkpoint->set_folder(CheckpointFolder(ModelId{model->model_id()}, id));
  job->set_run(c.run);
  job->set_result_digest(digest);
  LETHE_RETURN_IF_ERROR(draft.Move(job, JobEvent::kComplete, "", {{"run", Sha256Hex(c.run)}}));
  LETHE_RETURN_IF_ERROR(draft.Move(checkpoint, CheckpointEvent::kRegister, model));
  model->set_facts(c.facts);
  model->set_thresholds(c.thresholds);
  model->set_data_folder(DataFolder(ModelId{model->model_id()}, id));
  SetIdle(&draft, model);
  draft.Move(model, ModelState::kReady);
  Receipt receipt;
  receipt.model = *model;
  receipt.job = *job;
  receipt.checkpoint = *checkpoint;
  return draft.Finish(std::move(receipt));
}

Decision Decide(const CompleteUnlearn& c, const Context& context) {
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(JobRecord * job, draft.Job(c.job));
  const std::string digest = ResultDigest({"unlearn", c.digest});
  LETHE_ASSIGN_OR_RETURN(HeldLease lease, CheckLease(*job, c.fence, JobKind::kUnlearn, digest));
  if (lease == HeldLease::kRepeated) return Repeated(*job);
  lethe::v1::RunRecord run;
  if (c.digest.empty() || !run.ParseFromString(c.run)) {
    return ResultMalformed("the result of UNLEARN cannot be read", c.job);
  }
  // What the report will promise of the candidate hangs on how it was made.
  if (run.method() != job->method()) {
    return ResultMismatch("the candidate was made by another method than the job's", c.job);
  }
  LETHE_RETURN_IF_ERROR(CheckFresh(c.verify_job, context.view));
  LETHE_ASSIGN_OR_RETURN(ModelRecord * model, draft.Model(ModelId{job->model_id()}));

  const CheckpointId id{job->candidate_checkpoint_id()};
  CheckpointRecord* candidate = draft.NewCheckpoint(id);
  candidate->set_model_id(model->model_id());
  candidate->set_job_id(job->job_id());
  candidate->set_fence(job->fence());
  candidate->set_digest(c.digest);
  candidate->set_parent_checkpoint_id(job->base_checkpoint_id());
  *candidate->mutable_ticket_ids() = job->ticket_ids();
  candidate->set_folder(CheckpointFolder(ModelId{model->model_id()}, id));

  job->set_run(c.run);
  job->set_result_digest(digest);
  LETHE_RETURN_IF_ERROR(draft.Move(job, JobEvent::kComplete, "",
                                   {{"candidate", c.digest}, {"run", Sha256Hex(c.run)}}));
  LETHE_RETURN_IF_ERROR(draft.Move(candidate, CheckpointEvent::kHandIn, model));

  JobRecord* verify = draft.NewJob(c.verify_job);
  verify->set_kind(static_cast<int32_t>(JobKind::kVerify));
  verify->set_model_id(model->model_id());
  *verify->mutable_ticket_ids() = job->ticket_ids();
  verify->set_rung(job->rung());
  verify->set_method(job->method());
  verify->set_preset(job->preset());
  *verify->mutable_overrides() = job->overrides();
  verify->set_base_generation(job->base_generation());
  verify->set_base_checkpoint_id(job->base_checkpoint_id());
  verify->set_candidate_checkpoint_id(id.value);
  verify->set_seed(job->seed());
  verify->set_run(c.run);
  LETHE_RETURN_IF_ERROR(draft.Move(verify, JobEvent::kForm));
  model->set_active_job_id(c.verify_job.value);
  model->set_update_us(draft.now_us());

  Receipt receipt;
  for (const std::string& ticket_id : job->ticket_ids()) {
    LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, draft.Ticket(TicketId{ticket_id}));
    ticket->set_job_id(c.verify_job.value);
    LETHE_RETURN_IF_ERROR(draft.Move(ticket, TicketEvent::kCandidateReady));
    receipt.tickets.push_back(*ticket);
  }
  receipt.job = *verify;
  receipt.checkpoint = *candidate;
  return draft.Finish(std::move(receipt));
}

Decision Decide(const CompleteVerify& c, const Context& context) {
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(JobRecord * job, draft.Job(c.job));
  const std::string digest = ResultDigest({"verify", c.measurements});
  LETHE_ASSIGN_OR_RETURN(HeldLease lease, CheckLease(*job, c.fence, JobKind::kVerify, digest));
  if (lease == HeldLease::kRepeated) return Repeated(*job);
  lethe::v1::Measurements measurements;
  if (!measurements.ParseFromString(c.measurements)) {
    return ResultMalformed("the measurements cannot be read", c.job);
  }
  LETHE_ASSIGN_OR_RETURN(ModelRecord * model, draft.Model(ModelId{job->model_id()}));
  LETHE_ASSIGN_OR_RETURN(CheckpointRecord * candidate,
                         draft.Checkpoint(CheckpointId{job->candidate_checkpoint_id()}));
  LETHE_ASSIGN_OR_RETURN(CheckpointRecord * base,
                         draft.Checkpoint(CheckpointId{job->base_checkpoint_id()}));
  LETHE_RETURN_IF_ERROR(CheckMeasurements(measurements, *job, *candidate, *base, &draft));
  LETHE_ASSIGN_OR_RETURN(lethe::v1::ModelPolicy policy, PolicyOf(*model));
  if (!context.rules.judge) return Malformed("this store was opened without a judge");

  // Defaults filled in: the report must say what follows from it even
  // when a later version has other defaults.
  const lethe::v1::VerdictPolicy gates = WithDefaults(policy.verdict());
  LETHE_ASSIGN_OR_RETURN(lethe::v1::Verdict verdict, context.rules.judge(measurements, gates));
  const lethe::v1::VerificationReport report =
      MakeReport(c.measurements, gates, std::move(verdict), draft.now_us());
  ReportRecord& record = draft.changes().reports[report.report_id()];
  record.set_report_id(report.report_id());
  record.set_report(Serialize(report));
  candidate->set_report_id(report.report_id());
  job->set_report_id(report.report_id());
  job->set_result_digest(digest);
  for (const std::string& ticket_id : job->ticket_ids()) {
    LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, draft.Ticket(TicketId{ticket_id}));
    ticket->add_report_ids(report.report_id());
  }
  const lethe::v1::Outcome outcome = report.verdict().outcome();
  LETHE_RETURN_IF_ERROR(
      draft.Move(job, JobEvent::kComplete, "",
                 {{"report", report.report_id()}, {"verdict", lethe::v1::Outcome_Name(outcome)}}));
  if (outcome == lethe::v1::OUTCOME_PASS) {
    LETHE_RETURN_IF_ERROR(Promote(&draft, model, candidate, *job,
                                  {.event = TicketEvent::kForgotten,
                                   .ticket_reason = lethe::v1::TICKET_REASON_FORGOTTEN,
                                   .reason = "VERDICT_PASS",
                                   .retrain_job = c.retrain_job}));
  } else {
    LETHE_RETURN_IF_ERROR(RejectCandidate(&draft, *job, "VERDICT_NOT_PASSED"));
    LETHE_RETURN_IF_ERROR(TryAgain(&draft, *job, NotPassed(*job, report.verdict()),
                                   lethe::v1::TICKET_REASON_VERIFICATION_FAILED));
  }
  Receipt receipt;
  receipt.model = *model;
  receipt.job = *job;
  receipt.checkpoint = *candidate;
  for (const std::string& ticket_id : job->ticket_ids()) {
    LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, draft.Ticket(TicketId{ticket_id}));
    receipt.tickets.push_back(*ticket);
  }
  return draft.Finish(std::move(receipt));
}

}  // namespace lethe::storage
