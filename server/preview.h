// What a ticket would touch, and how long it would take, before it is filed.
//
//   *ticket.mutable_preview() = PreviewTicket(core, *model, checked_ticket);
//
// Reads      the store: the tickets that wait for the model, the job that works on it, and the last
//            runs of its first rung. A few hundred point reads at most: on a background thread.
// Errors     none: what cannot be read is left out of the estimate.
// Threads    any.
#ifndef LETHE_SERVER_PREVIEW_H_
#define LETHE_SERVER_PREVIEW_H_

#include <lethe/v1/ticket.pb.h>

#include "server/core.h"
#include "server/ticket_request.h"

namespace lethe {

v1::TicketPreview PreviewTicket(const Core& core, const v1::Model& model,
                                const CheckedTicket& ticket);

}  // namespace lethe

#endif  // LETHE_SERVER_PREVIEW_H_
