// lethe ticket get, list, watch, approve, deny, hold, release, extend, cancel, retry
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/command.h"
#include "cli/corpus_view.h"
#include "cli/exit_code.h"
#include "cli/text_table.h"
#include "cli/ticket_view.h"
#include "cli/ticket_watch.h"
#include "client/watch_ticket.h"

namespace lethe {
namespace {

using Stub = v1::DeletionService::StubInterface;

struct TicketOptions {
  std::string id, etag, reason, due;
};

std::shared_ptr<TicketOptions> IdOption(CLI::App* command) {
  auto options = std::make_shared<TicketOptions>();
  command->add_option("TICKET", options->id, "Its id, t-…")->required();
  return options;
}

// A command that changes one ticket and answers with it. `fill` completes the request.
template <typename Request>
void AddVerb(Cli& cli, CLI::App* parent, const std::string& name, const std::string& what,
             const std::string& examples,
             grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, v1::Ticket*),
             Repeat repeat, const std::function<void(CLI::App*, TicketOptions*)>& more_options,
             std::function<absl::Status(const TicketOptions&, Request*)> fill) {
  CLI::App* command = cli.Add(parent, name, what, examples);
  auto options = IdOption(command);
  command->add_option("--etag", options->etag, "Refuse when the ticket has changed since");
  if (more_options) more_options(command, options.get());
  cli.OnRun(command, [=](Cli& cli) -> absl::StatusOr<int> {
    Request request;
    request.set_ticket_id(options->id);
    request.set_etag(options->etag);
    if (fill) LETHE_RETURN_IF_ERROR(fill(*options, &request));
    LETHE_ASSIGN_OR_RETURN(Stub * stub, cli.Tickets());
    LETHE_ASSIGN_OR_RETURN(const v1::Ticket ticket, cli.Call(stub, method, request, repeat));
    PrintTicket(cli, ticket);
    return kExitOk;
  });
}

void AddVerbs(Cli& cli, CLI::App* ticket) {
  AddVerb<v1::ApproveTicketRequest>(
      cli, ticket, "approve", "Lets a ticket that waits for approval begin",
      "  lethe ticket approve t-…\n", &Stub::ApproveTicket, Repeat::kUnsafe, {}, {});
  AddVerb<v1::DenyTicketRequest>(
      cli, ticket, "deny", "Refuses a ticket that waits for approval; its text is destroyed",
      "  lethe ticket deny t-… --reason NO_MATCH\n", &Stub::DenyTicket, Repeat::kUnsafe,
      [](CLI::App* command, TicketOptions* options) {
        command->add_option("--reason", options->reason, "Why")
            ->required()
            ->check(CLI::IsMember(
                {"INSUFFICIENT_VERIFICATION", "OUT_OF_SCOPE", "NO_MATCH", "DUPLICATE"}));
      },
      [](const TicketOptions& options, v1::DenyTicketRequest* request) {
        v1::TicketReason reason = v1::TICKET_REASON_UNSPECIFIED;
        v1::TicketReason_Parse(absl::StrCat("TICKET_REASON_", options.reason), &reason);
        request->set_reason(reason);
        return absl::OkStatus();
      });
  AddVerb<v1::HoldTicketRequest>(
      cli, ticket, "hold", "Keeps a ticket from being worked on and promoted",
      "  lethe ticket hold t-…\n", &Stub::HoldTicket, Repeat::kSafe, {}, {});
  AddVerb<v1::ReleaseTicketRequest>(cli, ticket, "release", "Lifts a hold",
                                    "  lethe ticket release t-…\n", &Stub::ReleaseTicket,
                                    Repeat::kSafe, {}, {});
  AddVerb<v1::ExtendTicketRequest>(
      cli, ticket, "extend", "Moves the due time, once, as the law allows",
      "  lethe ticket extend t-… --reason 'forty requests at once'\n", &Stub::ExtendTicket,
      Repeat::kUnsafe,
      [](CLI::App* command, TicketOptions* options) {
        command->add_option("--reason", options->reason, "Why; auditors read it: no personal data")
            ->required();
        command->add_option(
            "--due", options->due,
            "The new due time, for tickets with a deadline of their own: 2026-12-31T12:00:00Z");
      },
      [](const TicketOptions& options, v1::ExtendTicketRequest* request) {
        request->set_reason(options.reason);
        if (options.due.empty()) return absl::OkStatus();
        absl::Time due;
        std::string error;
        if (!absl::ParseTime(absl::RFC3339_full, options.due, &due, &error)) {
          return UsageError("--due must look like 2026-12-31T12:00:00Z");
        }
        *request->mutable_due_time() = ToTimestamp(due);
        return absl::OkStatus();
      });
  AddVerb<v1::CancelTicketRequest>(
      cli, ticket, "cancel", "Withdraws a ticket; its text is destroyed",
      "  lethe ticket cancel t-…\n", &Stub::CancelTicket, Repeat::kUnsafe, {}, {});
  AddVerb<v1::RetryTicketRequest>(
      cli, ticket, "retry", "Queues a FAILED ticket again, from the first rung",
      "  lethe ticket retry t-…\n", &Stub::RetryTicket, Repeat::kUnsafe, {}, {});
}

void AddGet(Cli& cli, CLI::App* ticket) {
  CLI::App* command =
      cli.Add(ticket, "get", "Shows one ticket",
              "  lethe ticket get t-…\n  lethe ticket get t-… --output json | jq -r .state\n");
  auto options = IdOption(command);
  cli.OnRun(command, [options](Cli& cli) -> absl::StatusOr<int> {
    v1::GetTicketRequest request;
    request.set_ticket_id(options->id);
    LETHE_ASSIGN_OR_RETURN(Stub * stub, cli.Tickets());
    LETHE_ASSIGN_OR_RETURN(const v1::Ticket found, cli.Call(stub, &Stub::GetTicket, request));
    PrintTicket(cli, found);
    return kExitOk;
  });
}

struct ListOptions {
  std::string model;
  std::vector<std::string> states;
  int limit = 50;
  bool all = false;
};

// One line a ticket; JSON gives one object with the list.
void PrintTickets(Cli& cli, const v1::ListTicketsResponse& tickets) {
  if (cli.json()) return cli.PrintJson(tickets);
  const bool of_corpora =  // only then is there something to say of one
      std::any_of(tickets.tickets().begin(), tickets.tickets().end(),
                  [](const v1::Ticket& ticket) { return ticket.has_corpus(); });
  std::vector<std::string> header = {"TICKET",    "MODEL",  "STATE", "REASON",
                                     "SEQUENCES", "TOKENS", "RUNG",  "DUE"};
  if (of_corpora) header.emplace_back("CORPUS");
  TextTable table(header);
  for (const v1::Ticket& ticket : tickets.tickets()) {
    std::string due = "ended";
    if (!ticket.has_end_time()) due = RelativeText(FromTimestamp(ticket.due_time()), cli.now());
    std::vector<std::string> row = {
        ticket.ticket_id(),
        ticket.model_id(),
        absl::StrCat(StateName(ticket.state()), ticket.held() ? " (held)" : ""),
        ReasonName(ticket.reason()),
        absl::StrCat(ticket.sequences()),
        CountText(ticket.tokens()),
        absl::StrCat(ticket.rung()),
        due};
    if (of_corpora) row.push_back(ticket.has_corpus() ? PlaceText(ticket.corpus()) : "");
    table.Add(std::move(row));
  }
  table.Print(cli.out());
  if (!tickets.next_page_token().empty())
    cli.err() << "there are more: --limit or --all shows them\n";
}

absl::StatusOr<int> List(Cli& cli, const ListOptions& options) {
  v1::ListTicketsRequest request;
  request.set_model_id(options.model);
  for (const std::string& name : options.states) {
    v1::TicketState state = v1::TICKET_STATE_UNSPECIFIED;
    if (!v1::TicketState_Parse(absl::StrCat("TICKET_STATE_", name), &state)) {
      return UsageError(absl::StrCat("there is no state ", name));
    }
    request.add_states(state);
  }
  LETHE_ASSIGN_OR_RETURN(Stub * stub, cli.Tickets());
  v1::ListTicketsResponse found;
  do {
    const int wanted = options.all ? 1000 : std::min(options.limit - found.tickets_size(), 1000);
    request.set_page_size(wanted);
    LETHE_ASSIGN_OR_RETURN(v1::ListTicketsResponse page,
                           cli.Call(stub, &Stub::ListTickets, request));
    for (v1::Ticket& ticket : *page.mutable_tickets()) *found.add_tickets() = std::move(ticket);
    found.set_next_page_token(page.next_page_token());
    request.set_page_token(page.next_page_token());
  } while (!found.next_page_token().empty() &&
           (options.all || found.tickets_size() < options.limit));
  PrintTickets(cli, found);
  return kExitOk;
}

void AddList(Cli& cli, CLI::App* ticket) {
  CLI::App* command = cli.Add(ticket, "list", "Lists tickets, newest first",
                              "  lethe ticket list --model chat\n"
                              "  lethe ticket list --state FAILED --state PENDING_APPROVAL\n"
                              "  lethe ticket list --all --output json\n");
  auto options = std::make_shared<ListOptions>();
  command->add_option("--model", options->model, "Only tickets of this model");
  command->add_option("--state", options->states, "Only tickets in this state; may be repeated")
      ->allow_extra_args(false);
  command->add_option("--limit", options->limit, "At most so many")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--all", options->all, "All of them");
  cli.OnRun(command, [options](Cli& cli) { return List(cli, *options); });
}

void AddWatch(Cli& cli, CLI::App* ticket) {
  CLI::App* command =
      cli.Add(ticket, "watch", "Follows a ticket to its end; 0 only when it is COMPLETED",
              "  lethe ticket watch t-…\n"
              "  lethe ticket watch t-… --output json   # a JSON line for each change\n");
  auto options = IdOption(command);
  cli.OnRun(command, [options](Cli& cli) { return WatchToTheEnd(cli, options->id); });
}

}  // namespace

