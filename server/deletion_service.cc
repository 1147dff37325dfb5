#include "server/deletion_service.h"

#include <lethe/v1/deletion_service.grpc.pb.h>

#include <algorithm>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/convert.h"
#include "server/core.h"
#include "server/filing.h"
#include "server/policy/deadline.h"
#include "server/rpc/watch_call.h"
#include "server/ticket_request.h"

namespace lethe {
namespace {

using Bytes = grpc::ByteBuffer;
using Context = grpc::CallbackServerContext;
using Unary = grpc::ServerUnaryReactor;
using S = v1::DeletionService;

// Every method takes raw bytes; server/rpc/wire.h says why.
using Raw = S::WithRawCallbackMethod_CreateTicket<S::WithRawCallbackMethod_BatchCreateTickets<
    S::WithRawCallbackMethod_GetTicket<S::WithRawCallbackMethod_ListTickets<
        S::WithRawCallbackMethod_WatchTicket<S::WithRawCallbackMethod_ApproveTicket<
            S::WithRawCallbackMethod_DenyTicket<S::WithRawCallbackMethod_HoldTicket<
                S::WithRawCallbackMethod_ReleaseTicket<S::WithRawCallbackMethod_ExtendTicket<
                    S::WithRawCallbackMethod_CancelTicket<S::WithRawCallbackMethod_RetryTicket<
                        S::WithRawCallbackMethod_GetTicketReport<S::Service>>>>>>>>>>>>>;

// A malformed id may be anything, a name even: it is not repeated.
absl::StatusOr<TicketId> ParseTicketId(const std::string& text) {
  if (IsRandomId(text, 't')) return TicketId{text};
  return Error(absl::StatusCode::kNotFound, "TICKET_NOT_FOUND",
               "no ticket has this id; ids are \"t-\" and 32 hex digits");
}

// 1 to 500 characters, counted as the caller does.
absl::Status CheckReason(const std::string& reason) {
  const auto characters =
      std::count_if(reason.begin(), reason.end(), [](char c) { return (c & 0xc0) != 0x80; });
  if (characters >= 1 && characters <= 500) return absl::OkStatus();
  return FieldError("REASON_REQUIRED", "reason", "1 to 500 characters, no personal data");
}

bool IsDenial(int reason) {
  return reason == v1::TICKET_REASON_INSUFFICIENT_VERIFICATION ||
         reason == v1::TICKET_REASON_OUT_OF_SCOPE || reason == v1::TICKET_REASON_NO_MATCH ||
         reason == v1::TICKET_REASON_DUPLICATE;
}

class DeletionServiceImpl final : public Raw {
 public:
  explicit DeletionServiceImpl(Core* core) : core_(core) {}

