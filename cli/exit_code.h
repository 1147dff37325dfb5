// Exit codes of `lethe`, for scripts.
#ifndef LETHE_CLI_EXIT_CODE_H_
#define LETHE_CLI_EXIT_CODE_H_

#include "absl/status/status.h"

namespace lethe {

enum ExitCode {
  kExitOk = 0,
  kExitRefused = 1,      // the server refused, or what was waited for ended otherwise
  kExitUsage = 2,        // the command line, a file or a policy is wrong; nothing was sent
  kExitUnreachable = 3,  // no answer: it may or may not have happened; safe to repeat
  kExitUnsound = 4,      // `report check`: the report does not say what follows from its figures
  kExitNotWritten = 5,   // done, but what was to be written here could not be
  kExitInterrupted = 130,
};

// What a failed command ends with.
ExitCode ExitCodeOf(const absl::Status& status);

// A mistake of the command line, found before anything was sent.
absl::Status UsageError(std::string_view message);

// What was to be written to `file` is not there, for this reason: on a full disk LOCAL_DISK_FULL
// (the server's own is DISK_FULL); else the name is wrong, a mistake of the command line.
absl::Status NotWritten(std::string_view file, const absl::Status& why);

// What to do next, as a sentence; "" when there is nothing to add.
std::string HintFor(const absl::Status& status);

inline constexpr char kExitCodesHelp[] =
    "Exit codes: 0 done; 1 refused, or not the outcome waited for; 2 wrong usage, nothing was "
    "sent;\n"
    "3 no answer from the server (safe to repeat); 4 unsound report; 5 the output could not\n"
    "be written here (full disk, closed pipe); 130 interrupted.";

}  // namespace lethe

#endif  // LETHE_CLI_EXIT_CODE_H_
