// Commands about tickets.
#include <algorithm>
#include <array>

#include "base/status.h"
#include "storage/command/decide_internal.h"
#include "storage/command/draft.h"
#include "storage/command/outcomes.h"
#include "storage/state/corpus_state.h"
#include "storage/state/ticket_state.h"

namespace lethe::storage {
namespace {

constexpr size_t kMaxReasonBytes = 2000;  // 500 characters of at most four bytes

absl::Status AtIndex(const absl::Status& status, size_t index) {
  ErrorMetadata metadata = ErrorDetails(status);
  metadata["index"] = std::to_string(index);
  return Error(status.code(), ErrorReason(status),
               std::string(status.message().data(), status.message().size()), metadata);
}

absl::StatusOr<TicketRecord*> TicketAtVersion(Draft* draft, const TicketId& id,
                                              std::optional<uint64_t> version) {
  LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, draft->Ticket(id));
  if (version.has_value() && *version != ticket->version()) {
    return Error(absl::StatusCode::kAborted, "ETAG_MISMATCH",
                 "the ticket has changed since; read it again", {{"ticket", id.value}});
  }
  return ticket;
}

absl::Status NotFinal(const TicketRecord& ticket) {
  const auto state = static_cast<TicketState>(ticket.state());
  if (!IsFinal(state)) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "WRONG_STATE", "the ticket has ended",
               {{"ticket", ticket.ticket_id()}, {"state", std::string(Name(state))}});
}

Decision FinishWith(Draft* draft, TicketRecord* ticket, bool repeated = false) {
  Receipt receipt;
  receipt.tickets.push_back(*ticket);
  receipt.repeated = repeated;
  return draft->Finish(std::move(receipt));
}

absl::Status CheckNew(const NewTicket& ticket, Draft* draft) {
  if (!IsRandomId(ticket.id.value, 't')) return Malformed("a ticket id is not one");
  if (ticket.request_key.empty() || ticket.request_digest.empty()) {
    return Malformed("a new ticket needs a request key and a request digest");
  }
  if (ticket.sequences < 1 || ticket.payload.sealed().empty() || ticket.key.wrapped().empty()) {
    return Malformed("a new ticket needs a sealed payload and its key");
  }
  LETHE_ASSIGN_OR_RETURN(std::optional<TicketRecord> taken, draft->view().FindTicket(ticket.id));
  if (taken.has_value() || draft->changes().tickets.contains(ticket.id.value)) {
    return Malformed("a new ticket's id is taken");
  }
  LETHE_ASSIGN_OR_RETURN(CountersRecord * counters, draft->Counters());
  if (ticket.key.epoch() < counters->key_epoch()) {
    return Error(absl::StatusCode::kAborted, "KEY_EPOCH_RETIRED",
                 "the key file was rotated since this payload was sealed; seal it again");
  }
  return absl::OkStatus();
}

// The ticket of a known request id; nothing when the id is new.
absl::StatusOr<TicketRecord*> Repetition(const NewTicket& ticket, Draft* draft) {
  std::string id;
  if (auto it = draft->changes().requests.find(ticket.request_key);
      it != draft->changes().requests.end()) {
    id = it->second.ticket_id();
  } else {
    LETHE_ASSIGN_OR_RETURN(std::optional<RequestRecord> known,
                           draft->view().FindRequest(ticket.request_key));
    if (!known.has_value()) return nullptr;
    id = known->ticket_id();
  }
  LETHE_ASSIGN_OR_RETURN(TicketRecord * first, draft->Ticket(TicketId{id}));
  // The digest of an ended ticket is gone with its payload: then the request id alone speaks.
  if (!first->request_digest().empty() && first->request_digest() != ticket.request_digest) {
    return Error(absl::StatusCode::kAlreadyExists, "REQUEST_ID_REUSED",
                 "this request_id was used for another request; choose a new one",
                 {{"ticket", id}});
  }
  return first;
}

