#include "server/verifier_service.h"

#include <lethe/v1/verifier_service.grpc.pb.h>

#include <utility>

#include "server/audit_request.h"
#include "server/core.h"
#include "server/dispatcher.h"
#include "server/rpc/watch_call.h"

namespace lethe {
namespace {

using Bytes = grpc::ByteBuffer;
using Context = grpc::CallbackServerContext;
using Raw =
    v1::VerifierService::WithRawCallbackMethod_AuditCheckpoint<v1::VerifierService::Service>;

class VerifierServiceImpl final : public Raw {
 public:
  VerifierServiceImpl(Core* core, Dispatcher* dispatcher) : core_(core), dispatcher_(dispatcher) {}

  grpc::ServerWriteReactor<Bytes>* AuditCheckpoint(Context* context, const Bytes* in) override {
    auto request = std::make_shared<v1::AuditCheckpointRequest>();
    absl::Status status;
    const auto call = WatchCall::Start(audit_, context, *in, request.get(), &status);
    if (status.ok()) status = CheckAuditForm(*request, *core_->config);
    if (!status.ok()) {
      call->End(status);
      return call.get();
    }
    const std::string id = NewId(core_->random, 'a');
    call->OnGone([hub = core_->audits, id] { hub->Leave(id); });
    core_->audits->Enter(id, call);
    if (!core_->background->Run([this, call, request, id] { Begin(call.get(), *request, id); })) {
      call->End(RetryLater(absl::StatusCode::kResourceExhausted, "SERVER_BUSY",
                           "too many calls wait for a thread; call again a little later",
                           absl::Milliseconds(500)));
    }
    return call.get();
  }

 private:
  void Begin(WatchCall* call, const v1::AuditCheckpointRequest& request, const std::string& id) {
    absl::StatusOr<Audit> audit = ResolveAudit(*core_, request, id);
    absl::Status status = audit.status();
    if (status.ok()) status = core_->audits->Begin(id, *std::move(audit));
    if (status.ok()) {
      dispatcher_->Poke();
    } else {
      call->End(status);
    }
  }

  Core* const core_;
  Dispatcher* const dispatcher_;
  const RpcMethod audit_ = core_->Method("lethe.v1.VerifierService", "AuditCheckpoint",
                                         core_->audit_calls, "server_stream");
};

}  // namespace

std::unique_ptr<grpc::Service> MakeVerifierService(Core* core, Dispatcher* dispatcher) {
  return std::make_unique<VerifierServiceImpl>(core, dispatcher);
}

}  // namespace lethe