  Unary* CreateTicket(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::CreateTicketRequest, v1::Ticket>(create_, c, in, out,
                                                           [this](auto* call) { Create(call); });
  }
  Unary* BatchCreateTickets(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::BatchCreateTicketsRequest, v1::BatchCreateTicketsResponse>(
        batch_, c, in, out, [this](auto* call) { BatchCreate(call); });
  }
  Unary* GetTicket(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::GetTicketRequest, v1::Ticket>(get_, c, in, out, [this](auto* call) {
      call->Finish(Get(call->request, &call->response));
    });
  }
  Unary* ListTickets(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::ListTicketsRequest, v1::ListTicketsResponse>(
        list_, c, in, out, [this](auto* call) {
          core_->RunFor(call, core_->background,
                        [this, call] { call->Finish(List(call->request, &call->response)); });
        });
  }
  Unary* ApproveTicket(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::ApproveTicketRequest, v1::Ticket>(
        approve_, c, in, out, [this](auto* call) { Change(call, storage::ApproveTicket()); });
  }
  Unary* DenyTicket(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::DenyTicketRequest, v1::Ticket>(deny_, c, in, out, [this](auto* call) {
      const int reason = call->request.reason();
      if (IsDenial(reason)) {
        Change(call, storage::DenyTicket{.reason = reason});
      } else {
        call->Finish(
            FieldError("REASON_REQUIRED", "reason",
                       "one of INSUFFICIENT_VERIFICATION, OUT_OF_SCOPE, NO_MATCH, DUPLICATE"));
      }
    });
  }
  Unary* HoldTicket(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::HoldTicketRequest, v1::Ticket>(
        hold_, c, in, out, [this](auto* call) { Change(call, storage::HoldTicket()); });
  }
  Unary* ReleaseTicket(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::ReleaseTicketRequest, v1::Ticket>(
        release_, c, in, out, [this](auto* call) { Change(call, storage::ReleaseTicket()); });
  }
  Unary* ExtendTicket(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::ExtendTicketRequest, v1::Ticket>(extend_, c, in, out,
                                                           [this](auto* call) { Extend(call); });
  }
  Unary* CancelTicket(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::CancelTicketRequest, v1::Ticket>(
        cancel_, c, in, out, [this](auto* call) { Change(call, storage::CancelTicket()); });
  }
  Unary* RetryTicket(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::RetryTicketRequest, v1::Ticket>(
        retry_, c, in, out, [this](auto* call) { Change(call, storage::RetryTicket()); });
  }
  Unary* GetTicketReport(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::GetTicketReportRequest, v1::VerificationReport>(
        report_, c, in, out, [this](auto* call) {
          core_->RunFor(call, core_->background,
                        [this, call] { call->Finish(Report(call->request, &call->response)); });
        });
  }
  grpc::ServerWriteReactor<Bytes>* WatchTicket(Context* c, const Bytes* in) override {
    return Watch(c, *in);
  }

 private:
  RpcMethod Method(const char* name) {
    return core_->Method("lethe.v1.DeletionService", name, core_->calls);
  }

  void ToReply(const storage::TicketRecord& record, v1::Ticket* out) const {
    const std::optional<v1::Progress> progress = core_->hub->ProgressOf(record.job_id());
    ToTicket(record, progress.has_value() ? &*progress : nullptr, out);
  }

  template <typename Call>
  void Create(Call* call) {
    if (call->request.validate_only()) {
      PreviewTickets(core_, {&call->request}, [call](auto tickets) {
        if (tickets.ok()) call->response = std::move(tickets->front());
        call->Finish(tickets.status());
      });
      return;
    }
    FileTickets(core_, call->principal().name, {&call->request}, [this, call](auto tickets) {
      if (tickets.ok()) ToReply(tickets->front(), &call->response);
      call->Finish(tickets.status());
    });
  }

  absl::Status CheckBatch(const v1::BatchCreateTicketsRequest& request) const {
    const int64_t limit = core_->config->max_tickets_per_batch;
    if (request.requests().empty()) {
      return FieldError("NO_TICKETS", "requests", "name at least one ticket");
    }
    if (request.requests_size() > limit) {
      return FieldError("TOO_MANY_TICKETS", "requests",
                        absl::StrCat("at most ", limit, " tickets a call"),
                        {{"limit", absl::StrCat(limit)}});
    }
    for (const v1::CreateTicketRequest& one : request.requests()) {
      if (one.validate_only() != request.requests(0).validate_only()) {
        return FieldError("VALIDATE_ONLY_MIXED", "requests",
                          "validate_only must be the same in all");
      }
    }
    return absl::OkStatus();
  }

  template <typename Call>
  void BatchCreate(Call* call) {
    if (absl::Status status = CheckBatch(call->request); !status.ok()) {
      call->Finish(status);
      return;
    }
    Requests requests;
    for (const v1::CreateTicketRequest& one : call->request.requests()) requests.push_back(&one);
    if (requests.front()->validate_only()) {
      PreviewTickets(core_, std::move(requests), [call](auto tickets) {
        if (tickets.ok()) {
          for (v1::Ticket& ticket : *tickets) *call->response.add_tickets() = std::move(ticket);
        }
        call->Finish(tickets.status());
      });
      return;
    }
    FileTickets(core_, call->principal().name, std::move(requests), [this, call](auto tickets) {
      if (tickets.ok()) {
        for (const auto& record : *tickets) ToReply(record, call->response.add_tickets());
      }
      call->Finish(tickets.status());
    });
  }

