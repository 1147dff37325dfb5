// Bad input as tables: what is sent, and the code, reason and field that must come back. The server
// has small limits, a model "m" that is ready and another that is being prepared, a ticket that is
// queued and one that is cancelled.
//
//   Check({{"unknown model", get("other"), StatusCode::NOT_FOUND, "MODEL_NOT_FOUND", ""}});
//
// After every case the store must be as before.
#ifndef LETHE_TESTS_SERVER_BAD_INPUT_H_
#define LETHE_TESTS_SERVER_BAD_INPUT_H_

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "tests/server/harness.h"

namespace lethe {

inline constexpr grpc::StatusCode kInvalid = grpc::StatusCode::INVALID_ARGUMENT;

struct Case {
  std::string name;
  std::function<grpc::Status(Harness&, grpc::ClientContext*)> call;
  grpc::StatusCode code;
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

}  // namespace lethe

#endif  // LETHE_TESTS_SERVER_BAD_INPUT_H_
