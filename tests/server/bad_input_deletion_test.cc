// Every RPC of DeletionService refuses every kind of bad input with a code and a reason, and the
// store is the same afterwards.
#include <gtest/gtest.h>

#include <functional>

#include "absl/strings/str_cat.h"
#include "tests/server/bad_input.h"

namespace lethe {
namespace {

using grpc::StatusCode;

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

}  // namespace
}  // namespace lethe