  absl::Status Get(const v1::GetTicketRequest& request, v1::Ticket* out) const {
    LETHE_ASSIGN_OR_RETURN(const TicketId id, ParseTicketId(request.ticket_id()));
    LETHE_ASSIGN_OR_RETURN(const auto record, core_->store->Snapshot()->GetTicket(id));
    ToReply(record, out);
    return absl::OkStatus();
  }

  absl::Status List(const v1::ListTicketsRequest& request, v1::ListTicketsResponse* out) const {
    storage::TicketQuery query;
    LETHE_ASSIGN_OR_RETURN(query.limit, PageSize(request.page_size()));
    if (!request.model_id().empty() && !IsModelName(request.model_id())) {
      return FieldError("MODEL_ID_MALFORMED", "model_id",
                        "1 to 63 of [a-z0-9-], beginning with a letter");
    }
    query.model = ModelId{request.model_id()};
    for (const int state : request.states()) {
      if (state == 0 || !v1::TicketState_IsValid(state)) {
        return FieldError("STATE_UNKNOWN", "states", "no ticket has a state of that number");
      }
      query.states.push_back(static_cast<storage::TicketState>(state));
    }
    std::sort(query.states.begin(), query.states.end());
    query.states.erase(std::unique(query.states.begin(), query.states.end()), query.states.end());
    std::string filter = absl::StrCat("tickets/", request.model_id());
    for (const auto state : query.states) absl::StrAppend(&filter, "/", static_cast<int>(state));
    LETHE_ASSIGN_OR_RETURN(const std::string position,
                           core_->pages->Read(filter, request.page_token()));
    if (!position.empty()) {
      const size_t slash = position.find('/');
      storage::TicketCursor after{.ticket = TicketId{position.substr(slash + 1)}};
      if (!absl::SimpleAtoi(position.substr(0, slash), &after.create_us)) {
        return FieldError("PAGE_TOKEN_INVALID", "page_token", "not a token of this list");
      }
      query.after = std::move(after);
    }
    LETHE_ASSIGN_OR_RETURN(const storage::TicketPage page,
                           core_->store->Snapshot()->ListTickets(query));
    for (const auto& record : page.tickets) ToReply(record, out->add_tickets());
    if (page.next.has_value()) {
      out->set_next_page_token(core_->pages->Make(
          filter, absl::StrCat(page.next->create_us, "/", page.next->ticket.value)));
    }
    return absl::OkStatus();
  }

  // Every RPC that moves one ticket: id and etag from the request, the rest is the command's.
  template <typename Call, typename Command>
  void Change(Call* call, Command command) {
    const auto id = ParseTicketId(call->request.ticket_id());
    const auto version = ParseEtag(call->request.etag());
    if (!id.ok() || !version.ok()) {
      call->Finish(id.ok() ? version.status() : id.status());
      return;
    }
    command.actor = call->principal().name;
    command.ticket = *id;
    command.version = *version;
    core_->Post(std::move(command), [this, call](absl::StatusOr<storage::Receipt> receipt) {
      if (receipt.ok()) ToReply(receipt->tickets.front(), &call->response);
      call->Finish(receipt.status());
    });
  }

