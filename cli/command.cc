#include "cli/command.h"

#include <google/protobuf/util/json_util.h>

#include <cerrno>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "base/version.h"
#include "cli/exit_code.h"

namespace lethe {

Cli::Cli(const CliIo& io)
    : io_(io), app_("Files deletion tickets for language models and follows them.", "lethe") {
  app_.require_subcommand(1);
  app_.fallthrough();  // global flags may stand behind the command
  app_.set_help_all_flag("--help-all", "Help of every command");
  app_.footer(kExitCodesHelp);
  app_.add_option("--server", channel_options_.address, "Address of lethe-server")
      ->envname("LETHE_SERVER")
      ->capture_default_str();
  app_.add_option("--output", output_, "table or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  app_.add_option("--timeout", timeout_seconds_, "Seconds to wait for one answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app_.add_option("--tls-root-file", channel_options_.tls_root_file,
                  "PEM of the server's authority: turns TLS on")
      ->envname("LETHE_TLS_ROOT_FILE");
  app_.add_option("--tls-certificate-file", channel_options_.tls_certificate_file,
                  "PEM of the caller")
      ->envname("LETHE_TLS_CERTIFICATE_FILE");
  app_.add_option("--tls-key-file", channel_options_.tls_key_file, "PEM of the caller's key")
      ->envname("LETHE_TLS_KEY_FILE");

  CLI::App* ticket = AddGroup("ticket", "Files deletion tickets and follows them");
  AddTicketCreate(*this, ticket);
  AddTicketCommands(*this, ticket);
  AddModelCommands(*this, AddGroup("model", "Registers models and moves their checkpoints"));
  AddCorpusCommands(*this, AddGroup("corpus", "Registers what models were trained on"));
  AddReportCommands(*this, AddGroup("report", "Shows and checks the verifier's reports"));
  AddAudit(*this);
  AddUp(*this);
  AddAdmin(*this);
  CLI::App* version = Add(&app_, "version", "Prints the version", "  lethe version\n");
  OnRun(version, [](Cli& cli) -> absl::StatusOr<int> {
    if (cli.json()) {
      cli.out() << nlohmann::json{{"version", LetheVersion()}}.dump() << "\n";
    } else {
      cli.out() << "lethe " << LetheVersion() << "\n";
    }
    return kExitOk;
  });
}

CLI::App* Cli::AddGroup(const std::string& name, const std::string& what) {
  CLI::App* group = app_.add_subcommand(name, what);
  group->require_subcommand(1);
  return group;
}

CLI::App* Cli::Add(CLI::App* parent, const std::string& name, const std::string& what,
                   const std::string& examples) {
  CLI::App* command = parent->add_subcommand(name, what);
  command->footer(absl::StrCat("Examples:\n", examples));
  return command;
}

void Cli::OnRun(CLI::App* command, Run run) {
  command->callback([this, run = std::move(run)] { run_ = run; });
}

int Cli::Main(int argc, const char* const* argv) {
  if (argc > 1 && std::string_view(argv[1]) == "admin") {
    run_ = [=](Cli& cli) { return RunAdmin(cli, {argv + 2, argv + argc}); };
    return Finish();
  }
  try {
    app_.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // CLI11 gives 0 for --help and a number of its own for each mistake.
    return app_.exit(error, *io_.out, *io_.err) == 0 ? kExitOk : kExitUsage;
  }
  return Finish();
}

absl::Status Cli::Printed() {
  if (io_.out->flush()) return absl::OkStatus();
  // A stream that has failed does nothing more. Asked once again, what is below it says why.
  io_.out->clear();
  errno = 0;
  io_.out->flush();
  const int error = errno != 0 ? errno : EIO;
  const absl::Status why = SystemError("cannot write to", "standard output", error);
  // The command itself may have done its work: this is no wrong usage, whatever stands in the way.
  return Error(absl::StatusCode::kResourceExhausted,
               ErrorReason(why) == "DISK_FULL" ? "LOCAL_DISK_FULL" : "OUTPUT_CLOSED",
               std::string(why.message()));
}

int Cli::Finish() {
  absl::StatusOr<int> code = run_(*this);
  const absl::Status printed = Printed();
  // A verdict's exit code must not stand for a report that nobody has.
  if (code.ok() && !printed.ok()) code = printed;
  if (code.ok()) return *code;
  PrintError(code.status());
  return ExitCodeOf(code.status());
}

absl::Status Cli::Connect() {
  if (channel_ != nullptr) return absl::OkStatus();
  LETHE_ASSIGN_OR_RETURN(channel_, OpenChannel(channel_options_));
  return absl::OkStatus();
}

absl::StatusOr<v1::DeletionService::StubInterface*> Cli::Tickets() {
  LETHE_RETURN_IF_ERROR(Connect());
  if (tickets_ == nullptr) tickets_ = v1::DeletionService::NewStub(channel_);
  return tickets_.get();
}

absl::StatusOr<v1::ModelService::StubInterface*> Cli::Models() {
  LETHE_RETURN_IF_ERROR(Connect());
  if (models_ == nullptr) models_ = v1::ModelService::NewStub(channel_);
  return models_.get();
}

absl::StatusOr<v1::VerifierService::StubInterface*> Cli::Verifier() {
  LETHE_RETURN_IF_ERROR(Connect());
  if (verifier_ == nullptr) verifier_ = v1::VerifierService::NewStub(channel_);
  return verifier_.get();
}

Caller Cli::MakeCaller() const {
  return Caller({.deadline = absl::Seconds(timeout_seconds_),
                 .retry = {.first_pause = absl::Milliseconds(100),
                           .longest_pause = absl::Seconds(2),
                           .max_attempts = 4},
                 .stop = io_.stop,
                 .random = io_.random});
}

std::string AbsolutePath(const std::string& path) {
  return path.empty() ? path : std::filesystem::absolute(path).lexically_normal().string();
}

void Cli::PrintJson(const google::protobuf::Message& message, bool compact) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.add_whitespace = !compact;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  if (!status.ok()) text = "{}";
  while (!text.empty() && text.back() == '\n') text.pop_back();
  out() << text << "\n";
}

void Cli::PrintError(const absl::Status& status) {
  const std::string reason = ErrorReason(status);
  const std::string hint = HintFor(status);
  std::string message(status.message());
  if (reason == "NOT_REACHABLE") message = absl::StrCat("no server answers at ", server());
  if (json()) {
    nlohmann::json error = {{"code", absl::StatusCodeToString(status.code())},
                            {"reason", reason},
                            {"message", message},
                            {"metadata", ErrorDetails(status)}};
    if (!hint.empty()) error["what_to_do"] = hint;
    err() << nlohmann::json{{"error", error}}.dump(2) << "\n";
    return;
  }
  err() << "lethe: " << message;
  if (!reason.empty() && reason != "USAGE") {
    err() << " (" << absl::StatusCodeToString(status.code()) << ", " << reason << ")";
  }
  err() << "\n";
  for (const auto& [name, value] : ErrorDetails(status))
    err() << "  " << name << ": " << value << "\n";
  if (!hint.empty()) err() << "what to do: " << hint << "\n";
}

}  // namespace lethe
