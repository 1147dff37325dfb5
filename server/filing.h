// Files tickets: checks, tokenises, seals, posts one command.
// Shared by CreateTicket and BatchCreateTickets.
//
//   FileTickets(core, "local", {&call->request}, [call](auto tickets) { ... call->Finish(...); });
//
// Contract   `requests` stay alive until `done` has run; it runs once, on any thread.
//            Requests of ids only are filed without leaving the handler's thread; text
//            goes to a background thread.
// Errors     those of CreateTicket; with more than one request metadata "index" says which one.
#ifndef LETHE_SERVER_FILING_H_
#define LETHE_SERVER_FILING_H_

#include <lethe/v1/deletion_service.pb.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/core.h"

namespace lethe {

using Requests = std::vector<const v1::CreateTicketRequest*>;
using FiledTickets = absl::StatusOr<std::vector<storage::TicketRecord>>;

void FileTickets(Core* core, const std::string& actor, Requests requests,
                 std::function<void(FiledTickets)> done);

// The same checks; says what would be touched and files nothing.
void PreviewTickets(Core* core, Requests requests,
                    std::function<void(absl::StatusOr<std::vector<v1::Ticket>>)> done);

}  // namespace lethe

#endif  // LETHE_SERVER_FILING_H_
