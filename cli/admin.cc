// lethe admin: hands over to lethe-admin, the program that may open a data folder. This one may
// not: it has to stay small enough for an auditor's machine.
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/command.h"
#include "cli/exit_code.h"

namespace lethe {

absl::StatusOr<int> RunAdmin(Cli& cli, std::vector<std::string> arguments) {
  if (arguments.empty()) arguments.push_back("--help");
  arguments.insert(arguments.begin(), cli.io().program_folder + "/lethe-admin");
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  cli.out().flush();
  execv(argv[0], argv.data());
  return Error(absl::StatusCode::kNotFound, "PROGRAM_NOT_FOUND",
               absl::StrCat("cannot start ", arguments[0], ": ", std::strerror(errno)));
}

void AddAdmin(Cli& cli) {
  // For the list of commands; Cli::Main hands the arguments over before it parses them.
  cli.Add(cli.root(), "admin", "Checks, compacts and reads a data folder, offline",
          "  lethe admin check --data lethe-data\n"
          "  lethe admin compact --data lethe-data\n");
}

}  // namespace lethe
