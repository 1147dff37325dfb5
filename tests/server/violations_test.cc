// A refused request names all that is wrong with it, so that its caller mends it in one go.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/field_violations.h"
#include "tests/server/harness.h"

namespace lethe {
namespace {

using grpc::StatusCode;
using ::testing::ElementsAre;
using ::testing::SizeIs;

template <typename Request, typename Response, typename Stub>
CallError Send(Stub& stub,
               grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
               const Request& request) {
  grpc::ClientContext context;
  Harness::Prepare(context);
  Response response;
  return ErrorOf((stub.*method)(&context, request, &response));
}

std::vector<std::string> Fields(const absl::Status& status) {
  std::vector<std::string> fields;
  const google::rpc::BadRequest violations = ViolationsOf(status);
  for (const auto& violation : violations.field_violations()) fields.push_back(violation.field());
  return fields;
}

TEST(FieldViolations, TheFirstErrorSpeaksForAll) {
  FieldViolations wrong;
  EXPECT_TRUE(wrong.status().ok());
  wrong.Add(absl::OkStatus());
  wrong.Add(FieldError("TEXT_TOO_LARGE", "targets[0].text", "at most 9 bytes", {{"limit", "9"}}));
  wrong.Add(FieldError("REASON_REQUIRED", "reason", "1 to 500 characters"));
  const absl::Status status = wrong.status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ErrorReason(status), "TEXT_TOO_LARGE");
  EXPECT_EQ(status.message(), "at most 9 bytes");
  EXPECT_EQ(ErrorDetails(status), (ErrorMetadata{{"field", "targets[0].text"}, {"limit", "9"}}));
  EXPECT_THAT(Fields(status), ElementsAre("targets[0].text", "reason"));
  EXPECT_EQ(ViolationsOf(status).field_violations(1).reason(), "REASON_REQUIRED");

