// Every RPC refuses every kind of bad input with a code and a
// reason, and the store is the same afterwards.
#include <google/protobuf/unknown_field_set.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/proto_buffer_writer.h>
#include <gtest/gtest.h>

#include <functional>

#include "absl/strings/str_cat.h"
#include "tests/server/harness.h"

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

struct Case {
  std::string name;
  std::function<grpc::Status(Harness&, grpc::ClientContext*)> call;
  StatusCode code;
  std::string reason;
  std::string field;  // of BadRequest; "" where none is wanted
};

class BadInput : public ::testing::Test {
 protected:
  void SetUp() override {
    h.RegisterReadyModel("m");
    ticket = h.File("r-0", "m");
    cancelled = h.File("r-00", "m");
    v1::CancelTicketRequest cancel;
    cancel.set_ticket_id(cancelled.ticket_id());
    grpc::ClientContext context;
    Harness::Prepare(context);
    v1::Ticket out;
    ASSERT_TRUE(h.deletion->CancelTicket(&context, cancel, &out).ok());
    preparing = h.ModelRequest("preparing");
    grpc::ClientContext other;
    Harness::Prepare(other);
    v1::Model model;
    ASSERT_TRUE(h.models->RegisterModel(&other, preparing, &model).ok());
  }

  void Check(const std::vector<Case>& cases) {
    const std::string before = h.Dump();
    for (const Case& c : cases) {
      SCOPED_TRACE(c.name);
      grpc::ClientContext context;
      Harness::Prepare(context);
      const grpc::Status status = c.call(h, &context);
      const CallError error = ErrorOf(status);
      EXPECT_EQ(error.code, c.code) << status.error_message();
      EXPECT_EQ(error.reason, c.reason) << status.error_message();
      if (!c.field.empty()) {
        EXPECT_EQ(error.field, c.field);
      }
      EXPECT_EQ(h.Dump(), before);
    }
  }

  // CreateTicket with one thing changed.
  Case Create(const std::string& name, StatusCode code, const std::string& reason,
              const std::string& field, std::function<void(v1::CreateTicketRequest&)> change) {
    return {name,
            [change](Harness& h, grpc::ClientContext* context) {
              v1::CreateTicketRequest request = h.TicketRequest("r-1", "m", {1, 2, 3});
              change(request);
              v1::Ticket out;
              return h.deletion->CreateTicket(context, request, &out);
            },
            code, reason, field};
  }

  Harness h{[](ServerConfig& config) {
    config.max_text_bytes = 2'000;
    config.max_targets_per_ticket = 4;
    config.max_ticket_tokens = 150;
    config.max_target_tokens = 100;
    config.max_tickets_per_batch = 2;
    config.max_message_bytes = 64 << 10;
  }};
  v1::Ticket ticket, cancelled;
  v1::RegisterModelRequest preparing;
};

const StatusCode kInvalid = StatusCode::INVALID_ARGUMENT;