// What a ticket touches was looked up in the corpus as it is: one that is still being read or
// trained on may hold more.
absl::Status CheckCorpus(const NewTicket& in, const ModelRecord& model) {
  const ErrorMetadata metadata = {{"model", in.model.value}};
  const auto state = static_cast<CorpusState>(model.corpus().state());
  if (state == CorpusState::kReading || state == CorpusState::kTraining) {
    return Error(absl::StatusCode::kFailedPrecondition, "CORPUS_NOT_READY",
                 "the model's corpus is not READY yet; follow it with GetModel, and file then",
                 metadata);
  }
  if ((in.corpus_sequences > 0) != !in.corpus_shards.empty() || in.corpus_sequences < 0) {
    return Malformed("sequences of a corpus and its shards come together");
  }
  for (size_t i = 0; i < in.corpus_shards.size(); ++i) {
    const int32_t shard = in.corpus_shards[i];
    const bool ascending = i == 0 || in.corpus_shards[i - 1] < shard;
    if (shard >= 0 && shard < model.corpus().shards_size() && ascending) continue;
    return Error(absl::StatusCode::kFailedPrecondition, "CORPUS_CHANGED",
                 "the model's corpus is another one now; file the ticket again", metadata);
  }
  return absl::OkStatus();
}

absl::StatusOr<TicketRecord*> Create(const NewTicket& in, const std::string& actor, Draft* draft,
                                     const Rules& rules) {
  LETHE_RETURN_IF_ERROR(CheckNew(in, draft));
  LETHE_ASSIGN_OR_RETURN(ModelRecord model, draft->view().GetModel(in.model));
  if (model.state() != static_cast<int32_t>(ModelState::kReady)) {
    return Error(absl::StatusCode::kFailedPrecondition, "MODEL_NOT_READY",
                 "the model is not READY; follow it with GetModel", {{"model", in.model.value}});
  }
  LETHE_RETURN_IF_ERROR(CheckCorpus(in, model));
  LETHE_ASSIGN_OR_RETURN(lethe::v1::ModelPolicy policy, PolicyOf(model));
  TicketRecord* ticket = draft->NewTicket(in.id);
  ticket->set_model_id(in.model.value);
  ticket->set_regulation(in.regulation);
  ticket->set_external_reference(in.external_reference);
  ticket->set_request_us(absl::ToUnixMicros(in.request_time));
  ticket->set_due_us(absl::ToUnixMicros(in.due_time));
  ticket->set_original_due_us(ticket->due_us());
  ticket->set_sequences(in.sequences);
  ticket->set_tokens(in.tokens);
  ticket->set_corpus_sequences(in.corpus_sequences);
  ticket->mutable_corpus_shards()->Add(in.corpus_shards.begin(), in.corpus_shards.end());
  ticket->set_request_key(in.request_key);
  ticket->set_request_digest(in.request_digest);
  ticket->set_created_by(actor);
  draft->changes().payloads[in.id.value] = in.payload;
  draft->changes().keys[in.id.value] = in.key;
  RequestRecord& request = draft->changes().requests[in.request_key];
  request.set_ticket_id(in.id.value);
  request.set_expire_us(absl::ToUnixMicros(draft->now() + rules.request_keep));
  LETHE_RETURN_IF_ERROR(draft->Move(
      ticket, policy.approval_required() ? TicketEvent::kSubmitForApproval : TicketEvent::kSubmit,
      lethe::v1::TICKET_REASON_UNSPECIFIED, {{"payload_commitment", in.payload_commitment}}));
  return ticket;
}

}  // namespace

Decision Decide(const CreateTickets& c, const Context& context) {
  if (c.tickets.empty()) return Malformed("no tickets");
  Draft draft(context.view, context.now, c.actor);
  Receipt receipt;
  receipt.repeated = true;
  for (size_t i = 0; i < c.tickets.size(); ++i) {
    absl::StatusOr<TicketRecord*> ticket = Repetition(c.tickets[i], &draft);
    if (ticket.ok() && *ticket == nullptr) {
      ticket = Create(c.tickets[i], c.actor, &draft, context.rules);
      receipt.repeated = false;
    }
    if (!ticket.ok()) return AtIndex(ticket.status(), i);
    receipt.tickets.push_back(**ticket);
  }
  return draft.Finish(std::move(receipt));
}

Decision Decide(const ApproveTicket& c, const Context& context) {
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, TicketAtVersion(&draft, c.ticket, c.version));
  LETHE_RETURN_IF_ERROR(draft.Move(ticket, TicketEvent::kApprove));
  return FinishWith(&draft, ticket);
}

