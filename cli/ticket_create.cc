// lethe ticket create
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/target_options.h"
#include "cli/text_table.h"
#include "cli/ticket_view.h"
#include "cli/ticket_watch.h"

namespace lethe {
namespace {

constexpr char kExamples[] =
    "  # the text from a file; the number in it is what identifies the person\n"
    "  lethe ticket create --model chat --text-file wish.txt --sensitive '555-0100'\n"
    "  # a question whose answer must go, and wait until the model has forgotten it\n"
    "  lethe ticket create --model chat --prompt 'Where does Jane Roe live?' --answer ' 12 Elm St' "
    "--wait\n"
    "  # all that the model's corpus has of a person, and one document more\n"
    "  lethe ticket create --model chat --subject p-17 --document mail-3\n"
    "  # one ticket with a target for each line; - is standard input\n"
    "  export-wishes | lethe ticket create --model chat --from-jsonl -\n"
    "  # a ticket for each line, filed together or not at all\n"
    "  lethe ticket create --model chat --from-jsonl wishes.jsonl --ticket-per-line\n"
    "  # only ask what would happen\n"
    "  lethe ticket create --model chat --ids 5,8,13,21 --validate-only\n"
    "Words on the command line can be seen by other users of this machine: prefer files or -.\n";

struct CreateOptions {
  std::string model;
  TargetOptions targets;
  bool ticket_per_line = false;
  std::string request_id;
  std::string regulation;
  std::string due, requested;
  std::string reference;
  bool validate_only = false;
  bool wait = false;
};

// A random UUID (version 4).
std::string NewRequestId(Random* random) {
  std::string bytes = random->Bytes(16);
  bytes[6] = static_cast<char>((bytes[6] & 0x0f) | 0x40);
  bytes[8] = static_cast<char>((bytes[8] & 0x3f) | 0x80);
  std::string id;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) id += '-';
    absl::StrAppendFormat(&id, "%02x", static_cast<unsigned char>(bytes[i]));
  }
  return id;
}

absl::StatusOr<google::protobuf::Timestamp> ParseTime(const std::string& text, const char* flag) {
  absl::Time time;
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, text, &time, &error)) {
    return UsageError(absl::StrCat(flag, " must look like 2026-12-31T12:00:00Z"));
  }
  return ToTimestamp(time);
}

// What all requests of the call have in common.
absl::StatusOr<v1::CreateTicketRequest> Common(const CreateOptions& options) {
  v1::CreateTicketRequest request;
  request.set_model_id(options.model);
  request.set_external_reference(options.reference);
  request.set_validate_only(options.validate_only);
  if (!options.regulation.empty()) {
    v1::Regulation regulation = v1::REGULATION_UNSPECIFIED;
    v1::Regulation_Parse(absl::StrCat("REGULATION_", options.regulation), &regulation);
    request.set_regulation(regulation);
  }
  if (!options.due.empty()) {
    LETHE_ASSIGN_OR_RETURN(*request.mutable_due_time(), ParseTime(options.due, "--due"));
    request.set_regulation(v1::REGULATION_CUSTOM);
  }
  if (!options.requested.empty()) {
    LETHE_ASSIGN_OR_RETURN(*request.mutable_request_time(),
                           ParseTime(options.requested, "--requested"));
  }
  return request;
}

absl::StatusOr<std::vector<v1::CreateTicketRequest>> Requests(Cli& cli,
                                                              const CreateOptions& options) {
  LETHE_ASSIGN_OR_RETURN(const v1::CreateTicketRequest common, Common(options));
  LETHE_ASSIGN_OR_RETURN(const TargetList list,
                         ReadTargets(cli, options.targets, "say what to forget"));
  const auto& [targets, lines] = list;
  if (options.ticket_per_line && !targets.empty()) {
    return UsageError("--ticket-per-line takes its targets from --from-jsonl alone");
  }
  std::string request_id = options.request_id;
  if (request_id.empty()) {
    request_id = NewRequestId(cli.io().random);
    // Before anything is sent: with it the command can be repeated safely.
    if (!options.validate_only) cli.err() << "request id: " << request_id << std::endl;
  }
  std::vector<v1::CreateTicketRequest> requests;
  if (!options.ticket_per_line) {
    v1::CreateTicketRequest& request = requests.emplace_back(common);
    request.set_request_id(request_id);
    for (const v1::Target& target : targets) *request.add_targets() = target;
    for (const TargetLine& line : lines) *request.add_targets() = line.target;
    return requests;
  }
  for (size_t i = 0; i < lines.size(); ++i) {
    v1::CreateTicketRequest& request = requests.emplace_back(common);
    request.set_request_id(lines[i].request_id.empty() ? absl::StrCat(request_id, "-", i + 1)
                                                       : lines[i].request_id);
    if (!lines[i].external_reference.empty())
      request.set_external_reference(lines[i].external_reference);
    *request.add_targets() = lines[i].target;
  }
  return requests;
}

