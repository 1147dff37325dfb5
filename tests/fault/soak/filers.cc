#include "tests/fault/soak/filers.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status.h"
#include "client/call.h"

namespace lethe::soak {
namespace {

using Deletion = v1::DeletionService::StubInterface;

// Far beyond any restart: only a server that has stopped answering takes so long.
constexpr absl::Duration kPatience = absl::Minutes(3);

}  // namespace

class Filers::Thread {
 public:
  Thread(Filers* filers, std::string name, uint64_t seed)
      : filers_(filers), name_(std::move(name)), random_(seed) {}

  void Run() {
    while (const int tickets = filers_->Take(Chance(random_, 20) ? 3 : 1)) {
      tickets > 1 ? FileBatch(tickets) : Chance(random_, 35) ? FilePerson() : FileOne();
      filers_->Done(tickets);
      filers_->stop_.WaitFor(absl::Milliseconds(Below(random_, 120)));
    }
  }

 private:
  std::string AnyModel() {
    absl::MutexLock lock(&filers_->mu_);
    return filers_->models_[Below(random_, static_cast<int>(filers_->models_.size()))];
  }
  std::string NewId() { return absl::StrCat(name_, ".", ++requests_); }
  v1::CreateTicketRequest NewRequest() {
    return filers_->world_->Ticket(random_, NewId(), AnyModel());
  }

  // Until the server answers, through restarts and on whatever port it is.
  template <typename Request, typename Response>
  absl::StatusOr<Response> Insist(grpc::Status (Deletion::*method)(grpc::ClientContext*,
                                                                   const Request&, Response*),
                                  const Request& request) {
    const absl::Time until = absl::Now() + kPatience;
    while (true) {
      const auto stubs = filers_->stubs_();
      const Caller caller({.deadline = absl::Seconds(5),
                           .retry = {.first_pause = absl::Milliseconds(10),
                                     .longest_pause = absl::Milliseconds(200),
                                     .max_attempts = 10},
                           .stop = &filers_->stop_});
      Deletion* stub = stubs->deletion.get();
      absl::StatusOr<Response> response = caller.Call(stub, method, request, Repeat::kSafe);
      if (response.ok() || !ShouldRetry(response.status(), Repeat::kSafe)) return response;
      if (filers_->stop_.requested() || absl::Now() > until) return response;
    }
  }

  // A call whose answer may get lost: what the server did with it is not known here.
  void CallAndHangUp(const v1::CreateTicketRequest& request) {
    const auto stubs = filers_->stubs_();
    const Caller caller({.retry = {.max_attempts = 1}});
    v1::Ticket ticket;
    const absl::Status status =
        caller.Once(absl::Milliseconds(1 + Below(random_, 6)), [&](grpc::ClientContext* context) {
          return stubs->deletion->CreateTicket(context, request, &ticket);
        });
    if (status.ok()) filers_->ledger_->Acknowledge(request.request_id(), ticket.ticket_id());
  }

  void FileOne() {
    const v1::CreateTicketRequest request = NewRequest();
    if (Chance(random_, 30)) CallAndHangUp(request);
    const auto ticket = Insist(&Deletion::CreateTicket, request);
    if (!ticket.ok()) return Refused("CreateTicket", request.request_id(), ticket.status());
    filers_->ledger_->Acknowledge(request.request_id(), ticket->ticket_id());
    Afterwards(request, ticket->ticket_id());
  }

  // Whoever was erased is not there any more: also when an earlier
  // call of this very request got through and its ticket has ended, which a repeat would be told.
  void FilePerson() {
    const int person = Below(random_, filers_->world_->people());
    const v1::CreateTicketRequest request =
        filers_->world_->PersonTicket(random_, person, NewId(), AnyModel());
    if (Chance(random_, 30)) CallAndHangUp(request);
    const auto ticket = Insist(&Deletion::CreateTicket, request);
    if (ticket.ok()) {
      filers_->ledger_->Acknowledge(request.request_id(), ticket->ticket_id());
      filers_->ledger_->NotePerson(ticket->ticket_id(), person);
      Afterwards(request, ticket->ticket_id());
      return;
    }
    const std::string reason = ErrorReason(ticket.status());
    if (reason == "SUBJECT_UNKNOWN" || reason == "DOCUMENT_UNKNOWN") {
      filers_->ledger_->CountGone();
    } else {
      Refused("CreateTicket", request.request_id(), ticket.status());
    }
  }

  void FileBatch(int tickets) {
    v1::BatchCreateTicketsRequest batch;
    for (int i = 0; i < tickets; ++i) *batch.add_requests() = NewRequest();
    const int times = Chance(random_, 30) ? 2 : 1;
    for (int time = 0; time < times; ++time) {
      const auto response = Insist(&Deletion::BatchCreateTickets, batch);
      if (!response.ok() || response->tickets_size() != tickets) {
        return Refused("BatchCreateTickets", batch.requests(0).request_id(), response.status());
      }
      for (int i = 0; i < tickets; ++i) {
        filers_->ledger_->Acknowledge(batch.requests(i).request_id(),
                                      response->tickets(i).ticket_id());
      }
      if (time > 0) filers_->ledger_->CountRepeat();
    }
  }

