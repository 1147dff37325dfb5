#include "server/preview.h"

#include <lethe/v1/report.pb.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/convert.h"
#include "server/policy/ladder.h"
#include "server/policy/ticket_estimate.h"

namespace lethe {
namespace {

constexpr int32_t kTicketsRead = 64;  // of those that wait; the rest are taken to be like them
constexpr size_t kCheckpointsRead = 32, kRuns = 8;

TextSize SizeOfPayload(const v1::TicketPayload& payload) {
  TextSize size;
  for (const v1::TokenSequence& sequence : payload.sequences()) {
    const double tokens = sequence.ids_size();
    size += {1,
             tokens,
             tokens * tokens,
             static_cast<double>(sequence.sensitive_size()),
             0,
             sequence.sensitive_size() > 0 ? 1.0 : 0.0};
    for (const v1::Span& span : sequence.sensitive()) size.span_tokens += span.end() - span.begin();
  }
  return size;
}

// Of tickets that were filed only counts are known; they are taken to have spans as `like` has.
class Reader {
 public:
  Reader(const Core& core, const v1::Model& model, const TextSize& like)
      : core_(core), model_(model), like_(like), snapshot_(core.store->Snapshot()) {}

  Backlog ReadBacklog() const {
    Backlog backlog;
    const storage::WorkView work = core_.store->Work(kTicketsRead);
    for (const storage::ModelQueue& queue : work.queues) {
      if (queue.model.value != model_.model_id()) continue;
      backlog.waiting_in_all = queue.waiting;
      for (const storage::WaitingTicket& waiting : queue.head) {
        backlog.waiting.push_back(SizeOfTicket(waiting.id));
      }
    }
    for (const auto* jobs : {&work.ready, &work.leased}) {
      for (const storage::JobRecord& job : *jobs) {
        if (job.model_id() != model_.model_id()) continue;
        const auto kind = static_cast<storage::JobKind>(job.kind());
        if (!storage::HoldsModel(kind) || kind == storage::JobKind::kRetrain) continue;
        backlog.active = Active(job);
      }
    }
    return backlog;
  }

  // Newest first.
  std::vector<PastRun> ReadHistory(const v1::Rung& rung) const {
    std::vector<PastRun> runs;
    auto checkpoints = snapshot_->CheckpointsOf(ModelId{model_.model_id()});
    if (!checkpoints.ok()) return runs;
    if (checkpoints->size() > kCheckpointsRead) checkpoints->resize(kCheckpointsRead);
    for (const CheckpointId& id : *checkpoints) {
      if (runs.size() == kRuns) break;
      if (auto run = RunOf(id, rung)) runs.push_back(*run);
    }
    return runs;
  }

 private:
  TextSize SizeOfTicket(const TicketId& id) const {
    const auto ticket = snapshot_->FindTicket(id);
    if (!ticket.ok() || !ticket->has_value()) return like_;
    const double sequences = (*ticket)->sequences();
    const auto tokens = static_cast<double>((*ticket)->tokens());
    if (sequences <= 0) return {};
    const double share = like_.sequences > 0 ? sequences / like_.sequences : 0;
    return {sequences,
            tokens,
            tokens * tokens / sequences,
            share * like_.spans,
            share * like_.span_tokens,
            share * like_.span_sequences};
  }

  ActiveJob Active(const storage::JobRecord& job) const {
    ActiveJob active{.verifies = job.kind() == static_cast<int32_t>(storage::JobKind::kVerify)};
    for (const std::string& id : job.ticket_ids()) active.forget += SizeOfTicket(TicketId{id});
    if (job.state() == static_cast<int32_t>(storage::JobState::kLeased)) {
      active.elapsed = core_.clock->Now() - absl::FromUnixMicros(job.update_us());
    }
    return active;
  }

