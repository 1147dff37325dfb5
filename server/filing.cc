#include "server/filing.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/convert.h"
#include "server/field_violations.h"
#include "server/preview.h"
#include "server/ticket_request.h"
#include "storage/command/decide.h"

namespace lethe {
namespace {

using storage::NewTicket;

// A request that passed every check.
struct Prepared {
  TicketTimes times;
  CheckedTicket ticket;
  std::shared_ptr<const ModelInfo> model;
  std::shared_ptr<const Corpus> corpus;  // null: it has none
};

absl::Status AtIndex(const absl::Status& status, size_t index, size_t count) {
  if (count == 1) return status;
  const std::string at = absl::StrCat(index);
  return AboutField(status, absl::StrCat("requests[", at, "]."), {{"index", at}});
}

absl::StatusOr<Prepared> Prepare(Core* core, const v1::CreateTicketRequest& request) {
  FieldViolations wrong;
  wrong.Add(CheckForm(request, *core->config));
  absl::StatusOr<TicketTimes> times = ResolveTimes(request, *core->config, core->clock->Now());
  wrong.Add(times.status());
  LETHE_RETURN_IF_ERROR(wrong.status());
  Prepared prepared{.times = *std::move(times)};
  LETHE_ASSIGN_OR_RETURN(prepared.model, core->models->GetReady(ModelId{request.model_id()}));
  const v1::Model& model = prepared.model->model;
  std::optional<Tokenizer> tokenizer;
  if (NeedsTokenizer(request.targets())) {
    LETHE_ASSIGN_OR_RETURN(tokenizer, core->tokenizers->Get(model));
  }
  LETHE_RETURN_IF_ERROR(CheckCorpusSettled(model));
  if (model.corpus().state() == v1::CORPUS_STATE_READY) {
    LETHE_ASSIGN_OR_RETURN(prepared.corpus, core->corpora->Get(model));
  }
  const TargetSources sources = {tokenizer.has_value() ? &*tokenizer : nullptr,
                                 prepared.corpus.get()};
  LETHE_ASSIGN_OR_RETURN(prepared.ticket,
                         Resolve(request.targets(), model, sources, *core->config));
  return prepared;
}

absl::Status CheckBacklog(const Core& core, size_t count) {
  const int64_t waiting = core.waiting_tickets.load();
  if (waiting + static_cast<int64_t>(count) <= core.config->max_waiting_tickets) {
    return absl::OkStatus();
  }
  return RetryLater(absl::StatusCode::kResourceExhausted, "QUEUE_FULL",
                    "too many tickets wait for workers; add workers, or call again later",
                    absl::Seconds(30));
}

absl::StatusOr<NewTicket> Seal(Core* core, const v1::CreateTicketRequest& request,
                               const Prepared& prepared) {
  NewTicket ticket{.id = TicketId{NewOrderedId(core->random, 't', core->clock->Now())},
                   .model = ModelId{request.model_id()},
                   .regulation = prepared.times.regulation,
                   .external_reference = request.external_reference(),
                   .request_time = prepared.times.asked,
                   .due_time = prepared.times.due,
                   .sequences = prepared.ticket.payload.sequences_size(),
                   .tokens = prepared.ticket.tokens,
                   .corpus_sequences = prepared.ticket.payload.corpus_sequences_size(),
                   .corpus_shards = prepared.ticket.corpus.Shards()};
  // The message has no maps, so the same request always gives the same bytes.
  std::string body = request.SerializeAsString();
  ticket.request_key = storage::RequestKey(request.request_id());
  ticket.request_digest = core->vault->BodyDigest(body);
  storage::Cleanse(&body);
  std::string plain = prepared.ticket.payload.SerializeAsString();
  absl::StatusOr<storage::Sealed> sealed = core->vault->Seal(core->random, ticket.id, plain);
  storage::Cleanse(&plain);
  if (!sealed.ok()) return sealed.status();
  ticket.payload = std::move(sealed->payload);
  ticket.key = std::move(sealed->key);
  ticket.payload_commitment = std::move(sealed->commitment);
  return ticket;
}

// The ticket that this very request made before, if it did. A repeat is answered as the first call
// was, even when it would no longer be taken today: its due time has passed, or the queue is full.
std::optional<storage::TicketRecord> FiledBefore(Core* core,
                                                 const v1::CreateTicketRequest& request) {
  const auto snapshot = core->store->Snapshot();
  const auto known = snapshot->FindRequest(storage::RequestKey(request.request_id()));
  if (!known.ok() || !known->has_value()) return std::nullopt;
  auto ticket = snapshot->FindTicket(TicketId{(*known)->ticket_id()});
  if (!ticket.ok() || !ticket->has_value()) return std::nullopt;
  const std::string& digest = (*ticket)->request_digest();
  if (!digest.empty() && digest != core->vault->BodyDigest(request.SerializeAsString())) {
    return std::nullopt;
  }
  return **ticket;
}

class Filing : public std::enable_shared_from_this<Filing> {
 public:
  Filing(Core* core, std::string actor, Requests requests, std::function<void(FiledTickets)> done)
      : core_(core),
        actor_(std::move(actor)),
        requests_(std::move(requests)),
        done_(std::move(done)) {}

