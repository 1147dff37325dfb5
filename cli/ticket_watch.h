// Follows a ticket on the terminal until nothing more happens without a person.
#ifndef LETHE_CLI_TICKET_WATCH_H_
#define LETHE_CLI_TICKET_WATCH_H_

#include <string>

#include "cli/command.h"

namespace lethe {

// 0 when the ticket is COMPLETED, 1 when it ended otherwise.
absl::StatusOr<int> WatchToTheEnd(Cli& cli, const std::string& ticket_id);

}  // namespace lethe

#endif  // LETHE_CLI_TICKET_WATCH_H_
