#include "server/rpc/unary_call.h"

namespace lethe {

PeerFacts FactsOf(const grpc::CallbackServerContext& context) {
  PeerFacts facts{.address = context.peer()};
  if (const auto auth = context.auth_context(); auth && auth->IsPeerAuthenticated()) {
    for (const grpc::string_ref& name : auth->GetPeerIdentity())
      facts.subjects.emplace_back(name.data(), name.size());
  }
  return facts;
}

UnaryCallBase::UnaryCallBase(const RpcMethod& method, grpc::CallbackServerContext* context,
                             grpc::ServerUnaryReactor* reactor)
    : method_(method),
      context_(context),
      reactor_(reactor),
      start_(std::chrono::steady_clock::now()) {
  method_.metrics->started->Increment();
}

absl::Status UnaryCallBase::Begin() {
  LETHE_RETURN_IF_ERROR(method_.gate->Enter());
  entered_ = true;
  if (context_->deadline() <= std::chrono::system_clock::now()) {
    return Error(absl::StatusCode::kDeadlineExceeded, "DEADLINE_PASSED",
                 "the caller's deadline had passed before the call was read");
  }
  LETHE_ASSIGN_OR_RETURN(principal_, method_.identity->Identify(FactsOf(*context_)));
  return absl::OkStatus();
}

void UnaryCallBase::FinishWith(const absl::Status& status) {
  const int code = static_cast<int>(status.code());
  method_.metrics->handled[code >= 0 && code < kGrpcCodes ? code : 2]->Increment();
  method_.metrics->seconds->Observe(
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count());
  if (status.ok()) method_.metrics->messages_sent->Increment();
  if (entered_) method_.gate->Leave();
  reactor_->Finish(ToGrpcStatus(status));
  Release();
}

}  // namespace lethe
