// No personal data in logs, metrics, error messages, file names, keys or audit leaves. Tickets with
// marker strings go the whole way, well and badly; then everything that a person could read is
// searched.
#include <google/rpc/error_details.pb.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>

#include "absl/strings/ascii.h"
#include "base/log.h"
#include "tests/server/harness.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

// As text, as bytes of a log line, in any case.
const std::vector<std::string> kMarkers = {"ZANZIBAR", "Quillfeather", "555-0199"};

std::vector<std::string> Found(const std::string& where) {
  const std::string lower = absl::AsciiStrToLower(where);
  std::vector<std::string> found;
  for (const std::string& marker : kMarkers) {
    if (lower.find(absl::AsciiStrToLower(marker)) != std::string::npos) found.push_back(marker);
  }
  return found;
}

std::string Slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

#define EXPECT_CLEAN(text) EXPECT_TRUE(Found(text).empty()) << Found(text).front()

class Privacy : public ::testing::Test {
 protected:
  v1::CreateTicketRequest Marked(const std::string& request_id) {
    v1::CreateTicketRequest request = h.TicketRequest(request_id, "m", {});
    request.clear_targets();
    request.add_targets()->set_text("ZANZIBAR met Quillfeather");
    request.add_targets()->mutable_prompt_answer()->set_prompt("the number of Quillfeather");
    request.mutable_targets(1)->mutable_prompt_answer()->set_answer(" is 555-0199");
    return request;
  }
  grpc::Status Create(const v1::CreateTicketRequest& request, v1::Ticket* out) {
    grpc::ClientContext context;
    Harness::Prepare(context);
    const grpc::Status status = h.deletion->CreateTicket(&context, request, out);
    EXPECT_CLEAN(status.error_message());
    EXPECT_CLEAN(status.error_details());
    return status;
  }

