// lethe admin: hands over to lethe-admin, the program that may open a data folder. This one may not:
// it has to stay small enough for an auditor's machine.
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "cli/command.h"
#include "cli/exit_code.h"

namespace lethe {

void AddAdmin(Cli& cli) {
  CLI::App* command = cli.Add(
      cli.root(), "admin", "Checks and compacts a data folder, offline: see lethe admin --help",
      "  lethe admin check --data-folder lethe-data/db --model-folder lethe-data/models\n");
  command->prefix_command();
  command->set_help_flag();
  cli.OnRun(command, [command](Cli& cli) -> absl::StatusOr<int> {
    std::vector<std::string> arguments = {cli.io().program_folder + "/lethe-admin"};
    for (const std::string& argument : command->remaining()) arguments.push_back(argument);
    if (arguments.size() == 1) arguments.push_back("--help");
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    cli.out().flush();
    execv(argv[0], argv.data());
    return Error(absl::StatusCode::kNotFound, "PROGRAM_NOT_FOUND",
                 absl::StrCat("cannot start ", arguments[0], ": ", std::strerror(errno)));
  });
}

}  // namespace lethe
