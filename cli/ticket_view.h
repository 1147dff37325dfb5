// How a ticket looks on a terminal, and how its progress is drawn.
//
//   ProgressView view(cli);
//   WatchTicket(stub, id, caller, [&](const v1::Ticket& t) { view.Show(t); ... });
//   view.Done();
//
// On a terminal the view redraws one line; elsewhere it prints a line for each change of state or
// phase and for each tenth of a phase. With --output json it prints each update as a JSON line.
#ifndef LETHE_CLI_TICKET_VIEW_H_
#define LETHE_CLI_TICKET_VIEW_H_

#include <string>

#include "cli/command.h"
#include "lethe/v1/ticket.pb.h"

namespace lethe {

std::string StateName(v1::TicketState state);     // "QUEUED"
std::string ReasonName(v1::TicketReason reason);  // "FORGOTTEN"; "" when there is none

// All of a ticket: fields in a column, or JSON.
void PrintTicket(Cli& cli, const v1::Ticket& ticket);

// "[########............]  40%".
std::string ProgressBar(int64_t step, int64_t max_steps);

// "unlearning [####................] 12/60  loss 3.21  ma 0.40".
std::string ProgressText(const v1::Progress& progress);

class ProgressView {
 public:
  explicit ProgressView(Cli* cli) : cli_(cli) {}
  void Show(const v1::Ticket& ticket);
  void Done();  // ends a line that was being redrawn

 private:
  void ShowPlain(const v1::Ticket& ticket);

  Cli* const cli_;
  std::string last_;
  bool drawn_ = false;
};

}  // namespace lethe

#endif  // LETHE_CLI_TICKET_VIEW_H_
