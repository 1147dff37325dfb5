#include "server/rpc/keep_polling.h"

#include <chrono>
#include <string>

namespace lethe {
namespace {

constexpr std::chrono::milliseconds kEvery(450);
constexpr char kMethod[] = "/grpc.health.v1.Health/Check";

}  // namespace

KeepPolling::KeepPolling(grpc::Server* server)
    : stub_(server->InProcessChannel(grpc::ChannelArguments())) {
  const grpc::Slice empty("", 0);  // HealthCheckRequest of no service: the whole server
  request_ = grpc::ByteBuffer(&empty, 1);
  WaitThenCall();
}

KeepPolling::~KeepPolling() {
  absl::MutexLock lock(&mu_);
  stopping_ = true;
  alarm_.Cancel();
  mu_.Await(absl::Condition(&stopped_));
}

void KeepPolling::WaitThenCall() {
  absl::MutexLock lock(&mu_);
  if (stopping_) {
    stopped_ = true;
    return;
  }
  alarm_.Set(std::chrono::system_clock::now() + kEvery, [this](bool) { Call(); });
}

void KeepPolling::Call() {
  {
    absl::MutexLock lock(&mu_);
    if (stopping_) {
      stopped_ = true;
      return;
    }
  }
  context_.emplace();
  context_->set_deadline(std::chrono::system_clock::now() + kEvery);
  response_.Clear();
  stub_.UnaryCall(&*context_, kMethod, grpc::StubOptions(), &request_, &response_,
                  [this](const grpc::Status&) { WaitThenCall(); });
}

}  // namespace lethe