absl::StatusOr<int> WatchToTheEnd(Cli& cli, const std::string& ticket_id) {
  LETHE_ASSIGN_OR_RETURN(Stub * stub, cli.Tickets());
  ProgressView view(&cli);
  v1::Ticket last;
  const absl::Status status =
      WatchTicket(stub, ticket_id, cli.MakeCaller(), [&](const v1::Ticket& ticket) {
        last = ticket;
        view.Show(ticket);
        return IsSettled(ticket.state()) ? Watch::kEnough : Watch::kGoOn;
      });
  view.Done();
  LETHE_RETURN_IF_ERROR(status);
  if (!cli.json()) PrintTicket(cli, last);
  if (last.state() == v1::TICKET_STATE_COMPLETED) return kExitOk;
  if (!cli.json() && last.state() == v1::TICKET_STATE_FAILED) {
    cli.err()
        << "what to do: `lethe report show " << ticket_id
        << "` says why; `lethe ticket retry` tries again, `lethe ticket cancel` withdraws it\n";
  }
  return kExitRefused;
}

void AddTicketCommands(Cli& cli, CLI::App* ticket) {
  AddGet(cli, ticket);
  AddList(cli, ticket);
  AddWatch(cli, ticket);
  AddVerbs(cli, ticket);
}

}  // namespace lethe