  absl::StatusOr<absl::Time> ExtendedDue(const v1::ExtendTicketRequest& request) const {
    LETHE_RETURN_IF_ERROR(CheckReason(request.reason()));
    std::optional<absl::Time> custom;
    if (request.has_due_time()) {
      custom = FromTimestamp(request.due_time());
      if (!custom.has_value()) {
        return FieldError("DUE_TIME_INVALID", "due_time", "no time that the calendar knows");
      }
    }
    LETHE_ASSIGN_OR_RETURN(const TicketId id, ParseTicketId(request.ticket_id()));
    LETHE_ASSIGN_OR_RETURN(const auto record, core_->store->Snapshot()->GetTicket(id));
    return ExtendedDueTime(static_cast<v1::Regulation>(record.regulation()),
                           absl::FromUnixMicros(record.request_us()),
                           absl::FromUnixMicros(record.due_us()), custom);
  }

  template <typename Call>
  void Extend(Call* call) {
    const absl::StatusOr<absl::Time> due = ExtendedDue(call->request);
    if (!due.ok()) {
      call->Finish(due.status());
      return;
    }
    Change(call, storage::ExtendTicket{.due_time = *due, .reason = call->request.reason()});
  }

  absl::Status Report(const v1::GetTicketReportRequest& request,
                      v1::VerificationReport* out) const {
    LETHE_ASSIGN_OR_RETURN(const TicketId id, ParseTicketId(request.ticket_id()));
    const auto snapshot = core_->store->Snapshot();
    LETHE_ASSIGN_OR_RETURN(const auto ticket, snapshot->GetTicket(id));
    std::string wanted = request.report_id();
    const auto& ids = ticket.report_ids();
    if (wanted.empty() && !ids.empty()) wanted = ids[ids.size() - 1];
    if (std::find(ids.begin(), ids.end(), wanted) == ids.end()) {
      return Error(absl::StatusCode::kNotFound, "REPORT_NOT_FOUND",
                   ids.empty() ? "the ticket has no report yet" : "the ticket has no such report",
                   {{"ticket", id.value}});
    }
    LETHE_ASSIGN_OR_RETURN(const auto record, snapshot->GetReport(wanted));
    if (out->ParseFromString(record.report())) return absl::OkStatus();
    return Error(absl::StatusCode::kDataLoss, "RECORD_CORRUPT", "the report does not parse",
                 {{"report", wanted}});
  }

  grpc::ServerWriteReactor<Bytes>* Watch(Context* context, const Bytes& in) {
    v1::WatchTicketRequest request;
    absl::Status status;
    const auto call = WatchCall::Start(watch_, context, in, &request, &status);
    if (!status.ok()) return call.get();
    const auto id = ParseTicketId(request.ticket_id());
    if (!id.ok()) {
      call->End(id.status());
      return call.get();
    }
    call->OnGone([hub = core_->hub, watcher = call.get()] { hub->Forget(watcher); });
    // First the subscription, then the present state: no change falls between.
    core_->hub->WatchTicket(*id, call);
    const auto record = core_->store->Snapshot()->GetTicket(*id);
    if (record.ok()) {
      core_->hub->OnTicket(*record);
    } else {
      call->End(record.status());
    }
    return call.get();
  }

  Core* const core_;
  const RpcMethod create_ = Method("CreateTicket");
  const RpcMethod batch_ = Method("BatchCreateTickets");
  const RpcMethod get_ = Method("GetTicket");
  const RpcMethod list_ = Method("ListTickets");
  const RpcMethod approve_ = Method("ApproveTicket");
  const RpcMethod deny_ = Method("DenyTicket");
  const RpcMethod hold_ = Method("HoldTicket");
  const RpcMethod release_ = Method("ReleaseTicket");
  const RpcMethod extend_ = Method("ExtendTicket");
  const RpcMethod cancel_ = Method("CancelTicket");
  const RpcMethod retry_ = Method("RetryTicket");
  const RpcMethod report_ = Method("GetTicketReport");
  const RpcMethod watch_ =
      core_->Method("lethe.v1.DeletionService", "WatchTicket", core_->watches, "server_stream");
};

}  // namespace

std::unique_ptr<grpc::Service> MakeDeletionService(Core* core) {
  return std::make_unique<DeletionServiceImpl>(core);
}

}  // namespace lethe
