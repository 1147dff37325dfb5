#include "server/observer.h"

#include <lethe/v1/model_service.pb.h>
#include <lethe/v1/report.pb.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_split.h"
#include "base/log.h"
#include "base/model_layout.h"
#include "server/convert.h"
#include "storage/state/corpus_state.h"

namespace lethe {
namespace {

using storage::Changed;
using storage::CheckpointRecord;
using storage::CheckpointState;
using storage::JobRecord;
using storage::JobState;
using storage::TicketRecord;
using storage::TicketState;

template <typename State, typename Record>
bool Entered(const Changed<Record>& changed, State state) {
  const int number = static_cast<int>(state);
  return changed.after.state() == number &&
         (!changed.before.has_value() || changed.before->state() != number);
}

template <typename State, typename Record>
bool Left(const Changed<Record>& changed, State state) {
  const int number = static_cast<int>(state);
  return changed.before.has_value() && changed.before->state() == number &&
         changed.after.state() != number;
}

std::string KindLabel(const JobRecord& job) {
  return absl::AsciiStrToLower(
      std::string(storage::Name(static_cast<storage::JobKind>(job.kind()))));
}

// How a lease ended.
std::string_view LeaseOutcome(const Changed<JobRecord>& job) {
  switch (static_cast<JobState>(job.after.state())) {
    case JobState::kSucceeded:
      return "succeeded";
    case JobState::kFailed:
      return "failed";
    case JobState::kCancelled:
      return "abandoned";
    default:
      return job.after.losses() > job.before->losses() ? "lost" : "returned";
  }
}

}  // namespace

void ServerObserver::OnCommit(const storage::CommitEvent& event) {
  core_->metrics->commands->Increment(event.commands);
  core_->metrics->commit_batch_size->Observe(event.commands);
  if (event.write > absl::ZeroDuration()) {
    core_->metrics->commit_sync_seconds->Observe(absl::ToDoubleSeconds(event.write));
  }
  bool work = false;
  for (const auto& model : event.models) {
    core_->models->Update(model.after);
    work = true;
    CloseErased(model.after);
    // Nothing is kept of a corpus that could not be read.
    if (model.after.corpus().state() == static_cast<int>(storage::CorpusState::kFailed)) {
      keeper_->Schedule(ModelId{model.after.model_id()});
    }
  }
  for (const auto& job : event.jobs) {
    OnJob(job);
    work = work || job.after.state() == static_cast<int>(JobState::kReady);
  }
  for (const auto& ticket : event.tickets) {
    if (Entered(ticket, TicketState::kQueued)) core_->waiting_tickets.fetch_add(1);
    if (Left(ticket, TicketState::kQueued)) core_->waiting_tickets.fetch_sub(1);
    work = work || ticket.after.state() == static_cast<int>(TicketState::kQueued);
    if (Entered(ticket, TicketState::kCompleted)) {
      // Whoever is told that a ticket is COMPLETED finds the new checkpoint under `current`.
      keeper_->Schedule(ModelId{ticket.after.model_id()},
                        [hub = core_->hub, record = ticket.after] { hub->OnTicket(record); });
    } else {
      core_->hub->OnTicket(ticket.after);
    }
  }
  for (const auto& checkpoint : event.checkpoints) OnCheckpoint(event, checkpoint);
  for (const auto& report : event.reports) OnReport(report);
  if (work) dispatcher_->Poke();
}

// Slices that were replaced stay on the disk, and in our memory, as long as the corpus is open here.
void ServerObserver::CloseErased(const storage::ModelRecord& model) {
  if (!model.has_corpus()) return;
  core_->corpora->Close(CorpusFolder(ModelId{model.model_id()}, JobId{model.corpus().job_id()}));
}

void ServerObserver::OnJob(const Changed<JobRecord>& job) {
  // What verifiers kept for each other has served.
  if (job.after.kind() == static_cast<int>(storage::JobKind::kVerify) &&
      storage::IsFinal(static_cast<JobState>(job.after.state()))) {
    keeper_->Schedule(ModelId{job.after.model_id()});
  }
  if (!Left(job, JobState::kLeased)) return;
  core_->hub->DropProgress(JobId{job.after.job_id()});
  const std::string_view outcome = LeaseOutcome(job);
  core_->metrics->JobEnded(KindLabel(job.after), outcome);
  const bool lost = job.after.losses() > job.before->losses();
  if (lost) core_->metrics->leases_lost->Increment();
  LogInfo("lease ended", {{"job", job.after.job_id()},
                          {"fence", job.before->fence()},
                          {"kind", KindLabel(job.after)},
                          {"model", job.after.model_id()},
                          {"outcome", outcome}});
  // What the worker left in its folder is swept away.
  if (job.after.state() != static_cast<int>(JobState::kSucceeded)) {
    keeper_->Schedule(ModelId{job.after.model_id()});
  }
}

void ServerObserver::OnCheckpoint(const storage::CommitEvent& event,
                                  const Changed<CheckpointRecord>& changed) {
  const CheckpointRecord& checkpoint = changed.after;
  const ModelId model{checkpoint.model_id()};
  if (Entered(changed, CheckpointState::kPromoted)) {
    core_->metrics->promotions->Increment();
    LogInfo("checkpoint promoted", {{"model", model.value},
                                    {"checkpoint", checkpoint.checkpoint_id()},
                                    {"generation", checkpoint.generation()}});
    v1::WatchPromotionsResponse promotion;
    promotion.set_model_id(model.value);
    promotion.set_generation(checkpoint.generation());
    promotion.set_checkpoint_id(checkpoint.checkpoint_id());
    promotion.set_folder(checkpoint.folder());
    ToTimestamp(absl::FromUnixMicros(checkpoint.update_us()), promotion.mutable_promote_time());
    keeper_->Schedule(model, [hub = core_->hub, promotion] { hub->OnPromotion(promotion); });
  } else if (Entered(changed, CheckpointState::kRejected) ||
             Entered(changed, CheckpointState::kRetired)) {
    keeper_->Schedule(model);
  }
}

void ServerObserver::OnReport(const storage::ReportRecord& record) {
  v1::VerificationReport report;
  if (!report.ParseFromString(record.report())) return;
  core_->metrics->VerdictGiven(EnumLabel(v1::Outcome_Name(report.verdict().outcome()), "OUTCOME_"));
  for (const v1::Gate& gate : report.verdict().gates()) {
    // "extraction.greedy_extraction.mean": what is judged, which attack, which figure.
    const std::vector<std::string> parts = absl::StrSplit(gate.name(), '.');
    core_->metrics->GateJudged(parts.size() > 1 ? parts[1] : parts[0],
                               EnumLabel(v1::GateResult_Name(gate.result()), "GATE_RESULT_"));
  }
  LogInfo("candidate judged", {{"report", record.report_id()},
                               {"outcome", v1::Outcome_Name(report.verdict().outcome())}});
}

void ServerObserver::OnReadOnly(const absl::Status& status) {
  LogError("the store takes no more writes; restart the server once the cause is gone",
           {{"reason", ErrorReason(status)}});
  core_->metrics->store_writable->Set(0);
  on_read_only_();
}

}  // namespace lethe
