// DeletionService: every RPC of deletion_service.proto. Handlers
// check, then read a snapshot or post a command.
//
// Threads    handlers run on threads of gRPC and never block;
//            lists and reports go to background threads.
#ifndef LETHE_SERVER_DELETION_SERVICE_H_
#define LETHE_SERVER_DELETION_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include <memory>

namespace lethe {

struct Core;

// `core` must outlive the service.
std::unique_ptr<grpc::Service> MakeDeletionService(Core* core);

}  // namespace lethe

#endif  // LETHE_SERVER_DELETION_SERVICE_H_
