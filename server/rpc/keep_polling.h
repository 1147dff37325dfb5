// KeepPolling: calls the server's own health check, within the process, a little more than twice a
// second.
//
//   KeepPolling keep_polling(grpc_server.get());   // while the server takes calls
//
// Why        a thread of gRPC's callback API that has had nothing to do for one second sleeps for a
//            tenth of a second and takes no call meanwhile (gRPC 1.51, completion_queue_cc.cc). On a
//            quiet server all of them do so together, and whoever calls then waits for as long. One
//            completion within each half second keeps at least one of them awake.
// Threads    gRPC's own. The destructor waits for a call under way; it must run before Shutdown.
#ifndef LETHE_SERVER_RPC_KEEP_POLLING_H_
#define LETHE_SERVER_RPC_KEEP_POLLING_H_

#include <grpcpp/alarm.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace lethe {

class KeepPolling {
 public:
  explicit KeepPolling(grpc::Server* server);
  ~KeepPolling();
  KeepPolling(const KeepPolling&) = delete;
  KeepPolling& operator=(const KeepPolling&) = delete;

 private:
  void WaitThenCall() ABSL_LOCKS_EXCLUDED(mu_);
  void Call() ABSL_LOCKS_EXCLUDED(mu_);

  grpc::GenericStub stub_;
  grpc::ByteBuffer request_, response_;
  std::optional<grpc::ClientContext> context_;  // one a call
  grpc::Alarm alarm_;
  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace lethe

#endif  // LETHE_SERVER_RPC_KEEP_POLLING_H_
