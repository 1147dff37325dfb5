#include "server/rpc/watch_call.h"

#include <utility>

namespace lethe {

WatchCall::WatchCall(const RpcMethod& method, grpc::CallbackServerContext* context)
    : method_(method), start_(std::chrono::steady_clock::now()) {
  method_.metrics->started->Increment();
}

std::shared_ptr<WatchCall> WatchCall::Start(const RpcMethod& method,
                                            grpc::CallbackServerContext* context,
                                            const grpc::ByteBuffer& in,
                                            google::protobuf::MessageLite* request,
                                            absl::Status* status) {
  std::shared_ptr<WatchCall> call(new WatchCall(method, context));
  call->self_ = call;
  *status = method.gate->Enter();
  if (status->ok()) {
    call->entered_ = true;
    if (auto principal = method.identity->Identify(FactsOf(*context)); !principal.ok())
      *status = principal.status();
  }
  if (status->ok()) *status = ParseMessage(in, request);
  if (!status->ok()) call->End(*status);
  return call;
}

void WatchCall::OnGone(std::function<void()> on_gone) {
  absl::MutexLock lock(&mu_);
  on_gone_ = std::move(on_gone);
}

void WatchCall::Publish(const std::string& key, uint64_t version,
                        const google::protobuf::MessageLite& message) {
  {
    absl::MutexLock lock(&mu_);
    if (ending_) return;
    Pending& pending = pending_[key];
    if (version < pending.version) return;
    pending.version = version;
    pending.waiting = true;
    pending.bytes = SerialiseMessage(message);
  }
  Advance();
}

void WatchCall::End(const absl::Status& status) {
  {
    absl::MutexLock lock(&mu_);
    if (ending_) return;
    ending_ = true;
    end_ = status;
  }
  Advance();
  Gone();
}

void WatchCall::Advance() {
  bool write = false, finish = false;
  absl::Status status;
  {
    absl::MutexLock lock(&mu_);
    if (writing_ || finished_) return;
    for (auto& [key, pending] : pending_) {
      if (!pending.waiting) continue;
      pending.waiting = false;
      writing_bytes_ = std::move(pending.bytes);
      writing_ = write = true;
      break;
    }
    if (!write && ending_) {
      finished_ = finish = true;
      status = end_;
    }
  }
  if (write) StartWrite(&writing_bytes_);
  if (!finish) return;
  const int code = static_cast<int>(status.code());
  method_.metrics->handled[code >= 0 && code < kGrpcCodes ? code : 2]->Increment();
  method_.metrics->seconds->Observe(
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count());
  if (entered_) method_.gate->Leave();
  Finish(ToGrpcStatus(status));
}

void WatchCall::OnWriteDone(bool ok) {
  {
    absl::MutexLock lock(&mu_);
    writing_ = false;
    if (!ok) pending_.clear();
  }
  if (ok) {
    method_.metrics->messages_sent->Increment();
    Advance();
  } else {
    OnCancel();
  }
}

void WatchCall::OnCancel() {
  {
    // Whatever still waits cannot be delivered.
    absl::MutexLock lock(&mu_);
    for (auto& [key, pending] : pending_) pending.waiting = false;
  }
  End(Error(absl::StatusCode::kCancelled, "CALLER_LEFT", "the caller cancelled the call"));
  Advance();
}

void WatchCall::Gone() {
  std::function<void()> on_gone;
  {
    absl::MutexLock lock(&mu_);
    on_gone = std::exchange(on_gone_, nullptr);
  }
  if (on_gone) on_gone();
}

void WatchCall::OnDone() { self_.reset(); }

}  // namespace lethe
