// One unary call from its bytes to its status: parsed, admitted, counted and timed the same way for
// every RPC.
//
//   grpc::ServerUnaryReactor* GetTicket(Context* context, const Bytes* in, Bytes* out) override {
//     return StartUnary<GetTicketRequest, Ticket>(
//         get_ticket_, context, in, out,
//         [this](auto* call) { call->Finish(store_->Get(call->request, &call->response)); });
//   }
//
// Contract   the handler sees to it that Finish is called exactly once, on any thread, now
//            or later; the call is gone after that. It must not block. A handler that
//            leaves the call waiting and wants to hear that the caller went away gives
//            RunOnCancel a function before it returns; that and Finish may race, and whoever owns
//            the waiting decides who finishes.
// Threads    the handler runs on a thread of gRPC; Finish may be called on any.
#ifndef LETHE_SERVER_RPC_UNARY_CALL_H_
#define LETHE_SERVER_RPC_UNARY_CALL_H_

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "server/errors.h"
#include "server/identity/principal.h"
#include "server/metrics.h"
#include "server/rpc/call_gate.h"
#include "server/rpc/wire.h"

namespace lethe {

// What all calls of one RPC share.
struct RpcMethod {
  MethodMetrics* metrics;
  CallGate* gate;
  const Identity* identity;
};

PeerFacts FactsOf(const grpc::CallbackServerContext& context);

class UnaryCallBase : public grpc::ServerUnaryReactor {
 public:
  UnaryCallBase(const RpcMethod& method, grpc::CallbackServerContext* context);

  // Ends the call with an error, or with `reply_` when OK.
  void FinishWith(const absl::Status& status);

  // When the caller stops waiting; InfiniteFuture when it never said.
  absl::Time deadline() const { return absl::FromChrono(context_->deadline()); }
  bool cancelled() const { return context_->IsCancelled(); }
  const Principal& principal() const { return principal_; }

  void RunOnCancel(std::function<void()> on_cancel) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    on_cancel_ = std::move(on_cancel);
  }

 protected:
  // Admits the call and finds out who calls.
  absl::Status Begin();

 private:
  void OnCancel() override {
    std::function<void()> on_cancel;
    {
      absl::MutexLock lock(&mu_);
      on_cancel = on_cancel_;
    }
    if (on_cancel) on_cancel();
  }
  void OnDone() override { delete this; }

  const RpcMethod method_;
  grpc::CallbackServerContext* const context_;
  const std::chrono::steady_clock::time_point start_;
  Principal principal_;
  bool entered_ = false;
  absl::Mutex mu_;
  std::function<void()> on_cancel_ ABSL_GUARDED_BY(mu_);
};

template <typename Request, typename Response>
class UnaryCall final : public UnaryCallBase {
 public:
  UnaryCall(const RpcMethod& method, grpc::CallbackServerContext* context, grpc::ByteBuffer* out)
      : UnaryCallBase(method, context), out_(out) {}

  Request request;
  Response response;

  void Finish(const absl::Status& status) {
    if (status.ok()) *out_ = SerialiseMessage(response);
    FinishWith(status);
  }

  absl::Status Begin(const grpc::ByteBuffer& in) {
    LETHE_RETURN_IF_ERROR(UnaryCallBase::Begin());
    return ParseMessage(in, &request);
  }

 private:
  grpc::ByteBuffer* const out_;
};

template <typename Request, typename Response, typename Handler>
grpc::ServerUnaryReactor* StartUnary(const RpcMethod& method, grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* in, grpc::ByteBuffer* out,
                                     Handler&& handler) {
  auto* call = new UnaryCall<Request, Response>(method, context, out);
  if (absl::Status status = call->Begin(*in); !status.ok()) {
    call->Finish(status);
  } else {
    std::forward<Handler>(handler)(call);
  }
  return call;
}

}  // namespace lethe

#endif  // LETHE_SERVER_RPC_UNARY_CALL_H_
