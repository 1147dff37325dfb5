// DeletionService, ModelService and VerifierService that answer what a test
// tells them and keep what they were asked.
//
// Threads    set the answers before the calls begin; gRPC's threads read them.
#ifndef LETHE_TESTS_SUPPORT_FAKE_LETHE_SERVICES_H_
#define LETHE_TESTS_SUPPORT_FAKE_LETHE_SERVICES_H_

#include <vector>

#include "lethe/v1/deletion_service.grpc.pb.h"
#include "lethe/v1/model_service.grpc.pb.h"
#include "lethe/v1/verifier_service.grpc.pb.h"

namespace lethe {

class FakeDeletionService : public v1::DeletionService::Service {
 public:
  grpc::Status answer = grpc::Status::OK;  // of every call
  v1::Ticket ticket;                       // what calls about one ticket give
  std::vector<v1::Ticket> tickets;         // what ListTickets pages through
  std::vector<v1::Ticket> updates;         // what WatchTicket streams
  v1::VerificationReport report;

  std::vector<v1::CreateTicketRequest> creates;
  v1::BatchCreateTicketsRequest batch;
  v1::ListTicketsRequest list;
  v1::DenyTicketRequest deny;
  v1::ExtendTicketRequest extend;
  std::vector<std::string> verbs;  // "approve t-1 etag"

  grpc::Status CreateTicket(grpc::ServerContext*, const v1::CreateTicketRequest* request,
                            v1::Ticket* response) override {
    creates.push_back(*request);
    *response = ticket;
    return answer;
  }
  grpc::Status BatchCreateTickets(grpc::ServerContext*,
                                  const v1::BatchCreateTicketsRequest* request,
                                  v1::BatchCreateTicketsResponse* response) override {
    batch = *request;
    for (int i = 0; i < request->requests_size(); ++i) {
      *response->add_tickets() = ticket;
      response->mutable_tickets(i)->set_ticket_id("t-" + std::to_string(i));
    }
    return answer;
  }
  grpc::Status GetTicket(grpc::ServerContext*, const v1::GetTicketRequest*,
                         v1::Ticket* response) override {
    *response = ticket;
    return answer;
  }
  grpc::Status ListTickets(grpc::ServerContext*, const v1::ListTicketsRequest* request,
                           v1::ListTicketsResponse* response) override {
    list = *request;
    size_t at = request->page_token().empty() ? 0 : std::stoul(request->page_token());
    for (int i = 0; i < request->page_size() && at < tickets.size(); ++i) {
      *response->add_tickets() = tickets[at++];
    }
    if (at < tickets.size()) response->set_next_page_token(std::to_string(at));
    return answer;
  }
  grpc::Status WatchTicket(grpc::ServerContext*, const v1::WatchTicketRequest*,
                           grpc::ServerWriter<v1::WatchTicketResponse>* writer) override {
    for (const v1::Ticket& update : updates) {
      v1::WatchTicketResponse response;
      *response.mutable_ticket() = update;
      writer->Write(response);
    }
    return answer;
  }
  grpc::Status GetTicketReport(grpc::ServerContext*, const v1::GetTicketReportRequest*,
                               v1::VerificationReport* response) override {
    *response = report;
    return answer;
  }
  grpc::Status ApproveTicket(grpc::ServerContext*, const v1::ApproveTicketRequest* request,
                             v1::Ticket* response) override {
    return Verb("approve", *request, response);
  }
  grpc::Status DenyTicket(grpc::ServerContext*, const v1::DenyTicketRequest* request,
                          v1::Ticket* response) override {
    deny = *request;
    return Verb("deny", *request, response);
  }
  grpc::Status HoldTicket(grpc::ServerContext*, const v1::HoldTicketRequest* request,
                          v1::Ticket* response) override {
    return Verb("hold", *request, response);
  }
  grpc::Status ReleaseTicket(grpc::ServerContext*, const v1::ReleaseTicketRequest* request,
                             v1::Ticket* response) override {
    return Verb("release", *request, response);
  }
  grpc::Status ExtendTicket(grpc::ServerContext*, const v1::ExtendTicketRequest* request,
                            v1::Ticket* response) override {
    extend = *request;
    return Verb("extend", *request, response);
  }
  grpc::Status CancelTicket(grpc::ServerContext*, const v1::CancelTicketRequest* request,
                            v1::Ticket* response) override {
    return Verb("cancel", *request, response);
  }
  grpc::Status RetryTicket(grpc::ServerContext*, const v1::RetryTicketRequest* request,
                           v1::Ticket* response) override {
    return Verb("retry", *request, response);
  }

