// Whole commands in the test's process, against fake services over real gRPC.
#ifndef LETHE_TESTS_CLI_CLI_HARNESS_H_
#define LETHE_TESTS_CLI_CLI_HARNESS_H_

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "cli/command.h"
#include "gtest/gtest.h"
#include "tests/support/fake_clock.h"
#include "tests/support/fake_lethe_services.h"
#include "tests/support/grpc_test_server.h"
#include "tests/support/seeded_random.h"
#include "tests/support/temp_folder.h"

namespace lethe {

class CliHarness : public ::testing::Test {
 protected:
  CliHarness() : server_({&tickets_, &models_, &verifier_}) {}

  // The exit code; out_ and err_ hold what was printed.
  int Lethe(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"lethe", "--server", server_.address()});
    return Bare(arguments);
  }
  int Bare(const std::vector<std::string>& arguments) {
    std::vector<const char*> argv;
    for (const std::string& argument : arguments) argv.push_back(argument.c_str());
    std::ostringstream out, err;
    std::istringstream in(stdin_);
    CliIo io;
    io.in = &in;
    io.out = output_ != nullptr ? output_ : &out;
    io.err = &err;
    io.terminal = terminal_;
    io.clock = &clock_;
    io.random = &random_;
    const int code = Cli(io).Main(static_cast<int>(argv.size()), argv.data());
    out_ = out.str();
    err_ = err.str();
    return code;
  }

  std::string WriteFile(const std::string& name, const std::string& content) {
    const std::string path = folder_ / name;
    std::ofstream(path) << content;
    return path;
  }

  // A ticket of 2026-09-21 (the fake clock's day) with a month to go.
  v1::Ticket Queued() {
    v1::Ticket ticket;
    ticket.set_ticket_id("t-00000000000000000000000000000001");
    ticket.set_model_id("chat");
    ticket.set_state(v1::TICKET_STATE_QUEUED);
    ticket.set_regulation(v1::REGULATION_GDPR);
    ticket.set_sequences(3);
    ticket.set_tokens(1234);
    ticket.set_etag("\"5\"");
    ticket.mutable_create_time()->set_seconds(absl::ToUnixSeconds(clock_.Now()));
    ticket.mutable_due_time()->set_seconds(
        absl::ToUnixSeconds(clock_.Now() + absl::Hours(30 * 24 + 5)));
    return ticket;
  }

  TempFolder folder_;
  FakeDeletionService tickets_;
  FakeModelService models_;
  FakeVerifierService verifier_;
  FakeClock clock_;
  SeededRandom random_{9};
  GrpcTestServer server_;
  std::string stdin_, out_, err_;
  bool terminal_ = false;
  std::ostream* output_ = nullptr;  // not null: the output goes there instead of out_
};

}  // namespace lethe

#endif  // LETHE_TESTS_CLI_CLI_HARNESS_H_
