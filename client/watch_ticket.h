// Follows a ticket through reconnects.
//
//   absl::Status end = WatchTicket(stub.get(), id, caller, [](const v1::Ticket& ticket) {
//     Show(ticket);
//     return IsSettled(ticket.state()) ? Watch::kEnough : Watch::kGoOn;
//   });
//
// `on_update` sees the ticket now and after each change. After a lost connection the stream is
// opened again with back-off, and `on_update` sees the present state once more; it is never called
// for the same etag and progress twice in a row.
//
// Threads    `on_update` runs on the calling thread.
// Errors     OK after kEnough, or when the server ended the stream because the ticket has;
//            NOT_FOUND/TICKET_NOT_FOUND; CANCELLED/STOPPED; what ShouldRetry does not repeat, or
//            its last attempt in a row without an answer.
#ifndef LETHE_CLIENT_WATCH_TICKET_H_
#define LETHE_CLIENT_WATCH_TICKET_H_

#include <functional>
#include <string>

#include "client/call.h"
#include "lethe/v1/deletion_service.grpc.pb.h"

namespace lethe {

enum class Watch { kGoOn, kEnough };

// COMPLETED, CANCELLED, DENIED or FAILED: nothing more happens without a person.
bool IsSettled(v1::TicketState state);

absl::Status WatchTicket(v1::DeletionService::StubInterface* stub, const std::string& ticket_id,
                         const Caller& caller,
                         const std::function<Watch(const v1::Ticket&)>& on_update);

}  // namespace lethe

#endif  // LETHE_CLIENT_WATCH_TICKET_H_
