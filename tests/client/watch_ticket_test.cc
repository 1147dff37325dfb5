#include "client/watch_ticket.h"

#include "base/status.h"
#include "client/channel.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/grpc_test_server.h"
#include "tests/support/seeded_random.h"

namespace lethe {
namespace {

using ::testing::ElementsAre;

// Each stream sends its list of states, then ends with its status.
class ScriptedTickets : public v1::DeletionService::Service {
 public:
  struct Stream {
    std::vector<v1::TicketState> states;
    grpc::Status end;
  };
  std::vector<Stream> streams;
  int opened = 0;
  std::vector<grpc::Status> gets;  // answers of GetTicket, in turn; then OK
  int got = 0;

  grpc::Status WatchTicket(grpc::ServerContext* context, const v1::WatchTicketRequest* request,
                           grpc::ServerWriter<v1::WatchTicketResponse>* writer) override {
    const Stream& stream = streams.at(opened++);
    for (v1::TicketState state : stream.states) {
      v1::WatchTicketResponse response;
      response.mutable_ticket()->set_ticket_id(request->ticket_id());
      response.mutable_ticket()->set_state(state);
      writer->Write(response);
    }
    return stream.end;
  }
  grpc::Status GetTicket(grpc::ServerContext*, const v1::GetTicketRequest* request,
                         v1::Ticket* ticket) override {
    ticket->set_ticket_id(request->ticket_id());
    return got < static_cast<int>(gets.size()) ? gets[got++] : grpc::Status::OK;
  }
};

class WatchTicketTest : public ::testing::Test {
 protected:
  WatchTicketTest() : server_({&tickets_}) {
    stub_ = v1::DeletionService::NewStub(*OpenChannel({.address = server_.address()}));
  }
  absl::Status Watch(Watch at_end = Watch::kGoOn) {
    return WatchTicket(stub_.get(), "t-1", caller_, [&](const v1::Ticket& ticket) {
      seen_.push_back(ticket.state());
      return IsSettled(ticket.state()) ? Watch::kEnough : at_end;
    });
  }

  ScriptedTickets tickets_;
  GrpcTestServer server_;
  std::unique_ptr<v1::DeletionService::Stub> stub_;
  SeededRandom random_{5};
  Caller caller_{
      {.retry = {.first_pause = absl::Milliseconds(1), .max_attempts = 3}, .random = &random_}};
  std::vector<v1::TicketState> seen_;
};

TEST_F(WatchTicketTest, FollowsThroughReconnectsWithoutRepeating) {
  tickets_.streams = {
      {{v1::TICKET_STATE_QUEUED, v1::TICKET_STATE_UNLEARNING},
       WireError(grpc::StatusCode::UNAVAILABLE, "SERVER_DRAINING")},
      {{}, grpc::Status(grpc::StatusCode::CANCELLED, "")},
      {{v1::TICKET_STATE_UNLEARNING, v1::TICKET_STATE_COMPLETED}, grpc::Status::OK}};
  EXPECT_TRUE(Watch().ok());
  EXPECT_THAT(seen_, ElementsAre(v1::TICKET_STATE_QUEUED, v1::TICKET_STATE_UNLEARNING,
                                 v1::TICKET_STATE_COMPLETED));
  EXPECT_EQ(tickets_.opened, 3);
}

TEST_F(WatchTicketTest, AnUnknownTicketIsNotAskedForAgain) {
  tickets_.streams = {{{}, WireError(grpc::StatusCode::NOT_FOUND, "TICKET_NOT_FOUND")}};
  EXPECT_EQ(ErrorReason(Watch()), "TICKET_NOT_FOUND");
  EXPECT_EQ(tickets_.opened, 1);
}

TEST_F(WatchTicketTest, GivesUpAfterTheLastAttempt) {
  const auto gone = WireError(grpc::StatusCode::UNAVAILABLE, "SERVER_DRAINING");
  tickets_.streams = {{{}, gone}, {{}, gone}, {{}, gone}};
  EXPECT_EQ(ErrorReason(Watch()), "SERVER_DRAINING");
  EXPECT_EQ(tickets_.opened, 3);
}

TEST_F(WatchTicketTest, CallsAreRepeatedAsTheTableSays) {
  tickets_.gets = {WireError(grpc::StatusCode::UNAVAILABLE, "SERVER_DRAINING"),
                   grpc::Status(grpc::StatusCode::CANCELLED, "")};
  v1::GetTicketRequest request;
  request.set_ticket_id("t-9");
  auto ticket = caller_.Call<v1::DeletionService::StubInterface>(
      stub_.get(), &v1::DeletionService::StubInterface::GetTicket, request, Repeat::kSafe);
  ASSERT_TRUE(ticket.ok()) << ticket.status();
  EXPECT_EQ(ticket->ticket_id(), "t-9");

  tickets_.got = 0;
  ticket = caller_.Call<v1::DeletionService::StubInterface>(
      stub_.get(), &v1::DeletionService::StubInterface::GetTicket, request, Repeat::kUnsafe);
  // The refusal of a draining server is repeated; what was cancelled midway is not.
  EXPECT_EQ(ticket.status().code(), absl::StatusCode::kCancelled);
}

TEST_F(WatchTicketTest, AStopEndsACallInFlight) {
  Stop stop;
  stop.Request();
  const Caller caller({.stop = &stop, .random = &random_});
  v1::GetTicketRequest request;
  auto ticket = caller.Call<v1::DeletionService::StubInterface>(
      stub_.get(), &v1::DeletionService::StubInterface::GetTicket, request, Repeat::kSafe);
  EXPECT_EQ(ErrorReason(ticket.status()), "STOPPED");
}

TEST_F(WatchTicketTest, NobodyThere) {
  const std::string address = server_.address();
  server_.Stop();
  v1::GetTicketRequest request;
  auto ticket = caller_.Call<v1::DeletionService::StubInterface>(
      stub_.get(), &v1::DeletionService::StubInterface::GetTicket, request, Repeat::kSafe);
  EXPECT_EQ(ErrorReason(ticket.status()), "NOT_REACHABLE");
}

TEST(Channel, RefusesWhatIsNoAddress) {
  for (const char* address : {"", "host", ":1", "host:"}) {
    EXPECT_EQ(ErrorReason(OpenChannel({.address = address}).status()), "ADDRESS_MALFORMED")
        << address;
  }
  EXPECT_EQ(ErrorReason(OpenChannel({.address = "h:1", .tls_key_file = "k"}).status()),
            "TLS_INCOMPLETE");
}

}  // namespace
}  // namespace lethe
