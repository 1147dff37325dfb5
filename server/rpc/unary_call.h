// One unary call from its bytes to its status: parsed, admitted, counted and timed the same way for
// every RPC.
//
//   grpc::ServerUnaryReactor* GetTicket(Context* context, const Bytes* in, Bytes* out) override {
//     return StartUnary<GetTicketRequest, Ticket>(
//         get_ticket_, context, in, out,
//         [this](auto* call) { call->Finish(store_->Get(call->request, &call->response)); });
//   }
//
// Contract   the handler sees to it that Finish is called exactly once, on any thread, now or
//            later; after that the call may be gone as soon as the handler has returned. It must not
//            block. A handler that leaves the call waiting and wants to hear that the caller went
//            away is started with StartWaiting and gives RunOnCancel a function before it returns;
//            that and Finish may race, and whoever owns the waiting decides who finishes.
// Why two    gRPC ends a call with a reactor of ours on one more thread; with its own default
//            reactor, which tells of nothing, it does not, and filing costs an eighth less.
// Threads    the handler runs on a thread of gRPC; Finish may be called on any.
#ifndef LETHE_SERVER_RPC_UNARY_CALL_H_
#define LETHE_SERVER_RPC_UNARY_CALL_H_

#include <grpcpp/grpcpp.h>

#include <atomic>
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

// For calls that wait: hears that the caller went away. Owns itself until gRPC is done with it.
class CancelReactor final : public grpc::ServerUnaryReactor {
 public:
  void Set(std::function<void()> on_cancel) ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    on_cancel_ = std::move(on_cancel);
  }

 private:
  void OnCancel() override ABSL_LOCKS_EXCLUDED(mu_) {
    std::function<void()> on_cancel;
    {
      absl::MutexLock lock(&mu_);
      on_cancel = on_cancel_;
    }
    if (on_cancel) on_cancel();
  }
  void OnDone() override { delete this; }

  absl::Mutex mu_;
  std::function<void()> on_cancel_ ABSL_GUARDED_BY(mu_);
};

class UnaryCallBase {
 public:
  // `reactor` is what gRPC knows of the call.
  UnaryCallBase(const RpcMethod& method, grpc::CallbackServerContext* context,
                grpc::ServerUnaryReactor* reactor);
  virtual ~UnaryCallBase() = default;
  UnaryCallBase(const UnaryCallBase&) = delete;
  UnaryCallBase& operator=(const UnaryCallBase&) = delete;

  // Ends the call with an error, or with what was written to gRPC's bytes when OK.
  void FinishWith(const absl::Status& status);
  // The handler, or the end, needs the call no longer: gone when both have said so.
  void Release() {
    if (holders_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

  // When the caller stops waiting; InfiniteFuture when it never said.
  absl::Time deadline() const { return absl::FromChrono(context_->deadline()); }
  bool cancelled() const { return context_->IsCancelled(); }
  const Principal& principal() const { return principal_; }

 protected:
  // Admits the call and finds out who calls.
  absl::Status Begin();

 private:
  const RpcMethod method_;
  grpc::CallbackServerContext* const context_;
  grpc::ServerUnaryReactor* const reactor_;
  const std::chrono::steady_clock::time_point start_;
  Principal principal_;
  bool entered_ = false;
  std::atomic<int> holders_{2};
};

template <typename Request, typename Response>
class UnaryCall final : public UnaryCallBase {
 public:
  // `cancel`: the reactor, for a call that waits; null for one that does not.
  UnaryCall(const RpcMethod& method, grpc::CallbackServerContext* context,
            grpc::ServerUnaryReactor* reactor, CancelReactor* cancel, grpc::ByteBuffer* out)
      : UnaryCallBase(method, context, reactor), cancel_(cancel), out_(out) {}

  Request request;
  Response response;

  // Only before the handler returns, and only of a call that was started with StartWaiting.
  void RunOnCancel(std::function<void()> on_cancel) { cancel_->Set(std::move(on_cancel)); }

  void Finish(const absl::Status& status) {
    if (status.ok()) *out_ = SerialiseMessage(response);
    FinishWith(status);
  }

  absl::Status Begin(const grpc::ByteBuffer& in) {
    LETHE_RETURN_IF_ERROR(UnaryCallBase::Begin());
    return ParseMessage(in, &request);
  }

 private:
  CancelReactor* const cancel_;
  grpc::ByteBuffer* const out_;
};

// What both ways of starting do once the call is there.
template <typename Call, typename Handler>
void RunHandler(Call* call, const grpc::ByteBuffer& in, Handler&& handler) {
  if (absl::Status status = call->Begin(in); !status.ok()) {
    call->Finish(status);
  } else {
    std::forward<Handler>(handler)(call);
  }
  call->Release();
}

template <typename Request, typename Response, typename Handler>
grpc::ServerUnaryReactor* StartUnary(const RpcMethod& method, grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* in, grpc::ByteBuffer* out,
                                     Handler&& handler) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  RunHandler(new UnaryCall<Request, Response>(method, context, reactor, nullptr, out), *in,
             std::forward<Handler>(handler));
  return reactor;
}

template <typename Request, typename Response, typename Handler>
grpc::ServerUnaryReactor* StartWaiting(const RpcMethod& method,
                                       grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* in, grpc::ByteBuffer* out,
                                       Handler&& handler) {
  auto* reactor = new CancelReactor;
  RunHandler(new UnaryCall<Request, Response>(method, context, reactor, reactor, out), *in,
             std::forward<Handler>(handler));
  return reactor;
}

}  // namespace lethe

#endif  // LETHE_SERVER_RPC_UNARY_CALL_H_
