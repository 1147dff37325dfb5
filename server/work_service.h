// WorkService: every RPC of work_service.proto. For workers and verifiers only.
//
// Drain      while the server stops, AcquireJob ends with UNAVAILABLE/SERVER_DRAINING;
//            heartbeats and results are taken to the last. Leases outlive the server: a
//            restarted one gives each a full term. DIRECTIVE_DRAIN is never sent by a server
//            that stops: its workers go on and acquire again.
// Threads    handlers run on threads of gRPC and never block:
//            folders are digested on background threads.
#ifndef LETHE_SERVER_WORK_SERVICE_H_
#define LETHE_SERVER_WORK_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include <memory>

namespace lethe {

struct Core;
class Dispatcher;

// Both must outlive the service.
std::unique_ptr<grpc::Service> MakeWorkService(Core* core, Dispatcher* dispatcher);

}  // namespace lethe

#endif  // LETHE_SERVER_WORK_SERVICE_H_