 private:
  template <typename Request>
  grpc::Status Verb(const std::string& verb, const Request& request, v1::Ticket* response) {
    verbs.push_back(verb + " " + request.ticket_id() + " " + request.etag());
    *response = ticket;
    return answer;
  }
};

class FakeModelService : public v1::ModelService::Service {
 public:
  grpc::Status answer = grpc::Status::OK;
  v1::Model model;
  std::vector<v1::ModelState> states;  // what GetModel shows, in turn; then the last
  std::vector<v1::Corpus> corpora;     // likewise
  std::vector<v1::Checkpoint> checkpoints;

  v1::RegisterModelRequest registered;
  v1::RegisterCorpusRequest corpus;
  v1::RollbackModelRequest rollback;
  v1::PromoteCheckpointRequest promote;

  grpc::Status RegisterModel(grpc::ServerContext*, const v1::RegisterModelRequest* request,
                             v1::Model* response) override {
    registered = *request;
    *response = model;
    return answer;
  }
  grpc::Status RegisterCorpus(grpc::ServerContext*, const v1::RegisterCorpusRequest* request,
                              v1::Model* response) override {
    corpus = *request;
    *response = model;
    return answer;
  }
  grpc::Status GetModel(grpc::ServerContext*, const v1::GetModelRequest*,
                        v1::Model* response) override {
    if (!corpora.empty()) {
      *model.mutable_corpus() = corpora.front();
      if (corpora.size() > 1) corpora.erase(corpora.begin());
    }
    if (!states.empty()) {
      model.set_state(states.front());
      if (states.size() > 1) states.erase(states.begin());
    }
    *response = model;
    return answer;
  }
  grpc::Status ListModels(grpc::ServerContext*, const v1::ListModelsRequest*,
                          v1::ListModelsResponse* response) override {
    *response->add_models() = model;
    return answer;
  }
  grpc::Status ListCheckpoints(grpc::ServerContext*, const v1::ListCheckpointsRequest*,
                               v1::ListCheckpointsResponse* response) override {
    for (const v1::Checkpoint& checkpoint : checkpoints) *response->add_checkpoints() = checkpoint;
    return answer;
  }
  grpc::Status PromoteCheckpoint(grpc::ServerContext*, const v1::PromoteCheckpointRequest* request,
                                 v1::Model* response) override {
    promote = *request;
    *response = model;
    return answer;
  }
  grpc::Status RollbackModel(grpc::ServerContext*, const v1::RollbackModelRequest* request,
                             v1::Model* response) override {
    rollback = *request;
    *response = model;
    return answer;
  }
};

class FakeVerifierService : public v1::VerifierService::Service {
 public:
  grpc::Status answer = grpc::Status::OK;
  std::vector<v1::AuditCheckpointResponse> responses;  // what the stream shows

  v1::AuditCheckpointRequest audit;

  grpc::Status AuditCheckpoint(grpc::ServerContext*, const v1::AuditCheckpointRequest* request,
                               grpc::ServerWriter<v1::AuditCheckpointResponse>* writer) override {
    audit = *request;
    for (const v1::AuditCheckpointResponse& response : responses) writer->Write(response);
    return answer;
  }
};

}  // namespace lethe

#endif  // LETHE_TESTS_SUPPORT_FAKE_LETHE_SERVICES_H_