  void Run() {
    storage::CreateTickets command{.actor = actor_};
    const absl::Status status = Fill(command);
    if (!status.ok()) {
      Refuse(status);
      return;
    }
    core_->Post(std::move(command),
                [self = shared_from_this()](auto receipt) { self->Posted(std::move(receipt)); });
  }

 private:
  absl::Status Fill(storage::CreateTickets& command) {
    LETHE_RETURN_IF_ERROR(CheckBacklog(*core_, requests_.size()));
    command.tickets.reserve(requests_.size());
    FieldViolations wrong;
    for (size_t i = 0; i < requests_.size() && !wrong.Enough(); ++i) {
      absl::StatusOr<Prepared> prepared = Prepare(core_, *requests_[i]);
      wrong.Add(AtIndex(prepared.status(), i, requests_.size()));
      if (!wrong.status().ok()) continue;  // nothing will be filed: only look what else is wrong
      LETHE_ASSIGN_OR_RETURN(NewTicket ticket, Seal(core_, *requests_[i], *prepared));
      command.tickets.push_back(std::move(ticket));
    }
    return wrong.status();
  }

  void Refuse(const absl::Status& status) {
    // All of a batch were filed, or none.
    std::vector<storage::TicketRecord> before;
    for (const v1::CreateTicketRequest* request : requests_) {
      auto ticket = FiledBefore(core_, *request);
      if (!ticket.has_value()) {
        done_(status);
        return;
      }
      before.push_back(*std::move(ticket));
    }
    done_(std::move(before));
  }

  void Posted(absl::StatusOr<storage::Receipt> receipt) {
    if (receipt.ok()) {
      done_(std::move(receipt->tickets));
    } else if (ErrorReason(receipt.status()) == "KEY_EPOCH_RETIRED" && !sealed_again_) {
      // The key file was rotated in between; once more under
      // the new key, off the committer's thread.
      sealed_again_ = true;
      if (!core_->background->Run([self = shared_from_this()] { self->Run(); })) {
        done_(receipt.status());
      }
    } else {
      done_(receipt.status());
    }
  }

  Core* const core_;
  const std::string actor_;
  const Requests requests_;
  const std::function<void(FiledTickets)> done_;
  bool sealed_again_ = false;
};

// Whether checking them reads files or tokenises.
bool TakesTime(const Core& core, const Requests& requests) {
  return std::any_of(requests.begin(), requests.end(), [&](const auto* request) {
    if (NeedsTokenizer(request->targets())) return true;
    const auto model = core.models->Find(ModelId{request->model_id()});
    return model != nullptr && model->model.has_corpus();
  });
}

absl::Status Busy() {
  return RetryLater(absl::StatusCode::kResourceExhausted, "SERVER_BUSY",
                    "too many calls wait for a thread; call again a little later",
                    absl::Milliseconds(500));
}

absl::StatusOr<v1::Ticket> Preview(Core* core, const v1::CreateTicketRequest& request) {
  LETHE_ASSIGN_OR_RETURN(const Prepared prepared, Prepare(core, request));
  v1::Ticket ticket;
  ticket.set_model_id(request.model_id());
  ticket.set_state(prepared.model->model.policy().approval_required()
                       ? v1::TICKET_STATE_PENDING_APPROVAL
                       : v1::TICKET_STATE_QUEUED);
  ticket.set_regulation(prepared.times.regulation);
  ticket.set_external_reference(request.external_reference());
  ToTimestamp(prepared.times.asked, ticket.mutable_request_time());
  ToTimestamp(prepared.times.due, ticket.mutable_due_time());
  ToTimestamp(prepared.times.due, ticket.mutable_original_due_time());
  ticket.set_sequences(prepared.ticket.payload.sequences_size());
  ticket.set_tokens(prepared.ticket.tokens);
  LETHE_ASSIGN_OR_RETURN(
      *ticket.mutable_preview(),
      PreviewTicket(*core, prepared.model->model, prepared.ticket, prepared.corpus.get()));
  return ticket;
}

}  // namespace

void FileTickets(Core* core, const std::string& actor, Requests requests,
                 std::function<void(FiledTickets)> done) {
  const bool slow = TakesTime(*core, requests);
  auto filing = std::make_shared<Filing>(core, actor, std::move(requests), done);
  if (!slow) {
    filing->Run();
  } else if (!core->background->Run([filing] { filing->Run(); })) {
    done(Busy());
  }
}

void PreviewTickets(Core* core, Requests requests,
                    std::function<void(absl::StatusOr<std::vector<v1::Ticket>>)> done) {
  auto task = [core, requests = std::move(requests), done] {
    std::vector<v1::Ticket> tickets;
    FieldViolations wrong;
    for (size_t i = 0; i < requests.size() && !wrong.Enough(); ++i) {
      absl::StatusOr<v1::Ticket> ticket = Preview(core, *requests[i]);
      wrong.Add(AtIndex(ticket.status(), i, requests.size()));
      if (ticket.ok()) tickets.push_back(*std::move(ticket));
    }
    if (const absl::Status status = wrong.status(); !status.ok()) {
      done(status);
    } else {
      done(std::move(tickets));
    }
  };
  if (!core->background->Run(std::move(task))) done(Busy());
}

}  // namespace lethe
