// VerifierService: audits on demand. A handler enters the audit in the hub, then a background thread
// checks and tokenises; from there on the hub tells the caller.
//
// Threads    handlers run on threads of gRPC and never block.
#ifndef LETHE_SERVER_VERIFIER_SERVICE_H_
#define LETHE_SERVER_VERIFIER_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include <memory>

namespace lethe {

struct Core;
class Dispatcher;

// Both must outlive the service.
std::unique_ptr<grpc::Service> MakeVerifierService(Core* core, Dispatcher* dispatcher);

}  // namespace lethe

#endif  // LETHE_SERVER_VERIFIER_SERVICE_H_
