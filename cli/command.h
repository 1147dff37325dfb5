// What every command of `lethe` shares: the global flags, the connection, output and errors.
//
//   CLI::App* get = cli.Add(ticket, "get", "Shows one ticket", "  lethe ticket get t-…\n");
//   auto id = std::make_shared<std::string>();
//   get->add_option("TICKET", *id, "Its id")->required();
//   cli.OnRun(get, [id](Cli& cli) -> absl::StatusOr<int> { ... });
//
// Threads    one.
#ifndef LETHE_CLI_COMMAND_H_
#define LETHE_CLI_COMMAND_H_

#include <google/protobuf/message.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "cli/io.h"
#include "client/call.h"
#include "client/channel.h"
#include "lethe/v1/deletion_service.grpc.pb.h"
#include "lethe/v1/model_service.grpc.pb.h"
#include "lethe/v1/verifier_service.grpc.pb.h"

namespace lethe {

class Cli {
 public:
  using Run = std::function<absl::StatusOr<int>(Cli&)>;

  explicit Cli(const CliIo& io);

  // Parses and runs; the exit code. Nothing else writes to the streams.
  int Main(int argc, const char* const* argv);

  // For the files that add commands.
  CLI::App* root() { return &app_; }
  CLI::App* AddGroup(const std::string& name, const std::string& what);
  CLI::App* Add(CLI::App* parent, const std::string& name, const std::string& what,
                const std::string& examples);
  void OnRun(CLI::App* command, Run run);

  // For commands that run.
  const CliIo& io() const { return io_; }
  std::ostream& out() { return *io_.out; }
  std::ostream& err() { return *io_.err; }
  bool json() const { return output_ == "json"; }
  const std::string& server() const { return channel_options_.address; }
  absl::Time now() const { return io_.clock->Now(); }

  // Connects when first asked for.
  absl::StatusOr<v1::DeletionService::StubInterface*> Tickets();
  absl::StatusOr<v1::ModelService::StubInterface*> Models();
  absl::StatusOr<v1::VerifierService::StubInterface*> Verifier();
  Caller MakeCaller() const;

  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Stub* stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request, Repeat repeat = Repeat::kSafe) {
    return MakeCaller().Call(stub, method, request, repeat);
  }

  // A message as JSON, with the names of the .proto; one object, ending in a newline. `compact`: on
  // one line.
  void PrintJson(const google::protobuf::Message& message, bool compact = false);
  void PrintError(const absl::Status& status);

 private:
  absl::Status Connect();
  // Sends what waits on the output; what went wrong there.
  absl::Status Printed();
  // Runs what was chosen.
  int Finish();

  const CliIo io_;
  CLI::App app_;
  std::string output_ = "table";
  ChannelOptions channel_options_;
  double timeout_seconds_ = 10;
  Run run_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::DeletionService::StubInterface> tickets_;
  std::unique_ptr<v1::ModelService::StubInterface> models_;
  std::unique_ptr<v1::VerifierService::StubInterface> verifier_;
};

// A path of this process as a server is told it, which runs in another folder; empty stays empty.
std::string AbsolutePath(const std::string& path);

// All of a model: fields in a column and the teachers of its corpus, or JSON.
void PrintModel(Cli& cli, const v1::Model& model);

// The commands, a file each.
void AddTicketCreate(Cli& cli, CLI::App* ticket);
void AddTicketCommands(Cli& cli, CLI::App* ticket);
void AddModelCommands(Cli& cli, CLI::App* model);
void AddCorpusCommands(Cli& cli, CLI::App* corpus);
void AddReportCommands(Cli& cli, CLI::App* report);
void AddAudit(Cli& cli);
void AddUp(Cli& cli);
void AddAdmin(Cli& cli);

// Becomes lethe-admin; returns only when that cannot be started.
absl::StatusOr<int> RunAdmin(Cli& cli, std::vector<std::string> arguments);

}  // namespace lethe

#endif  // LETHE_CLI_COMMAND_H_