  const absl::Status seen = AboutField(status, "requests[3].", {{"index", "3"}});
  EXPECT_THAT(Fields(seen), ElementsAre("requests[3].targets[0].text", "requests[3].reason"));
  EXPECT_EQ(ErrorDetails(seen)["field"], "requests[3].targets[0].text");
  EXPECT_EQ(ErrorDetails(seen)["index"], "3");
}

TEST(FieldViolations, KeepsNoMoreThanItTells) {
  FieldViolations wrong;
  for (int i = 0; i < 40; ++i) {
    EXPECT_EQ(wrong.Enough(), i >= FieldViolations::kMost);
    wrong.Add(FieldError("TARGET_EMPTY", absl::StrCat("targets[", i, "]"), "the text is empty"));
  }
  EXPECT_THAT(Fields(wrong.status()), SizeIs(16));
}

TEST(FieldViolations, AnErrorAboutNoFieldStandsAlone) {
  FieldViolations wrong;
  wrong.Add(Error(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND", "no model has this name"));
  EXPECT_TRUE(wrong.Enough());
  wrong.Add(FieldError("REASON_REQUIRED", "reason", "1 to 500 characters"));
  EXPECT_EQ(ErrorReason(wrong.status()), "MODEL_NOT_FOUND");
  EXPECT_THAT(Fields(wrong.status()), SizeIs(0));
}

class Violations : public ::testing::Test {
 protected:
  void SetUp() override { h.RegisterReadyModel("m"); }
  CallError Create(const v1::CreateTicketRequest& request) {
    return Send(*h.deletion, &v1::DeletionService::Stub::CreateTicket, request);
  }
  Harness h{[](ServerConfig& config) {
    config.max_text_bytes = 20;
    config.max_target_tokens = 6;
  }};
};

TEST_F(Violations, OfATicketsForm) {
  v1::CreateTicketRequest request;
  request.set_request_id("not a plain name");
  request.set_model_id("Nor This");
  request.set_external_reference("Jane Doe, 3 Elm Street");
  request.add_targets()->set_text("");
  request.add_targets()->set_text("ten bytes.");
  auto* pair = request.add_targets()->mutable_prompt_answer();
  pair->set_prompt(std::string(21, 'p'));
  pair->set_answer(std::string(21, 'a'));
  request.mutable_request_time()->set_seconds(1);
  request.mutable_due_time()->set_seconds(1);
  const CallError error = Create(request);
  EXPECT_EQ(error.code, StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(error.reason, "REQUEST_ID_MALFORMED");
  EXPECT_THAT(error.fields,
              ElementsAre("request_id", "model_id", "external_reference", "targets[0]",
                          "targets[2].prompt_answer.prompt", "targets[2].prompt_answer.answer",
                          "request_time", "due_time"));
}

TEST_F(Violations, OfATicketsTokens) {
  v1::CreateTicketRequest request = h.TicketRequest("r-1", "m", {1, 2, 3, 4, 5, 6, 7});
  request.add_targets()->mutable_ids()->add_ids(3);
  request.mutable_targets(1)->mutable_ids()->add_ids(kVocabulary);
  for (int id : {4, 5}) request.mutable_targets()->Add()->mutable_ids()->add_ids(id);
  const CallError error = Create(request);
  EXPECT_EQ(error.reason, "TARGET_TOO_LONG");
  EXPECT_THAT(error.fields, ElementsAre("targets[0]", "targets[1]", "targets[2]", "targets[3]"));
}

TEST_F(Violations, OfABatchNameTheirTicket) {
  v1::BatchCreateTicketsRequest batch;
  *batch.add_requests() = h.TicketRequest("r-1", "m", {1, 2, 3});
  *batch.add_requests() = h.TicketRequest("bad id", "m", {1});
  *batch.add_requests() = h.TicketRequest("r-3", "m", {1, 2, 3, 4, 5, 6, 7, 8});
  for (const bool preview : {false, true}) {
    for (auto& request : *batch.mutable_requests()) request.set_validate_only(preview);
    const CallError error =
        Send(*h.deletion, &v1::DeletionService::Stub::BatchCreateTickets, batch);
    EXPECT_EQ(error.reason, "REQUEST_ID_MALFORMED");
    EXPECT_EQ(error.metadata.at("index"), "1");
    EXPECT_THAT(error.fields, ElementsAre("requests[1].request_id", "requests[2].targets[0]"));
  }
  EXPECT_EQ(h.server->store()->Totals().tickets[storage::TicketState::kQueued], 0);
}

TEST_F(Violations, OfARegistration) {
  v1::RegisterModelRequest request = h.ModelRequest("Odd Name");
  request.mutable_policy()->add_ladder()->set_method("prayer");
  request.mutable_policy()->add_attacks()->set_attack("guesswork");
  request.set_source_path("relative");
  request.set_retain_path("/nowhere/retain.jsonl");
  (*request.mutable_other_paths())["holdout"] = "/x";
  (*request.mutable_other_paths())["web"] = "/nowhere/web.jsonl";
  const CallError error = Send(*h.models, &v1::ModelService::Stub::RegisterModel, request);
  EXPECT_EQ(error.reason, "MODEL_ID_MALFORMED");
  EXPECT_THAT(error.fields,
              ElementsAre("model_id", "policy.ladder[0].method", "policy.attacks[0].attack",
                          "source_path", "retain_path", "other_paths", "other_paths.web"));
}

TEST_F(Violations, OfAWorkersCalls) {
  v1::AcquireJobRequest acquire;
  acquire.set_worker_id("my worker");
  acquire.mutable_wait()->set_seconds(61);
  EXPECT_THAT(Send(*h.work, &v1::WorkService::Stub::AcquireJob, acquire).fields,
              ElementsAre("worker_id", "kinds", "wait"));
  v1::FailJobRequest fail;
  fail.set_job_id("j-" + std::string(32, '0'));
  fail.set_reason("it broke");
  EXPECT_THAT(Send(*h.work, &v1::WorkService::Stub::FailJob, fail).fields,
              ElementsAre("cause", "reason"));
}

TEST_F(Violations, AreBounded) {
  v1::CreateTicketRequest request = h.TicketRequest("r-1", "m", {1, 2, 3});
  for (int i = 0; i < 90; ++i) request.add_targets()->set_text("");
  EXPECT_THAT(Create(request).fields, SizeIs(16));
}

}  // namespace
}  // namespace lethe
