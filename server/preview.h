// What a ticket would touch, and how long it would take, before it is filed.
//
//   LETHE_ASSIGN_OR_RETURN(*ticket.mutable_preview(),
//                          PreviewTicket(core, *model, checked_ticket, corpus));
//
// Reads      the store: the tickets that wait for the model, the job that works on it, and the last
//            runs of its first rung. A few hundred point reads at most: on a background thread.
//            The corpus: what would be erased, and who else has much of it.
// Errors     those of Corpus. What cannot be read of the store is left out of the estimate.
// Threads    any.
#ifndef LETHE_SERVER_PREVIEW_H_
#define LETHE_SERVER_PREVIEW_H_

#include <lethe/v1/ticket.pb.h>

#include "server/core.h"
#include "server/ticket_request.h"

namespace lethe {

// `corpus` may be null: the model has none.
absl::StatusOr<v1::TicketPreview> PreviewTicket(const Core& core, const v1::Model& model,
                                                const CheckedTicket& ticket, const Corpus* corpus);

}  // namespace lethe

#endif  // LETHE_SERVER_PREVIEW_H_