  std::optional<PastRun> RunOf(const CheckpointId& id, const v1::Rung& rung) const {
    const auto checkpoint = snapshot_->FindCheckpoint(id);
    if (!checkpoint.ok() || !checkpoint->has_value()) return std::nullopt;
    const auto job = snapshot_->FindJob(JobId{(*checkpoint)->job_id()});
    if (!job.ok() || !job->has_value()) return std::nullopt;
    v1::RunRecord run;
    // A run without a step met text that the model did not know: it says nothing of one that does.
    if (!run.ParseFromString((*job)->run()) || run.steps() <= 0) return std::nullopt;
    if (run.method() != rung.method() || run.preset() != rung.preset()) return std::nullopt;
    PastRun past{.steps = static_cast<double>(run.steps())};
    for (const std::string& ticket : (*checkpoint)->ticket_ids()) {
      past.sequences += SizeOfTicket(TicketId{ticket}).sequences;
    }
    return past;
  }

  const Core& core_;
  const v1::Model& model_;
  const TextSize like_;
  const std::unique_ptr<const storage::Snapshot> snapshot_;
};

std::vector<Sequence> TextsOf(const v1::TicketPayload& payload) {
  std::vector<Sequence> texts;
  for (const v1::TokenSequence& sequence : payload.sequences()) {
    texts.push_back({.ids = {sequence.ids().begin(), sequence.ids().end()}});
  }
  return texts;
}

void AddNotice(const char* reason, std::string sentence, v1::TicketPreview* preview) {
  v1::PreviewNotice* notice = preview->add_notices();
  notice->set_reason(reason);
  notice->set_sentence(std::move(sentence));
}

// What of the corpus would go, and what the caller should know of it.
absl::Status AddCorpus(const v1::Model& model, const CheckedTicket& ticket, const Corpus& corpus,
                       v1::TicketPreview* preview) {
  LETHE_ASSIGN_OR_RETURN(v1::CorpusPreview touched,
                         PreviewErasure(corpus, model, TextsOf(ticket.payload), ticket.corpus));
  if (touched.sequences() == 0) {
    AddNotice("NOT_IN_CORPUS",
              "The model's corpus does not hold this text as it is written here: nothing of it "
              "will be erased, and no teacher is trained again. Name the person or the document "
              "if it should be there.",
              preview);
  }
  if (touched.near_copies() > 0) {
    AddNotice("COPIES_OF_OTHERS",
              absl::StrCat(touched.near_copies(),
                           " more sequences of the corpus share much of this text. They stay, and "
                           "may teach the model again when it is next trained: name them too if "
                           "they are meant."),
              preview);
  }
  if (touched.teachers_left() == 0) {
    AddNotice("NO_TEACHER_LEFT",
              "Every teacher has seen some of it, or is not ready: leave-one-out distillation is "
              "passed over, and the next rung tried.",
              preview);
  }
  if (touched.sequences() > 0 || touched.near_copies() > 0) {
    *preview->mutable_corpus() = std::move(touched);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::TicketPreview> PreviewTicket(const Core& core, const v1::Model& model,
                                                const CheckedTicket& ticket, const Corpus* corpus) {
  v1::TicketPreview preview;
  if (corpus != nullptr) {
    LETHE_RETURN_IF_ERROR(AddCorpus(model, ticket, *corpus, &preview));
  }
  const int first_rung = FirstRung(model.policy(), preview.corpus().teachers_left() > 0);
  const v1::Rung rung = RungOf(model.policy(), first_rung);
  const TextSize forget = SizeOfPayload(ticket.payload);
  const Reader reader(core, model, forget);
  ForecastInput input{.model = model,
                      .forget = forget,
                      .rung = first_rung,
                      .backlog = reader.ReadBacklog(),
                      .history = reader.ReadHistory(rung)};
  for (const int32_t tokens : ticket.target_tokens) preview.add_target_tokens(tokens);
  preview.set_tickets_ahead(input.backlog.waiting_in_all);
  ToLimits(*core.config, preview.mutable_limits());
  preview.set_first_rung(RungName(rung));
  TicketForecast forecast = ForecastTicket(input);
  if (forecast.estimate.has_value()) *preview.mutable_estimate() = *std::move(forecast.estimate);
  for (v1::PreviewNotice& notice : forecast.notices) *preview.add_notices() = std::move(notice);
  return preview;
}

}  // namespace lethe
