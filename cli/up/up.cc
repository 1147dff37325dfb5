// lethe up: server, workers and verifier on this machine, with one data folder.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/file.h"
#include "base/status.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/text_table.h"
#include "cli/up/supervisor.h"

namespace lethe {

namespace fs = std::filesystem;

namespace {

constexpr char kExamples[] =
    "  lethe up                                  # everything below ./lethe-data, server on "
    "127.0.0.1:7700\n"
    "  lethe up --data /srv/lethe --workers 2 --device cuda\n"
    "  lethe up --port 0                         # a free port; the address is printed and written "
    "to run/server\n"
    "Ctrl-C ends it: running jobs may finish within --drain-grace seconds or are given back.\n"
    "Folders: db (tickets, reports, audit log), models (checkpoints), keys (keep it apart from "
    "backups of db),\n"
    "logs, run.\n";

struct UpOptions {
  std::string data = "lethe-data";
  int port = 7700;
  int workers = 1;
  int verifiers = 1;
  std::string device = "auto";
  int threads = 0;
  std::string lease = "30s";
  double drain_grace = 10;
  std::string log_level = "info";
  std::vector<std::string> server_options;
};

struct Layout {
  fs::path root, db, models, keys, logs, run;
};

absl::StatusOr<Layout> MakeLayout(const std::string& data) {
  Layout layout;
  layout.root = fs::absolute(data).lexically_normal();
  layout.db = layout.root / "db";
  layout.models = layout.root / "models";
  layout.keys = layout.root / "keys";
  layout.logs = layout.root / "logs";
  layout.run = layout.root / "run";
  for (const fs::path& folder : {layout.db, layout.models, layout.keys, layout.logs, layout.run}) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error)
      return UsageError(absl::StrCat("cannot create ", folder.string(), ": ", error.message()));
  }
  std::error_code error;
  fs::permissions(layout.keys, fs::perms::owner_all, error);
  return layout;
}

// The last lines of a log, for an error message.
std::string Tail(const fs::path& log) {
  std::ifstream in(log);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  std::string text;
  for (size_t i = lines.size() > 8 ? lines.size() - 8 : 0; i < lines.size(); ++i) {
    absl::StrAppend(&text, "\n  ", lines[i].substr(0, 300));
  }
  return text;
}

class Up {
 public:
  Up(Cli& cli, const UpOptions& options) : cli_(cli), options_(options), supervisor_(&cli.io()) {}

  absl::StatusOr<int> Run() {
    LETHE_ASSIGN_OR_RETURN(layout_, MakeLayout(options_.data));
    const absl::Status started = StartAll();
    if (!started.ok()) {
      supervisor_.EndInOrder(Grace());
      return started;
    }
    Announce();
    while (!Stopped(absl::Milliseconds(100))) supervisor_.Tick(absl::Now());
    if (!cli_.json()) cli_.err() << "draining ..." << std::endl;
    supervisor_.EndInOrder(Grace());
    return kExitOk;
  }

 private:
  absl::Duration Grace() const { return absl::Seconds(options_.drain_grace) + absl::Seconds(10); }
  std::string Program(const char* name) const { return cli_.io().program_folder + "/" + name; }

  bool Stopped(absl::Duration wait) const {
    if (cli_.io().stop != nullptr) return cli_.io().stop->WaitFor(wait);
    absl::SleepFor(wait);
    return false;
  }

  std::vector<std::string> ServerArguments(int port, int metrics_port) const {
    std::vector<std::string> arguments = {Program("lethe-server"),
                                          "--listen-address",
                                          absl::StrCat("127.0.0.1:", port),
                                          "--metrics-address",
                                          absl::StrCat("127.0.0.1:", metrics_port),
                                          "--port-file",
                                          (layout_.run / "server.ports").string(),
                                          "--data-folder",
                                          layout_.db.string(),
                                          "--model-folder",
                                          layout_.models.string(),
                                          "--key-file",
                                          (layout_.keys / "vault.key").string(),
                                          "--lease-duration",
                                          options_.lease,
                                          "--log-level",
                                          options_.log_level};
    for (const std::string& option : options_.server_options) arguments.push_back("--" + option);
    return arguments;
  }