TEST_F(BadInput, CreateTicket) {
  const auto target = [](auto change) {
    return [change](v1::CreateTicketRequest& r) {
      r.clear_targets();
      change(*r.add_targets());
    };
  };
  const auto ids = [](std::vector<int32_t> list) {
    return [list](v1::Target& t) { t.mutable_ids()->mutable_ids()->Add(list.begin(), list.end()); };
  };
  const auto spans = [&](std::vector<std::pair<int, int>> list) {
    return target([list](v1::Target& t) {
      for (int i = 0; i < 6; ++i) t.mutable_ids()->add_ids(i);
      for (const auto& [begin, end] : list) {
        v1::Span* span = t.add_sensitive_spans();
        span->set_begin(begin);
        span->set_end(end);
      }
    });
  };
  Check({
      Create("no request id", kInvalid, "REQUEST_ID_MALFORMED", "request_id",
             [](auto& r) { r.clear_request_id(); }),
      Create("long request id", kInvalid, "REQUEST_ID_MALFORMED", "request_id",
             [](auto& r) { r.set_request_id(std::string(65, 'a')); }),
      Create("odd request id", kInvalid, "REQUEST_ID_MALFORMED", "request_id",
             [](auto& r) { r.set_request_id("a b"); }),
      Create("no model", kInvalid, "MODEL_ID_MALFORMED", "model_id",
             [](auto& r) { r.clear_model_id(); }),
      Create("odd model", kInvalid, "MODEL_ID_MALFORMED", "model_id",
             [](auto& r) { r.set_model_id("../m"); }),
      Create("unknown model", StatusCode::NOT_FOUND, "MODEL_NOT_FOUND", "",
             [](auto& r) { r.set_model_id("other"); }),
      Create("model not ready", StatusCode::FAILED_PRECONDITION, "MODEL_NOT_READY", "",
             [](auto& r) { r.set_model_id("preparing"); }),
      Create("no targets", kInvalid, "NO_TARGETS", "targets", [](auto& r) { r.clear_targets(); }),
      Create("too many targets", kInvalid, "TOO_MANY_TARGETS", "targets",
             [](auto& r) {
               for (int i = 0; i < 4; ++i) r.add_targets()->set_text("again and again");
             }),
      Create("empty target", kInvalid, "TARGET_EMPTY", "targets[0]", target([](v1::Target&) {})),
      Create("empty text", kInvalid, "TARGET_EMPTY", "targets[0]",
             target([](v1::Target& t) { t.set_text(""); })),
      Create("empty ids", kInvalid, "TARGET_EMPTY", "targets[0]",
             target([](v1::Target& t) { t.mutable_ids(); })),
      Create("empty pair", kInvalid, "TARGET_EMPTY", "targets[0]",
             target([](v1::Target& t) { t.mutable_prompt_answer(); })),
      Create("text too large", kInvalid, "TEXT_TOO_LARGE", "targets[0].text",
             target([](v1::Target& t) { t.set_text(std::string(2'001, 'a')); })),
      Create("answer too large", kInvalid, "TEXT_TOO_LARGE", "targets[0].prompt_answer.answer",
             target([](v1::Target& t) {
               t.mutable_prompt_answer()->set_prompt("who?");
               t.mutable_prompt_answer()->set_answer(std::string(2'001, 'a'));
             })),
      Create("prompt without answer", kInvalid, "PROMPT_WITHOUT_ANSWER",
             "targets[0].prompt_answer.answer",
             target([](v1::Target& t) { t.mutable_prompt_answer()->set_prompt("who?"); })),
      Create("answer without prompt", kInvalid, "ANSWER_WITHOUT_PROMPT",
             "targets[0].prompt_answer.prompt",
             target([](v1::Target& t) { t.mutable_prompt_answer()->set_answer("jane"); })),
      Create("one token of text", kInvalid, "TARGET_TOO_SHORT", "targets[0]",
             target([](v1::Target& t) { t.set_text("x"); })),
      Create("one id", kInvalid, "TARGET_TOO_SHORT", "targets[0]", target(ids({5}))),
      Create("text of too many tokens", kInvalid, "TARGET_TOO_LONG", "targets[0]",
             target([](v1::Target& t) { t.set_text(std::string(1'500, 'q')); })),
      Create("more ids than the context", kInvalid, "TARGET_TOO_LONG", "targets[0]",
             target(ids(std::vector<int32_t>(kContext + 1, 7)))),
      Create("ticket of too many tokens", kInvalid, "TICKET_TOO_LARGE", "targets",
             [&](auto& r) {
               r.clear_targets();
               for (int i = 0; i < 3; ++i) ids(std::vector<int32_t>(60, 7))(*r.add_targets());
             }),
      Create("id past the vocabulary", kInvalid, "TOKEN_OUT_OF_VOCABULARY", "targets[0]",
             target(ids({1, kVocabulary}))),
      Create("negative id", kInvalid, "TOKEN_OUT_OF_VOCABULARY", "targets[0]",
             target(ids({1, -1}))),
      Create("span past the end", kInvalid, "SPAN_OUT_OF_RANGE", "targets[0]", spans({{4, 7}})),
      Create("negative span", kInvalid, "SPAN_OUT_OF_RANGE", "targets[0]", spans({{-1, 2}})),
      Create("empty span", kInvalid, "SPAN_OUT_OF_RANGE", "targets[0]", spans({{2, 2}})),
      Create("spans overlap", kInvalid, "SPAN_OUT_OF_RANGE", "targets[0]", spans({{0, 3}, {2, 5}})),
      Create("spans out of order", kInvalid, "SPAN_OUT_OF_RANGE", "targets[0]",
             spans({{3, 5}, {0, 2}})),
      Create("asked tomorrow", kInvalid, "REQUEST_TIME_INVALID", "request_time",
             [&](auto& r) {
               r.mutable_request_time()->set_seconds(
                   absl::ToUnixSeconds(h.clock.Now() + absl::Hours(24)));
             }),
      Create("asked before the law", kInvalid, "REQUEST_TIME_INVALID", "request_time",
             [](auto& r) { r.mutable_request_time()->set_seconds(1); }),
      Create("no such time", kInvalid, "REQUEST_TIME_INVALID", "request_time",
             [](auto& r) { r.mutable_request_time()->set_nanos(-1); }),
      Create("custom without due time", kInvalid, "DUE_TIME_INVALID", "due_time",
             [](auto& r) { r.set_regulation(v1::REGULATION_CUSTOM); }),
      Create("due in the past", kInvalid, "DUE_TIME_INVALID", "due_time",
             [](auto& r) {
               r.set_regulation(v1::REGULATION_CUSTOM);
               r.mutable_due_time()->set_seconds(1'600'000'000);
             }),
      Create("due with a law", kInvalid, "DUE_TIME_INVALID", "due_time",
             [](auto& r) { r.mutable_due_time()->set_seconds(2'000'000'000); }),
      Create("unknown law", kInvalid, "REGULATION_UNKNOWN", "regulation",
             [](auto& r) { r.set_regulation(static_cast<v1::Regulation>(99)); }),
      Create("odd reference", kInvalid, "EXTERNAL_REFERENCE_MALFORMED", "external_reference",
             [](auto& r) { r.set_external_reference("Jane Doe"); }),
      Create("preview of a bad ticket", kInvalid, "TARGET_TOO_SHORT", "targets[0]",
             [&](auto& r) {
               r.set_validate_only(true);
               target(ids({5}))(r);
             }),
      Create("request id of another ticket", StatusCode::ALREADY_EXISTS, "REQUEST_ID_REUSED", "",
             [](auto& r) { r.set_request_id("r-0"); }),
      Create("message too large", StatusCode::RESOURCE_EXHAUSTED, "", "",
             [](auto& r) { r.mutable_targets(0)->set_text(std::string(80 << 10, 'a')); }),
  });
}

TEST_F(BadInput, BatchCreateTickets) {
  const auto batch = [](int count, auto change) {
    return [count, change](Harness& h, grpc::ClientContext* context) {
      v1::BatchCreateTicketsRequest request;
      for (int i = 0; i < count; ++i)
        *request.add_requests() = h.TicketRequest(absl::StrCat("b-", i), "m", {1, 2});
      change(request);
      v1::BatchCreateTicketsResponse out;
      return h.deletion->BatchCreateTickets(context, request, &out);
    };
  };
  const auto nothing = [](auto&) {};
  Check({{"none", batch(0, nothing), kInvalid, "NO_TICKETS", "requests"},
         {"too many", batch(3, nothing), kInvalid, "TOO_MANY_TICKETS", "requests"},
         {"mixed", batch(2, [](auto& r) { r.mutable_requests(0)->set_validate_only(true); }),
          kInvalid, "VALIDATE_ONLY_MIXED", "requests"},
         {"second bad", batch(2, [](auto& r) { r.mutable_requests(1)->clear_targets(); }), kInvalid,
          "NO_TARGETS", "requests[1].targets"},
         {"second of an unknown model",
          batch(2, [](auto& r) { r.mutable_requests(1)->set_model_id("other"); }),
          StatusCode::NOT_FOUND, "MODEL_NOT_FOUND", ""},
         {"one id, two bodies",
          batch(2,
                [](auto& r) {
                  r.mutable_requests(1)->set_request_id("b-0");
                  r.mutable_requests(1)->mutable_targets(0)->mutable_ids()->add_ids(9);
                }),
          StatusCode::ALREADY_EXISTS, "REQUEST_ID_REUSED", ""}});
}

// An RPC about one ticket with this id.
template <typename Request, typename Method>
Case About(const std::string& name, Method method, const std::string& id, StatusCode code,
           const std::string& reason, std::function<void(Request&)> change = nullptr) {
  return {name,
          [=](Harness& h, grpc::ClientContext* context) {
            Request request;
            request.set_ticket_id(id);
            if (change) change(request);
            v1::Ticket out;
            return (h.deletion.get()->*method)(context, request, &out);
          },
          code, reason, ""};
}

TEST_F(BadInput, CallsAboutOneTicket) {
  using Stub = v1::DeletionService::Stub;
  const std::string unknown = "t-" + std::string(32, '0');
  std::vector<Case> cases;
  const auto everywhere = [&](auto method, auto request, const std::string& name, auto change) {
    using Request = decltype(request);
    for (const std::string& id :
         {std::string(), std::string("Jane Doe"), std::string(10'000, 'x'), unknown}) {
      cases.push_back(
          About<Request>(name, method, id, StatusCode::NOT_FOUND, "TICKET_NOT_FOUND", change));
    }
  };
  const auto wrong_state = [&](auto method, auto request, const std::string& name,
                               const std::string& id, auto change) {
    using Request = decltype(request);
    cases.push_back(
        About<Request>(name, method, id, StatusCode::FAILED_PRECONDITION, "WRONG_STATE", change));
  };
  const auto stale = [&](auto method, auto request, const std::string& name, auto change) {
    using Request = decltype(request);
    for (const std::string& etag :
         {std::string("\"77\""), std::string("Jane"), std::string("\"\"")}) {
      cases.push_back(About<Request>(name, method, ticket.ticket_id(), StatusCode::ABORTED,
                                     "ETAG_MISMATCH", [etag, change](Request& r) {
                                       change(r);
                                       r.set_etag(etag);
                                     }));
    }
  };
  const auto none = [](auto&) {};
  const auto deny = [](v1::DenyTicketRequest& r) { r.set_reason(v1::TICKET_REASON_NO_MATCH); };
  const auto extend = [](v1::ExtendTicketRequest& r) { r.set_reason("many requests"); };
  everywhere(&Stub::GetTicket, v1::GetTicketRequest(), "get", none);
  everywhere(&Stub::ApproveTicket, v1::ApproveTicketRequest(), "approve", none);
  everywhere(&Stub::DenyTicket, v1::DenyTicketRequest(), "deny", deny);
  everywhere(&Stub::HoldTicket, v1::HoldTicketRequest(), "hold", none);
  everywhere(&Stub::ReleaseTicket, v1::ReleaseTicketRequest(), "release", none);
  everywhere(&Stub::ExtendTicket, v1::ExtendTicketRequest(), "extend", extend);
  everywhere(&Stub::CancelTicket, v1::CancelTicketRequest(), "cancel", none);
  everywhere(&Stub::RetryTicket, v1::RetryTicketRequest(), "retry", none);
  wrong_state(&Stub::ApproveTicket, v1::ApproveTicketRequest(), "approve queued",
              ticket.ticket_id(), none);
  wrong_state(&Stub::DenyTicket, v1::DenyTicketRequest(), "deny queued", ticket.ticket_id(), deny);
  wrong_state(&Stub::RetryTicket, v1::RetryTicketRequest(), "retry queued", ticket.ticket_id(),
              none);
  wrong_state(&Stub::CancelTicket, v1::CancelTicketRequest(), "cancel cancelled",
              cancelled.ticket_id(), none);
  wrong_state(&Stub::HoldTicket, v1::HoldTicketRequest(), "hold cancelled", cancelled.ticket_id(),
              none);
  wrong_state(&Stub::ExtendTicket, v1::ExtendTicketRequest(), "extend cancelled",
              cancelled.ticket_id(), extend);
  stale(&Stub::ApproveTicket, v1::ApproveTicketRequest(), "approve stale", none);
  stale(&Stub::DenyTicket, v1::DenyTicketRequest(), "deny stale", deny);
  stale(&Stub::HoldTicket, v1::HoldTicketRequest(), "hold stale", none);
  stale(&Stub::ReleaseTicket, v1::ReleaseTicketRequest(), "release stale", none);
  stale(&Stub::ExtendTicket, v1::ExtendTicketRequest(), "extend stale", extend);
  stale(&Stub::CancelTicket, v1::CancelTicketRequest(), "cancel stale", none);
  stale(&Stub::RetryTicket, v1::RetryTicketRequest(), "retry stale", none);
  const auto id = ticket.ticket_id();
  cases.push_back(About<v1::DenyTicketRequest>("deny without reason", &Stub::DenyTicket, id,
                                               kInvalid, "REASON_REQUIRED"));
  cases.push_back(About<v1::DenyTicketRequest>(
      "deny with another's reason", &Stub::DenyTicket, id, kInvalid, "REASON_REQUIRED",
      [](auto& r) { r.set_reason(v1::TICKET_REASON_FORGOTTEN); }));
  cases.push_back(About<v1::ExtendTicketRequest>("extend without reason", &Stub::ExtendTicket, id,
                                                 kInvalid, "REASON_REQUIRED"));
  cases.push_back(About<v1::ExtendTicketRequest>(
      "extend with an essay", &Stub::ExtendTicket, id, kInvalid, "REASON_REQUIRED",
      [](auto& r) { r.set_reason(std::string(501, 'x')); }));
  cases.push_back(About<v1::ExtendTicketRequest>("extend GDPR to a date", &Stub::ExtendTicket, id,
                                                 kInvalid, "DUE_TIME_INVALID", [&](auto& r) {
                                                   extend(r);
                                                   r.mutable_due_time()->set_seconds(2'000'000'000);
                                                 }));
  Check(cases);
}

TEST_F(BadInput, ListsReportsAndWatches) {
  const auto list = [](auto change) {
    return [change](Harness& h, grpc::ClientContext* context) {
      v1::ListTicketsRequest request;
      change(request);
      v1::ListTicketsResponse out;
      return h.deletion->ListTickets(context, request, &out);
    };
  };
  const auto report = [this](const std::string& id, const std::string& report_id) {
    return [id, report_id](Harness& h, grpc::ClientContext* context) {
      v1::GetTicketReportRequest request;
      request.set_ticket_id(id);
      request.set_report_id(report_id);
      v1::VerificationReport out;
      return h.deletion->GetTicketReport(context, request, &out);
    };
  };
  const auto watch = [](const std::string& id) {
    return [id](Harness& h, grpc::ClientContext* context) {
      v1::WatchTicketRequest request;
      request.set_ticket_id(id);
      const auto reader = h.deletion->WatchTicket(context, request);
      v1::WatchTicketResponse out;
      EXPECT_FALSE(reader->Read(&out));
      return reader->Finish();
    };
  };
  const auto promotions = [](Harness& h, grpc::ClientContext* context) {
    v1::WatchPromotionsRequest request;
    request.set_model_id("other");
    const auto reader = h.models->WatchPromotions(context, request);
    v1::WatchPromotionsResponse out;
    EXPECT_FALSE(reader->Read(&out));
    return reader->Finish();
  };
  const std::string unknown = "t-" + std::string(32, '0');
  Check(
      {{"negative page", list([](auto& r) { r.set_page_size(-1); }), kInvalid, "PAGE_SIZE_INVALID",
        "page_size"},
       {"foreign token", list([](auto& r) { r.set_page_token("x"); }), kInvalid,
        "PAGE_TOKEN_INVALID", "page_token"},
       {"unknown state", list([](auto& r) { r.add_states(static_cast<v1::TicketState>(99)); }),
        kInvalid, "STATE_UNKNOWN", "states"},
       {"no state", list([](auto& r) { r.add_states(v1::TICKET_STATE_UNSPECIFIED); }), kInvalid,
        "STATE_UNKNOWN", "states"},
       {"odd model", list([](auto& r) { r.set_model_id("A b"); }), kInvalid, "MODEL_ID_MALFORMED",
        "model_id"},
       {"report of no ticket", report(unknown, ""), StatusCode::NOT_FOUND, "TICKET_NOT_FOUND", ""},
       {"report of an odd id", report("Jane", ""), StatusCode::NOT_FOUND, "TICKET_NOT_FOUND", ""},
       {"no report yet", report(ticket.ticket_id(), ""), StatusCode::NOT_FOUND, "REPORT_NOT_FOUND",
        ""},
       {"no such report", report(ticket.ticket_id(), std::string(64, 'a')), StatusCode::NOT_FOUND,
        "REPORT_NOT_FOUND", ""},
       {"watch of no ticket", watch(unknown), StatusCode::NOT_FOUND, "TICKET_NOT_FOUND", ""},
       {"watch of an odd id", watch("Jane"), StatusCode::NOT_FOUND, "TICKET_NOT_FOUND", ""},
       {"watch of no model", promotions, StatusCode::NOT_FOUND, "MODEL_NOT_FOUND", ""}});
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
  const std::vector<std::string> methods = {
      "lethe.v1.DeletionService/CreateTicket",    "lethe.v1.DeletionService/BatchCreateTickets",
      "lethe.v1.DeletionService/GetTicket",       "lethe.v1.DeletionService/ListTickets",
      "lethe.v1.DeletionService/WatchTicket",     "lethe.v1.DeletionService/ApproveTicket",
      "lethe.v1.DeletionService/DenyTicket",      "lethe.v1.DeletionService/HoldTicket",
      "lethe.v1.DeletionService/ReleaseTicket",   "lethe.v1.DeletionService/ExtendTicket",
      "lethe.v1.DeletionService/CancelTicket",    "lethe.v1.DeletionService/RetryTicket",
      "lethe.v1.DeletionService/GetTicketReport", "lethe.v1.ModelService/RegisterModel",
      "lethe.v1.ModelService/GetModel",           "lethe.v1.ModelService/ListModels",
      "lethe.v1.ModelService/ListCheckpoints",    "lethe.v1.ModelService/PromoteCheckpoint",
      "lethe.v1.ModelService/RollbackModel",      "lethe.v1.ModelService/WatchPromotions",
      "lethe.v1.WorkService/AcquireJob",          "lethe.v1.WorkService/Heartbeat",
      "lethe.v1.WorkService/CompleteJob",         "lethe.v1.WorkService/FailJob"};
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
