// One server-streaming call that shows the newest state of something. A slow reader skips states
// instead of piling them up: what waits to be sent is at most one message a key.
//
//   std::shared_ptr<TicketWatch> watch = TicketWatch::Start(
//       method, context, in, &request, [hub](auto* w) { hub->Remove(w); });
//   watch->Publish("", version, response);  // any thread, any number of times
//   watch->End(ServerDraining());           // after what was published has been sent
//
// Contract   `on_gone` runs once, when the caller left or the call was ended, and must not block.
//            Publish after the end does nothing.
// Order      for one key a message with a lower version than one already published is dropped.
// Threads    any.
#ifndef LETHE_SERVER_RPC_WATCH_CALL_H_
#define LETHE_SERVER_RPC_WATCH_CALL_H_

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "server/rpc/unary_call.h"

namespace lethe {

class WatchCall : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  // The reactor for gRPC, which owns itself until gRPC is done with it; the pointer is for
  // publishers. When the call may not start it has ended already and `*status` says why.
  static std::shared_ptr<WatchCall> Start(const RpcMethod& method,
                                          grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer& in,
                                          google::protobuf::MessageLite* request,
                                          absl::Status* status);

  // Set right after Start, before the handler returns to gRPC.
  void OnGone(std::function<void()> on_gone);

  void Publish(const std::string& key, uint64_t version,
               const google::protobuf::MessageLite& message);
  void End(const absl::Status& status);

 private:
  struct Pending {
    uint64_t version = 0;
    bool waiting = false;
    grpc::ByteBuffer bytes;
  };

  WatchCall(const RpcMethod& method, grpc::CallbackServerContext* context);
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  // Starts the next write, or finishes; leaves the lock to call gRPC.
  void Advance() ABSL_LOCKS_EXCLUDED(mu_);
  void Gone();

  const RpcMethod method_;
  const std::chrono::steady_clock::time_point start_;
  std::shared_ptr<WatchCall> self_;  // until OnDone
  bool entered_ = false;

  absl::Mutex mu_;
  std::map<std::string, Pending> pending_ ABSL_GUARDED_BY(mu_);
  grpc::ByteBuffer writing_bytes_;  // gRPC's while a write is under way
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool ending_ ABSL_GUARDED_BY(mu_) = false;
  bool finished_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status end_ ABSL_GUARDED_BY(mu_);
  std::function<void()> on_gone_ ABSL_GUARDED_BY(mu_);
};

}  // namespace lethe

#endif  // LETHE_SERVER_RPC_WATCH_CALL_H_