  std::vector<std::string> HostArguments(const char* program, const std::string& name) const {
    return {Program(program),
            "--server",
            address_,
            "--model-folder",
            layout_.models.string(),
            "--worker-id",
            name,
            "--device",
            options_.device,
            "--threads",
            absl::StrCat(options_.threads),
            "--metrics-address",
            "127.0.0.1:0",
            "--health-address",
            "127.0.0.1:0",
            "--port-file",
            (layout_.run / (name + ".ports")).string(),
            "--drain-grace",
            absl::StrCat(options_.drain_grace),
            "--log-level",
            options_.log_level};
  }

  // Two ports from a file that a process writes once both are open.
  absl::StatusOr<std::pair<int, int>> WaitForPorts(const std::string& name) {
    const absl::Time until = absl::Now() + absl::Seconds(60);
    const fs::path log = layout_.logs / (name + ".log");
    while (true) {
      std::ifstream file(layout_.run / (name + ".ports"));
      int first = 0, second = 0;
      if (file >> first >> second) return std::make_pair(first, second);
      supervisor_.Tick(absl::Now());
      if (auto exit = supervisor_.ExitOf(name)) {
        return Error(absl::StatusCode::kFailedPrecondition, "PROCESS_ENDED",
                     absl::StrCat(name, " ended with ", exit->Text(), " at its start; ",
                                  log.string(), " says:", Tail(log)));
      }
      if (absl::Now() > until) {
        return Error(absl::StatusCode::kDeadlineExceeded, "PROCESS_NOT_READY",
                     absl::StrCat(name, " was not ready within a minute; see ", log.string()));
      }
      if (Stopped(absl::Milliseconds(20))) return StoppedError();
    }
  }

  // The server is stage 0: whoever leases from it ends before it.
  absl::Status StartService(const std::string& name, int stage,
                            std::vector<std::string> arguments) {
    std::error_code error;
    fs::remove(layout_.run / (name + ".ports"), error);
    return supervisor_.Add({name, stage, std::move(arguments), layout_.logs / (name + ".log")});
  }

  absl::Status StartAll() {
    const int metrics = options_.port == 0 ? 0 : options_.port + 1;
    LETHE_RETURN_IF_ERROR(StartService("server", 0, ServerArguments(options_.port, metrics)));
    LETHE_ASSIGN_OR_RETURN(const auto ports, WaitForPorts("server"));
    address_ = absl::StrCat("127.0.0.1:", ports.first);
    metrics_ports_.emplace_back("server", ports.second);
    // After a crash the server comes back where everybody looks for it.
    supervisor_.Replace("server", ServerArguments(ports.first, ports.second));
    LETHE_RETURN_IF_ERROR(WaitForAnswer());
    LETHE_RETURN_IF_ERROR(WriteFileAtomically(layout_.run / "server", address_ + "\n"));
    for (int i = 1; i <= options_.workers; ++i) {
      const std::string name = absl::StrCat("worker-", i);
      LETHE_RETURN_IF_ERROR(StartService(name, 1, HostArguments("lethe-worker", name)));
    }
    for (int i = 1; i <= options_.verifiers; ++i) {
      const std::string name = absl::StrCat("verifier-", i);
      LETHE_RETURN_IF_ERROR(StartService(name, 1, HostArguments("lethe-verifier", name)));
    }
    for (const std::string& name : HostNames()) {
      LETHE_ASSIGN_OR_RETURN(const auto host_ports, WaitForPorts(name));
      metrics_ports_.emplace_back(name, host_ports.second);
    }
    return absl::OkStatus();
  }