Decision Decide(const DenyTicket& c, const Context& context) {
  constexpr std::array kAllowed = {
      lethe::v1::TICKET_REASON_INSUFFICIENT_VERIFICATION, lethe::v1::TICKET_REASON_OUT_OF_SCOPE,
      lethe::v1::TICKET_REASON_NO_MATCH, lethe::v1::TICKET_REASON_DUPLICATE};
  const auto reason = static_cast<lethe::v1::TicketReason>(c.reason);
  if (std::find(kAllowed.begin(), kAllowed.end(), reason) == kAllowed.end()) {
    return Error(absl::StatusCode::kInvalidArgument, "REASON_REQUIRED",
                 "a denial needs one of INSUFFICIENT_VERIFICATION, OUT_OF_SCOPE, NO_MATCH, "
                 "DUPLICATE");
  }
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, TicketAtVersion(&draft, c.ticket, c.version));
  LETHE_RETURN_IF_ERROR(draft.Move(ticket, TicketEvent::kDeny, reason));
  return FinishWith(&draft, ticket);
}

Decision Decide(const HoldTicket& c, const Context& context) {
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, TicketAtVersion(&draft, c.ticket, c.version));
  LETHE_RETURN_IF_ERROR(NotFinal(*ticket));
  if (ticket->state() == static_cast<int32_t>(TicketState::kErasing)) {
    return Error(absl::StatusCode::kFailedPrecondition, "WRONG_STATE",
                 "the promoted model has forgotten it and the corpus is being erased: there is "
                 "nothing left to hold",
                 {{"ticket", c.ticket.value}, {"state", "ERASING"}});
  }
  if (ticket->held()) return FinishWith(&draft, ticket, /*repeated=*/true);
  ticket->set_held(true);
  draft.Note(ticket, "TICKET_HELD");
  if (IsInJob(static_cast<TicketState>(ticket->state()))) {
    LETHE_RETURN_IF_ERROR(AbandonJob(&draft, JobId{ticket->job_id()}, "TICKET_HELD"));
  }
  return FinishWith(&draft, ticket);
}

Decision Decide(const ReleaseTicket& c, const Context& context) {
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, TicketAtVersion(&draft, c.ticket, c.version));
  LETHE_RETURN_IF_ERROR(NotFinal(*ticket));
  if (!ticket->held()) return FinishWith(&draft, ticket, /*repeated=*/true);
  ticket->set_held(false);
  draft.Note(ticket, "TICKET_RELEASED");
  return FinishWith(&draft, ticket);
}

Decision Decide(const ExtendTicket& c, const Context& context) {
  if (c.reason.empty() || c.reason.size() > kMaxReasonBytes) {
    return Error(absl::StatusCode::kInvalidArgument, "REASON_REQUIRED",
                 "an extension needs a reason of 1 to 500 characters");
  }
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, TicketAtVersion(&draft, c.ticket, c.version));
  LETHE_RETURN_IF_ERROR(NotFinal(*ticket));
  if (!ticket->extension_reason().empty()) {
    return Error(absl::StatusCode::kFailedPrecondition, "ALREADY_EXTENDED", "a due time moves once",
                 {{"ticket", c.ticket.value}});
  }
  const int64_t due_us = absl::ToUnixMicros(c.due_time);
  if (due_us <= ticket->due_us() || c.due_time <= context.now) {
    return Error(absl::StatusCode::kInvalidArgument, "DUE_TIME_INVALID",
                 "the new due time must be later than the present one and than now",
                 {{"ticket", c.ticket.value}});
  }
  ticket->set_due_us(due_us);
  ticket->set_extension_reason(c.reason);
  draft.Note(ticket, "TICKET_EXTENDED", c.reason);
  return FinishWith(&draft, ticket);
}

Decision Decide(const CancelTicket& c, const Context& context) {
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, TicketAtVersion(&draft, c.ticket, c.version));
  const bool in_job = IsInJob(static_cast<TicketState>(ticket->state()));
  LETHE_RETURN_IF_ERROR(
      draft.Move(ticket, TicketEvent::kWithdraw, lethe::v1::TICKET_REASON_WITHDRAWN));
  if (in_job) {
    LETHE_RETURN_IF_ERROR(AbandonJob(&draft, JobId{ticket->job_id()}, "TICKET_CANCELLED"));
  }
  return FinishWith(&draft, ticket);
}

Decision Decide(const RetryTicket& c, const Context& context) {
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, TicketAtVersion(&draft, c.ticket, c.version));
  LETHE_RETURN_IF_ERROR(draft.Move(ticket, TicketEvent::kRetry));
  ticket->set_batch_cap(0);
  ticket->set_not_before_us(0);
  return FinishWith(&draft, ticket);
}

}  // namespace lethe::storage