  void Afterwards(const v1::CreateTicketRequest& request, const std::string& ticket) {
    const int what = Below(random_, 100);
    if (what < 30) {
      Repeat(request);
    } else if (what < 40) {
      ReuseRequestId(request);
    } else if (what < 55) {
      Withdraw(ticket);
    } else if (what < 65) {
      HoldForAWhile(ticket);
    }
  }

  void Repeat(const v1::CreateTicketRequest& request) {
    const auto again = Insist(&Deletion::CreateTicket, request);
    if (!again.ok())
      return Refused("a repeated CreateTicket", request.request_id(), again.status());
    filers_->ledger_->Acknowledge(request.request_id(), again->ticket_id());
    filers_->ledger_->CountRepeat();
  }

  // Refused, or, once the ticket has ended and its text is forgotten, taken for the same request.
  void ReuseRequestId(v1::CreateTicketRequest request) {
    request.set_external_reference("another-body");
    const auto other = Insist(&Deletion::CreateTicket, request);
    if (other.ok()) {
      filers_->ledger_->Acknowledge(request.request_id(), other->ticket_id());
    } else if (ErrorReason(other.status()) != "REQUEST_ID_REUSED") {
      Refused("CreateTicket with a used request id", request.request_id(), other.status());
    }
  }

  void Withdraw(const std::string& ticket) {
    filers_->stop_.WaitFor(absl::Milliseconds(Below(random_, 1500)));
    v1::CancelTicketRequest request;
    request.set_ticket_id(ticket);
    const auto answer = Insist(&Deletion::CancelTicket, request);
    if (answer.ok()) {
      filers_->ledger_->AcknowledgeCancel(ticket);
    } else if (ErrorReason(answer.status()) != "WRONG_STATE") {
      Refused("CancelTicket", ticket, answer.status());
    }
  }

  void HoldForAWhile(const std::string& ticket) {
    v1::HoldTicketRequest hold;
    hold.set_ticket_id(ticket);
    const auto held = Insist(&Deletion::HoldTicket, hold);
    if (!held.ok()) {
      if (ErrorReason(held.status()) != "WRONG_STATE") Refused("HoldTicket", ticket, held.status());
      return;
    }
    filers_->stop_.WaitFor(absl::Milliseconds(Below(random_, 800)));
    v1::ReleaseTicketRequest release;
    release.set_ticket_id(ticket);
    const auto released = Insist(&Deletion::ReleaseTicket, release);
    if (!released.ok()) Refused("ReleaseTicket", ticket, released.status());
  }

  void Refused(const std::string& call, const std::string& what, const absl::Status& status) {
    if (filers_->stop_.requested()) return;
    filers_->ledger_->Broken(absl::StrCat(call, " of ", what, " was refused: ", status.ToString()));
  }

  Filers* const filers_;
  const std::string name_;
  Rng random_;
  int requests_ = 0;
};

Filers::Filers(const World* world, GetStubs stubs, Ledger* ledger, uint64_t seed, int threads)
    : world_(world), stubs_(std::move(stubs)), ledger_(ledger) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this, i, seed] {
      Thread(this, absl::StrCat("filer-", i), seed * 1000 + static_cast<uint64_t>(i)).Run();
    });
  }
}

Filers::~Filers() {
  stop_.Request();
  {
    absl::MutexLock lock(&mu_);
    over_ = true;
    allowed_ = 0;
  }
  for (std::thread& thread : threads_) thread.join();
}

void Filers::Allow(int tickets) {
  absl::MutexLock lock(&mu_);
  allowed_ += tickets;
}

void Filers::AddModel(const std::string& model) {
  absl::MutexLock lock(&mu_);
  models_.push_back(model);
}

int Filers::Take(int wanted) {
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(this, &Filers::MayTake));
  const int taken = std::min(wanted, allowed_);
  allowed_ -= taken;
  busy_ += taken;
  return taken;
}

void Filers::Done(int tickets) {
  absl::MutexLock lock(&mu_);
  busy_ -= tickets;
}

absl::Status Filers::Finish(absl::Duration patience) {
  absl::MutexLock lock(&mu_);
  const bool done = mu_.AwaitWithTimeout(absl::Condition(this, &Filers::AllDone), patience);
  over_ = true;
  if (done) return absl::OkStatus();
  return Error(absl::StatusCode::kDeadlineExceeded, "WAITED_TOO_LONG",
               absl::StrCat("after ", absl::FormatDuration(patience), " ", busy_ + allowed_,
                            " tickets are not yet acknowledged"));
}

}  // namespace lethe::soak
