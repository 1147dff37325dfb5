// lethe-server: reads its configuration, runs the server, ends on SIGTERM or SIGINT.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <map>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "base/log.h"
#include "base/version.h"
#include "server/config.h"
#include "server/server.h"

namespace lethe {
namespace {

constexpr int kUsage = 64;  // as sysexits.h has it
constexpr int kUnavailable = 69;

struct CommandLine {
  ConfigValues flags;
  bool print_config = false;
  bool print_docs = false;
};

// Fills in the command line, or gives the exit code for --help and mistakes.
std::optional<int> Parse(int argc, char** argv, CommandLine& out) {
  CLI::App app(
      "The front server of Lethe: takes deletion tickets, hands out work, promotes what has "
      "forgotten.\n"
      "Options also come from --config FILE (TOML) and from the environment (LETHE_LISTEN_ADDRESS, "
      "...).",
      "lethe-server");
  app.set_version_flag("--version", absl::StrCat("lethe-server ", LetheVersion()));
  app.add_option("--config", out.flags["config"], "TOML file of options");
  app.add_flag("--print-config", out.print_config,
               "Print what is in force and where it came from, then exit");
  app.add_flag("--print-config-docs", out.print_docs, "Print docs/config.md, then exit");
  app.footer(
      "Example:\n  lethe-server --data-folder /var/lib/lethe --listen-address 127.0.0.1:7700");
  std::map<std::string, std::string> values;
  for (const ConfigOption& option : ConfigOptions()) {
    const std::string fallback = ValueText(option, ServerConfig());
    std::string help(option.help);
    if (!fallback.empty()) absl::StrAppend(&help, " [", fallback, "]");
    CLI::Option* added = app.add_option(FlagName(option), values[std::string(option.name)], help)
                             ->group(std::string(option.section));
    if (std::holds_alternative<bool ServerConfig::*>(option.field)) {
      added->expected(0, 1)->default_str("true");
    }
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : kUsage;
  }
  for (const ConfigOption& option : ConfigOptions()) {
    const CLI::Option* given = app.get_option(FlagName(option));
    if (given->count() == 0) continue;
    const std::string& value = values[std::string(option.name)];
    const bool is_switch = std::holds_alternative<bool ServerConfig::*>(option.field);
    out.flags[std::string(option.name)] = is_switch && value.empty() ? "true" : value;
  }
  if (out.flags["config"].empty()) out.flags.erase("config");
  return std::nullopt;
}

ConfigValues Environment() {
  ConfigValues values;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text(*entry);
    const size_t equals = text.find('=');
    if (text.compare(0, 6, "LETHE_") == 0 && equals != std::string::npos) {
      values[text.substr(0, equals)] = text.substr(equals + 1);
    }
  }
  return values;
}

// Payloads pass through this process: a crash must not write them to a file.
void ForbidCoreDumps() {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);
  prctl(PR_SET_DUMPABLE, 0);
}

int Run(const ServerConfig& config) {
  // Blocked before any thread is made, so that only sigwait takes them.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is a failed write, which the store answers for
  ForbidCoreDumps();
  // Some builds of Abseil look for cycles at every lock, gRPC's own too; that is for debugging.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  InitLogging({.process = "lethe-server", .level = config.log_level, .file = config.log_file});
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(config, {});
  if (!server.ok()) {
    std::cerr << "lethe-server: " << server.status().message() << "\n";
    return kUnavailable;
  }
  std::cout << "lethe-server listens on port " << (*server)->port() << std::endl;
  int signal_number = 0;
  sigwait(&signals, &signal_number);
  (*server)->Drain();
  server->reset();
  return 0;
}

int Main(int argc, char** argv) {
  CommandLine line;
  if (const auto code = Parse(argc, argv, line)) return *code;
  if (line.print_docs) {
    std::cout << ConfigDocs();
    return 0;
  }
  const absl::StatusOr<LoadedConfig> loaded = LoadConfig(line.flags, Environment());
  if (!loaded.ok()) {
    std::cerr << "lethe-server: the configuration has mistakes:\n"
              << loaded.status().message() << "\n";
    return kUsage;
  }
  if (line.print_config) {
    std::cout << PrintConfig(*loaded);
    return 0;
  }
  return Run(loaded->config);
}

}  // namespace
}  // namespace lethe

int main(int argc, char** argv) { return lethe::Main(argc, argv); }
