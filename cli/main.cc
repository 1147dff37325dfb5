// lethe: the command line.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "base/log.h"
#include "cli/command.h"
#include "cli/descriptor_buffer.h"

int main(int argc, char** argv) {
  using namespace lethe;
  Stop stop;
  StopOnSignals signals(&stop);
  InitLogging({.process = "lethe", .level = "warn"});
  DescriptorBuffer standard_output(STDOUT_FILENO, /*by_line=*/isatty(STDOUT_FILENO) != 0);
  std::ostream out(&standard_output);
  CliIo io;
  io.out = &out;
  io.terminal = isatty(STDERR_FILENO) != 0;
  io.colour = isatty(STDOUT_FILENO) != 0 && std::getenv("NO_COLOR") == nullptr;
  io.stop = &stop;
  std::error_code error;
  io.program_folder = std::filesystem::read_symlink("/proc/self/exe", error).parent_path().string();
  return Cli(io).Main(argc, argv);
}