  std::vector<std::string> HostNames() const {
    std::vector<std::string> names;
    for (int i = 1; i <= options_.workers; ++i) names.push_back(absl::StrCat("worker-", i));
    for (int i = 1; i <= options_.verifiers; ++i) names.push_back(absl::StrCat("verifier-", i));
    return names;
  }

  // Until the server answers a call that needs its store.
  absl::Status WaitForAnswer() {
    LETHE_ASSIGN_OR_RETURN(auto channel, OpenChannel({.address = address_}));
    auto stub = v1::ModelService::NewStub(channel);
    const Caller caller({.deadline = absl::Seconds(5),
                         .retry = {.first_pause = absl::Milliseconds(20), .max_attempts = 20},
                         .stop = cli_.io().stop,
                         .random = cli_.io().random});
    return caller
        .Call<v1::ModelService::StubInterface>(stub.get(),
                                               &v1::ModelService::StubInterface::ListModels,
                                               v1::ListModelsRequest(), Repeat::kSafe)
        .status();
  }

  void Announce() {
    std::vector<std::string> names = HostNames();
    names.insert(names.begin(), "server");
    if (cli_.json()) {
      nlohmann::json ready = {{"server", address_}, {"data", layout_.root.string()}};
      for (const std::string& name : names) ready["pids"][name] = supervisor_.PidOf(name);
      for (const auto& [name, port] : metrics_ports_) {
        ready["metrics"][name] = absl::StrCat("127.0.0.1:", port);
      }
      cli_.out() << ready.dump() << std::endl;
      return;
    }
    std::vector<std::pair<std::string, std::string>> fields = {{"server", address_},
                                                               {"data", layout_.root.string()},
                                                               {"models", layout_.models.string()},
                                                               {"logs", layout_.logs.string()}};
    for (const auto& [name, port] : metrics_ports_) {
      fields.push_back({name == "server" ? "metrics" : name,
                        absl::StrCat("http://127.0.0.1:", port, "/metrics")});
    }
    PrintFields(cli_.out(), fields);
    if (options_.port != 7700) cli_.out() << "\n  export LETHE_SERVER=" << address_ << "\n";
    cli_.out() << "\nready; Ctrl-C ends it" << std::endl;
  }

  Cli& cli_;
  const UpOptions options_;
  Supervisor supervisor_;
  Layout layout_;
  std::string address_;
  std::vector<std::pair<std::string, int>> metrics_ports_;
};

}  // namespace

void AddUp(Cli& cli) {
  CLI::App* command = cli.Add(
      cli.root(), "up",
      "Runs server, worker and verifier on this machine, for trying out and small use", kExamples);
  auto options = std::make_shared<UpOptions>();
  command->add_option("--data", options->data, "Folder for everything; made when it is not there")
      ->capture_default_str();
  command
      ->add_option("--port", options->port,
                   "Of the server, on 127.0.0.1; 0: a free one; metrics: the next")
      ->check(CLI::Range(0, 65534))
      ->capture_default_str();
  command->add_option("--workers", options->workers, "How many")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  command->add_option("--verifiers", options->verifiers, "How many")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  command->add_option("--device", options->device, "auto, cpu, cuda or cuda:N")
      ->capture_default_str();
  command
      ->add_option("--threads", options->threads,
                   "CPU threads of each worker and verifier; 0: one a core")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  command->add_option("--lease", options->lease, "How long a silent worker keeps its job")
      ->capture_default_str();
  command
      ->add_option("--drain-grace", options->drain_grace,
                   "Seconds that a running job may take after Ctrl-C")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--log-level", options->log_level, "debug, info, warn or error")
      ->capture_default_str();
  command
      ->add_option(
          "--server-option", options->server_options,
          "NAME=VALUE: any option of lethe-server, retry-base=1s for example; may be repeated")
      ->allow_extra_args(false);
  cli.OnRun(command, [options](Cli& cli) { return Up(cli, *options).Run(); });
}

}  // namespace lethe
