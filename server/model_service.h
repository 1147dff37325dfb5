// ModelService: every RPC of model_service.proto.
//
// Threads    handlers run on threads of gRPC and never block: files are read on background threads.
#ifndef LETHE_SERVER_MODEL_SERVICE_H_
#define LETHE_SERVER_MODEL_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include <memory>

namespace lethe {

struct Core;

// `core` must outlive the service.
std::unique_ptr<grpc::Service> MakeModelService(Core* core);

}  // namespace lethe

#endif  // LETHE_SERVER_MODEL_SERVICE_H_