  v1::AuditCheckpointRequest MarkedAudit() {
    v1::AuditCheckpointRequest request;
    request.set_model_id("m");
    *request.mutable_targets() = Marked("r").targets();
    return request;
  }
  // The whole stream of an audit; `meanwhile` does the verifier's part.
  grpc::Status Audit(const v1::AuditCheckpointRequest& request,
                     const std::function<void()>& meanwhile) {
    grpc::ClientContext context;
    Harness::Prepare(context);
    const auto stream = h.verifier->AuditCheckpoint(&context, request);
    meanwhile();
    for (v1::AuditCheckpointResponse response; stream->Read(&response);) {
      EXPECT_CLEAN(response.DebugString());
    }
    const grpc::Status status = stream->Finish();
    EXPECT_CLEAN(status.error_message());
    EXPECT_CLEAN(status.error_details());
    return status;
  }
  // Audits that end well, badly, and before they begin.
  void Audits() {
    const auto acquire = [&] { return h.Acquire(v1::JOB_KIND_AUDIT); };
    EXPECT_TRUE(Audit(MarkedAudit(), [&] {
                  EXPECT_TRUE(h.CompleteVerify(acquire(), Harness::kForgotten).ok());
                }).ok());
    EXPECT_FALSE(Audit(MarkedAudit(), [&] {
                   EXPECT_TRUE(h.Fail(acquire(), v1::FAILURE_CAUSE_INPUT, "INPUT_UNUSABLE").ok());
                 }).ok());
    for (int bad = 0; bad < 5; ++bad) {
      v1::AuditCheckpointRequest request = MarkedAudit();
      if (bad == 0) request.set_model_id("Quillfeather");
      if (bad == 1) request.set_checkpoint_id("ZANZIBAR");
      if (bad == 2) request.set_attack_plan("Quillfeather");
      if (bad == 3) request.add_attacks()->set_attack("ZANZIBAR");
      if (bad == 4) request.mutable_targets(0)->add_sensitive_spans()->set_end(5'000);
      EXPECT_FALSE(Audit(request, [] {}).ok()) << bad;
    }
  }

  Harness h;
};

TEST_F(Privacy, NothingReadableHoldsWhatIsToBeForgotten) {
  const std::string log = (h.root() / "server.log").string();
  InitLogging({.process = "lethe-server", .level = "debug", .file = log});
  h.RegisterReadyModel("m");
  v1::Ticket kept, done, cancelled, failed;
  ASSERT_TRUE(Create(Marked("r-1"), &done).ok());
  ASSERT_TRUE(h.CompleteUnlearn(h.Acquire(v1::JOB_KIND_UNLEARN)).ok());
  ASSERT_TRUE(h.CompleteVerify(h.Acquire(v1::JOB_KIND_VERIFY), Harness::kForgotten).ok());
  ASSERT_TRUE(Create(Marked("r-2"), &cancelled).ok());
  v1::CancelTicketRequest cancel;
  cancel.set_ticket_id(cancelled.ticket_id());
  grpc::ClientContext cancel_context;
  Harness::Prepare(cancel_context);
  ASSERT_TRUE(h.deletion->CancelTicket(&cancel_context, cancel, &cancelled).ok());
  ASSERT_TRUE(Create(Marked("r-3"), &failed).ok());
  ASSERT_TRUE(
      h.Fail(h.Acquire(v1::JOB_KIND_UNLEARN), v1::FAILURE_CAUSE_INPUT, "INPUT_UNUSABLE").ok());
  ASSERT_TRUE(Create(Marked("r-4"), &kept).ok());

  // Markers where they do not belong: ids, names, references, etags, spans.
  for (int bad = 0; bad < 8; ++bad) {
    v1::CreateTicketRequest request = Marked("r-5");
    if (bad == 0) request.set_request_id("Quillfeather 555-0199");
    if (bad == 1) request.set_model_id("ZANZIBAR");
    if (bad == 2) request.set_external_reference("Quillfeather, 555-0199");
    if (bad == 3) request.mutable_targets(0)->add_sensitive_spans()->set_end(5'000);
    if (bad == 4) request.mutable_targets(0)->set_text(std::string(100'000, 'x') + "ZANZIBAR");
    if (bad == 5) request.mutable_targets(1)->mutable_prompt_answer()->clear_answer();
    if (bad == 6) request.set_model_id("zanzibar");
    if (bad == 7)
      request.mutable_targets(0)->set_text(std::string(1'000, 'y') + " ZANZIBAR Quillfeather");
    EXPECT_FALSE(Create(request, &kept).ok()) << bad;
  }
  v1::GetTicketRequest get;
  get.set_ticket_id("Quillfeather");
  v1::Ticket nobody;
  grpc::ClientContext get_context;
  Harness::Prepare(get_context);
  const grpc::Status missing = h.deletion->GetTicket(&get_context, get, &nobody);
  EXPECT_FALSE(missing.ok());
  EXPECT_CLEAN(missing.error_message() + missing.error_details());

  Audits();

  EXPECT_CLEAN(h.Metrics());
  EXPECT_CLEAN(h.Dump());
  const auto leaves = h.server->store()->Snapshot()->AuditLeaves({}, 10'000);
  ASSERT_TRUE(leaves.ok());
  EXPECT_GT(leaves->size(), 8u);
  for (const std::string& leaf : *leaves) EXPECT_CLEAN(leaf);

  h.Stop();
  InitLogging({.process = "test", .level = "warn"});
  const std::string lines = Slurp(log);
  EXPECT_GT(lines.size(), 500u);  // it did log
  EXPECT_CLEAN(lines);
  for (const auto& entry : fs::recursive_directory_iterator(h.root())) {
    EXPECT_CLEAN(entry.path().string());
    const bool ours = entry.path().string().find("/data") != std::string::npos ||
                      entry.path().string().find("/models") != std::string::npos;
    if (entry.is_regular_file() && ours) {
      EXPECT_CLEAN(Slurp(entry.path()));
    }
  }
}

TEST_F(Privacy, TheSearchCanFind) {
  EXPECT_EQ(Found("a zanzibar b"), std::vector<std::string>{"ZANZIBAR"});
  EXPECT_TRUE(Found("nothing").empty());
}

}  // namespace
}  // namespace lethe