absl::StatusOr<std::vector<v1::Ticket>> File(Cli& cli,
                                             std::vector<v1::CreateTicketRequest> requests,
                                             bool as_batch) {
  LETHE_ASSIGN_OR_RETURN(v1::DeletionService::StubInterface * stub, cli.Tickets());
  if (!as_batch) {
    LETHE_ASSIGN_OR_RETURN(
        v1::Ticket ticket,
        cli.Call(stub, &v1::DeletionService::StubInterface::CreateTicket, requests.front()));
    return std::vector<v1::Ticket>{ticket};
  }
  v1::BatchCreateTicketsRequest batch;
  for (v1::CreateTicketRequest& request : requests) *batch.add_requests() = std::move(request);
  LETHE_ASSIGN_OR_RETURN(
      const v1::BatchCreateTicketsResponse response,
      cli.Call(stub, &v1::DeletionService::StubInterface::BatchCreateTickets, batch));
  return std::vector<v1::Ticket>(response.tickets().begin(), response.tickets().end());
}

absl::StatusOr<int> Create(Cli& cli, const CreateOptions& options) {
  LETHE_ASSIGN_OR_RETURN(std::vector<v1::CreateTicketRequest> requests, Requests(cli, options));
  LETHE_ASSIGN_OR_RETURN(const std::vector<v1::Ticket> tickets,
                         File(cli, std::move(requests), options.ticket_per_line));
  if (options.validate_only || !options.wait) {
    for (const v1::Ticket& ticket : tickets) {
      // Many tickets are for a script: an object a line, or their ids.
      if (tickets.size() == 1) {
        PrintTicket(cli, ticket);
      } else if (cli.json()) {
        cli.PrintJson(ticket, /*compact=*/true);
      } else {
        cli.out() << (ticket.ticket_id().empty() ? "valid" : ticket.ticket_id()) << "\n";
      }
    }
    return kExitOk;
  }
  int code = kExitOk;
  for (const v1::Ticket& ticket : tickets) {
    if (!cli.json()) cli.err() << "ticket " << ticket.ticket_id() << std::endl;
    LETHE_ASSIGN_OR_RETURN(const int one, WatchToTheEnd(cli, ticket.ticket_id()));
    code = std::max(code, one);
  }
  return code;
}

}  // namespace

void AddTicketCreate(Cli& cli, CLI::App* ticket) {
  CLI::App* command =
      cli.Add(ticket, "create", "Files a ticket: what a model is to forget", kExamples);
  auto options = std::make_shared<CreateOptions>();
  command->add_option("--model", options->model, "The model that is to forget")->required();
  AddTargetOptions(command, &options->targets, "What the model must no longer answer");
  command->add_flag("--ticket-per-line", options->ticket_per_line,
                    "A ticket for each line of --from-jsonl, all or none");
  command->add_option(
      "--request-id", options->request_id,
      "Makes a repeat safe: the same id gives the same ticket; default: a new UUID, printed");
  command->add_option("--regulation", options->regulation, "GDPR or CCPA; default: the server's")
      ->check(CLI::IsMember({"GDPR", "CCPA"}));
  command->add_option("--due", options->due, "A deadline of your own, 2026-12-31T12:00:00Z");
  command->add_option("--requested", options->requested, "When the person asked; default: now");
  command->add_option("--reference", options->reference,
                      "Your number for the case; no personal data");
  command->add_flag("--validate-only", options->validate_only,
                    "Check, and say what would be touched");
  command->add_flag("--wait", options->wait,
                    "Wait for the end; exit code 0 only when it is COMPLETED");
  cli.OnRun(command, [options](Cli& cli) { return Create(cli, *options); });
}

}  // namespace lethe
