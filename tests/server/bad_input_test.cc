// Every RPC of ModelService and WorkService refuses every kind of bad input with a code and a
// reason, every RPC at all refuses bytes that are no message, and the store is the same afterwards.
#include "tests/server/bad_input.h"

#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

namespace lethe {
namespace {

using grpc::StatusCode;

// Raw bytes to a method: what no well-behaved client sends.
grpc::Status SendRaw(Harness& h, const std::string& method, const std::string& bytes) {
  grpc::GenericStub stub(h.channel);
  grpc::ClientContext context;
  Harness::Prepare(context);
  grpc::CompletionQueue queue;
  grpc::Slice slice(bytes);
  grpc::ByteBuffer request(&slice, 1), response;
  auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
  call->StartCall();
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  return status;
}

// The request with one string field replaced by bytes that are not UTF-8.
template <typename Message>
std::string WithBadUtf8(Message message, const std::string& marker) {
  std::string bytes = message.SerializeAsString();
  const size_t at = bytes.find(marker);
  EXPECT_NE(at, std::string::npos) << marker;
  bytes[at] = '\xff';
  return bytes;
}

TEST_F(BadInput, Models) {
  const auto reg = [this](auto change) {
    return [change](Harness& h, grpc::ClientContext* context) {
      v1::RegisterModelRequest request = h.ModelRequest("new");
      change(request, h.root());
      v1::Model out;
      return h.models->RegisterModel(context, request, &out);
    };
  };
  const auto get = [](const std::string& id) {
    return [id](Harness& h, grpc::ClientContext* context) {
      v1::GetModelRequest request;
      request.set_model_id(id);
      v1::Model out;
      return h.models->GetModel(context, request, &out);
    };
  };
  const auto checkpoints = [](const std::string& id, const std::string& token) {
    return [=](Harness& h, grpc::ClientContext* context) {
      v1::ListCheckpointsRequest request;
      request.set_model_id(id);
      request.set_page_token(token);
      v1::ListCheckpointsResponse out;
      return h.models->ListCheckpoints(context, request, &out);
    };
  };
  const auto write = [](const std::filesystem::path& path, const std::string& content) {
    std::FILE* file = std::fopen(path.c_str(), "w");
    std::fputs(content.c_str(), file);
    std::fclose(file);
    return path.string();
  };
  std::string few;
  for (int i = 0; i < 15; ++i) few += "{\"text\": \"anna met boris\"}\n";
  Check({{"odd name", reg([](auto& r, auto) { r.set_model_id("No Name"); }), kInvalid,
          "MODEL_ID_MALFORMED", "model_id"},
         {"taken name", reg([](auto& r, auto) { r.set_model_id("m"); }), StatusCode::ALREADY_EXISTS,
          "MODEL_EXISTS", ""},
         {"taken name, preview", reg([](auto& r, auto) {
            r.set_model_id("m");
            r.set_validate_only(true);
          }),
          StatusCode::ALREADY_EXISTS, "MODEL_EXISTS", ""},
         {"no source", reg([](auto& r, auto) { r.clear_source_path(); }), kInvalid,
          "SOURCE_UNREADABLE", "source_path"},
         {"relative source", reg([](auto& r, auto) { r.set_source_path("source"); }), kInvalid,
          "SOURCE_UNREADABLE", "source_path"},
         {"source without model", reg([](auto& r, auto root) { r.set_source_path(root.string()); }),
          kInvalid, "SOURCE_UNREADABLE", "source_path"},
         {"no retain", reg([](auto& r, auto) { r.clear_retain_path(); }), kInvalid,
          "DATASET_UNREADABLE", "retain_path"},
         {"missing retain", reg([](auto& r, auto) { r.set_retain_path("/no/such/file"); }),
          kInvalid, "DATASET_UNREADABLE", "retain_path"},
         {"retain is no JSON",
          reg([&](auto& r, auto root) { r.set_retain_path(write(root / "bad1", "hello\n")); }),
          kInvalid, "DATASET_UNREADABLE", "retain_path"},
         {"empty retain",
          reg([&](auto& r, auto root) { r.set_retain_path(write(root / "bad2", "")); }), kInvalid,
          "DATASET_UNREADABLE", "retain_path"},
         {"small holdout",
          reg([&](auto& r, auto root) { r.set_holdout_path(write(root / "few", few)); }), kInvalid,
          "HOLDOUT_TOO_SMALL", "holdout_path"},
         {"odd set name",
          reg([](auto& r, auto) { (*r.mutable_other_paths())["control"] = r.retain_path(); }),
          kInvalid, "DATASET_UNREADABLE", "other_paths"},
         {"missing other", reg([](auto& r, auto) { (*r.mutable_other_paths())["x"] = "/no"; }),
          kInvalid, "DATASET_UNREADABLE", "other_paths.x"},
         {"bad policy",
          reg([](auto& r, auto) { r.mutable_policy()->add_ladder()->set_method("none"); }),
          kInvalid, "POLICY_INVALID", "policy.ladder[0].method"},
         {"unknown model", get("other"), StatusCode::NOT_FOUND, "MODEL_NOT_FOUND", ""},
         {"odd model", get("Jane Doe"), StatusCode::NOT_FOUND, "MODEL_NOT_FOUND", ""},
         {"no model", get(""), StatusCode::NOT_FOUND, "MODEL_NOT_FOUND", ""},
         {"checkpoints of no model", checkpoints("other", ""), StatusCode::NOT_FOUND,
          "MODEL_NOT_FOUND", ""},
         {"checkpoints of a foreign token", checkpoints("m", "zz"), kInvalid, "PAGE_TOKEN_INVALID",
          "page_token"},
         {"models of a negative page",
          [](Harness& h, grpc::ClientContext* context) {
            v1::ListModelsRequest request;
            request.set_page_size(-5);
            v1::ListModelsResponse out;
            return h.models->ListModels(context, request, &out);
          },
          kInvalid, "PAGE_SIZE_INVALID", "page_size"}});
}

TEST_F(BadInput, Promotions) {
  const auto promote = [](auto change) {
    return [change](Harness& h, grpc::ClientContext* context) {
      v1::PromoteCheckpointRequest request;
      request.set_model_id("m");
      request.set_checkpoint_id("c-" + std::string(32, '0'));
      request.set_expected_generation(1);
      request.set_reason("because");
      change(request);
      v1::Model out;
      return h.models->PromoteCheckpoint(context, request, &out);
    };
  };
  const auto rollback = [](auto change) {
    return [change](Harness& h, grpc::ClientContext* context) {
      v1::RollbackModelRequest request;
      request.set_model_id("m");
      request.set_checkpoint_id("c-" + std::string(32, '0'));
      request.set_expected_generation(1);
      request.set_reason("because");
      change(request);
      v1::Model out;
      return h.models->RollbackModel(context, request, &out);
    };
  };
  const std::string current = h.Current("m").substr(std::string("checkpoints/").size());
  const auto nothing = [](auto&) {};
  const auto no_reason = [](auto& r) { r.clear_reason(); };
  const auto no_model = [](auto& r) { r.set_model_id("other"); };
  const auto odd = [](auto& r) { r.set_checkpoint_id("Jane"); };
  const auto promoted = [&](auto& r) { r.set_checkpoint_id(current); };
  Check(
      {{"promote nothing", promote(nothing), StatusCode::NOT_FOUND, "CHECKPOINT_NOT_FOUND", ""},
       {"promote an odd id", promote(odd), StatusCode::NOT_FOUND, "CHECKPOINT_NOT_FOUND", ""},
       {"promote without reason", promote(no_reason), kInvalid, "REASON_REQUIRED", "reason"},
       {"promote in no model", promote(no_model), StatusCode::NOT_FOUND, "MODEL_NOT_FOUND", ""},
       {"promote the promoted", promote(promoted), StatusCode::FAILED_PRECONDITION, "WRONG_STATE",
        ""},
       {"roll back to nothing", rollback(nothing), StatusCode::NOT_FOUND, "CHECKPOINT_NOT_FOUND",
        ""},
       {"roll back to an odd id", rollback(odd), StatusCode::NOT_FOUND, "CHECKPOINT_NOT_FOUND", ""},
       {"roll back without reason", rollback(no_reason), kInvalid, "REASON_REQUIRED", "reason"},
       {"roll back no model", rollback(no_model), StatusCode::NOT_FOUND, "MODEL_NOT_FOUND", ""},
       {"roll back to the present", rollback(promoted), StatusCode::FAILED_PRECONDITION,
        "WRONG_STATE", ""}});
}

TEST_F(BadInput, Work) {
  h.Acquire(v1::JOB_KIND_PREPARE);  // of "preparing": out of the way
  const v1::Job job = h.Acquire(v1::JOB_KIND_UNLEARN);
  const auto acquire = [](auto change) {
    return [change](Harness& h, grpc::ClientContext* context) {
      v1::AcquireJobRequest request;
      request.set_worker_id("w-1");
      request.add_kinds(v1::JOB_KIND_VERIFY);
      change(request);
      v1::AcquireJobResponse out;
      return h.work->AcquireJob(context, request, &out);
    };
  };
  const auto beat = [&](const std::string& id, uint64_t fence) {
    return [=](Harness& h, grpc::ClientContext* context) {
      v1::HeartbeatRequest request;
      request.set_job_id(id);
      request.set_fence(fence);
      v1::HeartbeatResponse out;
      return h.work->Heartbeat(context, request, &out);
    };
  };
  const auto complete = [&](auto change) {
    return [=](Harness& h, grpc::ClientContext* context) {
      v1::CompleteJobRequest request;
      request.set_job_id(job.job_id());
      request.set_fence(job.fence());
      change(request);
      v1::CompleteJobResponse out;
      return h.work->CompleteJob(context, request, &out);
    };
  };
  const auto fail = [&](auto change) {
    return [=](Harness& h, grpc::ClientContext* context) {
      v1::FailJobRequest request;
      request.set_job_id(job.job_id());
      request.set_fence(job.fence());
      request.set_cause(v1::FAILURE_CAUSE_METHOD);
      request.set_reason("METHOD_DIVERGED");
      change(request);
      v1::FailJobResponse out;
      return h.work->FailJob(context, request, &out);
    };
  };
  const std::string unknown = "j-" + std::string(32, '0');
  const StatusCode aborted = StatusCode::ABORTED;
  Check({{"no worker", acquire([](auto& r) { r.clear_worker_id(); }), kInvalid,
          "WORKER_ID_MALFORMED", "worker_id"},
         {"odd worker", acquire([](auto& r) { r.set_worker_id("Jane Doe"); }), kInvalid,
          "WORKER_ID_MALFORMED", "worker_id"},
         {"no kinds", acquire([](auto& r) { r.clear_kinds(); }), kInvalid, "NO_KINDS", "kinds"},
         {"unknown kinds", acquire([](auto& r) { r.set_kinds(0, static_cast<v1::JobKind>(42)); }),
          kInvalid, "NO_KINDS", "kinds"},
         {"long wait", acquire([](auto& r) { r.mutable_wait()->set_seconds(61); }), kInvalid,
          "WAIT_INVALID", "wait"},
         {"negative wait", acquire([](auto& r) { r.mutable_wait()->set_seconds(-1); }), kInvalid,
          "WAIT_INVALID", "wait"},
         {"beat of no job", beat(unknown, 1), aborted, "LEASE_LOST", ""},
         {"beat of an odd job", beat("Jane", 1), aborted, "LEASE_LOST", ""},
         {"beat without fence", beat(job.job_id(), 0), aborted, "LEASE_LOST", ""},
         {"beat of a stale fence", beat(job.job_id(), job.fence() - 1), aborted, "LEASE_LOST", ""},
         {"no result", complete([](auto&) {}), kInvalid, "RESULT_MISMATCH", "result"},
         {"other kind of result",
          complete([](auto& r) { r.mutable_verify()->set_measurements("x"); }), kInvalid,
          "RESULT_MISMATCH", "result"},
         {"result of a stale fence", complete([](auto& r) {
            r.set_fence(r.fence() + 1);
            r.mutable_unlearn();
          }),
          aborted, "LEASE_LOST", ""},
         {"result of no job", complete([&](auto& r) { r.set_job_id(unknown); }), aborted,
          "LEASE_LOST", ""},
         {"result without folder", complete([](auto& r) { r.mutable_unlearn(); }),
          StatusCode::FAILED_PRECONDITION, "ARTEFACT_MISMATCH", ""},
         {"failure without cause", fail([](auto& r) { r.clear_cause(); }), kInvalid,
          "RESULT_MALFORMED", "cause"},
         {"failure without reason", fail([](auto& r) { r.clear_reason(); }), kInvalid,
          "RESULT_MALFORMED", "reason"},
         {"failure with a story", fail([](auto& r) { r.set_reason("Jane Doe"); }), kInvalid,
          "RESULT_MALFORMED", "reason"},
         {"failure of a stale fence", fail([](auto& r) { r.set_fence(0); }), aborted, "LEASE_LOST",
          ""}});
}

TEST_F(BadInput, BytesThatAreNoMessage) {
  const std::vector<std::string> methods = {"lethe.v1.DeletionService/CreateTicket",
                                            "lethe.v1.DeletionService/BatchCreateTickets",
                                            "lethe.v1.DeletionService/GetTicket",
                                            "lethe.v1.DeletionService/ListTickets",
                                            "lethe.v1.DeletionService/WatchTicket",
                                            "lethe.v1.DeletionService/ApproveTicket",
                                            "lethe.v1.DeletionService/DenyTicket",
                                            "lethe.v1.DeletionService/HoldTicket",
                                            "lethe.v1.DeletionService/ReleaseTicket",
                                            "lethe.v1.DeletionService/ExtendTicket",
                                            "lethe.v1.DeletionService/CancelTicket",
                                            "lethe.v1.DeletionService/RetryTicket",
                                            "lethe.v1.DeletionService/GetTicketReport",
                                            "lethe.v1.ModelService/RegisterModel",
                                            "lethe.v1.ModelService/GetModel",
                                            "lethe.v1.ModelService/ListModels",
                                            "lethe.v1.ModelService/ListCheckpoints",
                                            "lethe.v1.ModelService/PromoteCheckpoint",
                                            "lethe.v1.ModelService/RollbackModel",
                                            "lethe.v1.ModelService/WatchPromotions",
                                            "lethe.v1.VerifierService/AuditCheckpoint",
                                            "lethe.v1.WorkService/AcquireJob",
                                            "lethe.v1.WorkService/Heartbeat",
                                            "lethe.v1.WorkService/CompleteJob",
                                            "lethe.v1.WorkService/FailJob"};
  const std::string before = h.Dump();
  for (const std::string& method : methods) {
    SCOPED_TRACE(method);
    // A length that runs past the end, in field 1.
    CallError error = ErrorOf(SendRaw(h, "/" + method, std::string("\x0a\x7f", 2) + "abc"));
    EXPECT_EQ(error.code, kInvalid);
    EXPECT_EQ(error.reason, "MALFORMED_REQUEST");
  }
  EXPECT_EQ(h.Dump(), before);
}

TEST_F(BadInput, TextThatIsNotUtf8) {
  const std::string before = h.Dump();
  v1::CreateTicketRequest request = h.TicketRequest("r-1", "m", {});
  request.mutable_targets(0)->set_text("MARKER text");
  const std::string method = "/lethe.v1.DeletionService/CreateTicket";
  CallError error = ErrorOf(SendRaw(h, method, WithBadUtf8(request, "MARKER")));
  EXPECT_EQ(error.code, kInvalid);
  EXPECT_EQ(error.reason, "TEXT_NOT_UTF8");
  EXPECT_EQ(error.field, "text");
  request.mutable_targets(0)->mutable_prompt_answer()->set_prompt("who?");
  request.mutable_targets(0)->mutable_prompt_answer()->set_answer("MARKER");
  error = ErrorOf(SendRaw(h, method, WithBadUtf8(request, "MARKER")));
  EXPECT_EQ(error.reason, "TEXT_NOT_UTF8");
  EXPECT_EQ(error.field, "answer");
  request.set_request_id("MARKER");
  error = ErrorOf(SendRaw(h, method, WithBadUtf8(request, "MARKER")));
  EXPECT_EQ(error.code, kInvalid);
  EXPECT_EQ(error.reason, "MALFORMED_REQUEST");
  EXPECT_EQ(error.field, "request_id");
  EXPECT_EQ(h.Dump(), before);
}

TEST_F(BadInput, UnknownMethodsAreUnimplemented) {
  EXPECT_EQ(SendRaw(h, "/lethe.v1.DeletionService/Forget", "").error_code(),
            StatusCode::UNIMPLEMENTED);
}

}  // namespace
}  // namespace lethe
