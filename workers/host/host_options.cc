#include "workers/host/host_options.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/version.h"

namespace lethe {
namespace {

// "lethe-worker-gpu7-1234": [A-Za-z0-9._-], at most 64.
std::string DefaultWorkerId(const std::string& program) {
  char host[256] = {};
  if (gethostname(host, sizeof(host) - 1) != 0) host[0] = '\0';
  std::string id = absl::StrCat(program, "-", std::string(host).substr(0, 32), "-", getpid());
  for (char& c : id) {
    if (!absl::ascii_isalnum(c) && c != '.' && c != '_') c = '-';
  }
  return id.substr(0, 64);
}

// Every option of the app can be set by the environment.
void NameEnvironment(CLI::App* app) {
  for (CLI::Option* option : app->get_options()) {
    const std::string name = option->get_single_name();
    if (name == "help" || name == "version" || name == "config") continue;
    option->envname(
        absl::StrCat("LETHE_", absl::AsciiStrToUpper(absl::StrReplaceAll(name, {{"-", "_"}}))));
  }
}

}  // namespace

std::optional<int> ParseHostOptions(const std::string& program, const std::string& what, int argc,
                                    char** argv, HostOptions* options) {
  options->program = program;
  options->worker_id = DefaultWorkerId(program);
  CLI::App app(what, program);
  app.set_version_flag("--version", absl::StrCat(program, " ", LetheVersion()));
  app.set_config("--config", "", "TOML file of options");
  double drain_seconds = absl::ToDoubleSeconds(options->drain_grace);

  app.add_option("--server", options->channel.address, "Address of lethe-server")
      ->capture_default_str();
  app.add_option("--model-folder", options->model_folder,
                 "Folder of checkpoints, the same that the server has")
      ->required()
      ->check(CLI::ExistingDirectory);
  app.add_option("--worker-id", options->worker_id, "Name in logs and metrics")
      ->capture_default_str();
  app.add_option("--device", options->device.device, "auto, cpu, cuda or cuda:N")
      ->capture_default_str();
  app.add_option("--threads", options->device.threads, "CPU threads; 0: one a core")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--metrics-address", options->metrics_address,
                 "Address of Prometheus' /metrics; port 0 takes a free one; empty: none");
  app.add_option("--health-address", options->health_address,
                 "Address of the gRPC health service, plain text; empty: none");
  app.add_option(
      "--port-file", options->port_file,
      "File that gets one line, \"HEALTH_PORT METRICS_PORT\" (0: none), once both are open");
  app.add_option("--drain-grace", drain_seconds,
                 "After SIGTERM, seconds that a running job may take before it is given back")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--tls-root-file", options->channel.tls_root_file,
                 "PEM of the server's authority: turns TLS on");
  app.add_option("--tls-certificate-file", options->channel.tls_certificate_file,
                 "PEM of this process");
  app.add_option("--tls-key-file", options->channel.tls_key_file, "PEM of its key");
  app.add_option("--log-level", options->log_level, "debug, info, warn, error or off")
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}))
      ->capture_default_str();
  app.add_option("--log-file", options->log_file, "Where the log goes; empty: standard error");
  if (program == "lethe-worker") {
    app.add_option("--precision", options->precision,
                   "What steps compute in: auto (by model and memory), fp32, bf16 or bf16_pure")
        ->check(CLI::IsMember({"auto", "fp32", "bf16", "bf16_pure"}))
        ->capture_default_str();
    app.add_flag("--recompute", options->recompute,
                 "Compute activations again in the backward pass: less memory, a third more time");
  }
  if (program == "lethe-verifier") {
    app.add_option("--max-control", options->max_control,
                   "Control sequences that are attacked, at most")
        ->check(CLI::Range(8, 1'000'000))
        ->capture_default_str();
    app.add_option("--max-utility", options->max_utility,
                   "Sequences of each kept text whose likelihood is measured, at most")
        ->check(CLI::Range(1, 10'000'000))
        ->capture_default_str();
  }
  NameEnvironment(&app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  options->drain_grace = absl::Seconds(drain_seconds);
  std::error_code ec;
  options->model_folder = std::filesystem::absolute(options->model_folder, ec).string();
  return std::nullopt;
}

}  // namespace lethe
