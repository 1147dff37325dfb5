// What gRPC's health service says, as it says it: each Next waits for the next change.
//
//   HealthWatch health(channel);
//   EXPECT_EQ(health.Next(), HealthWatch::kServing);
//   ... the store fails ...
//   EXPECT_EQ(health.Next(), HealthWatch::kNotServing);
//
// The messages of grpc.health.v1 are of one field each, so they are written and read here as bytes.
// Threads    one.
#ifndef LETHE_TESTS_SUPPORT_HEALTH_WATCH_H_
#define LETHE_TESTS_SUPPORT_HEALTH_WATCH_H_

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

namespace lethe {

class HealthWatch {
 public:
  enum Serving { kEnded = -1, kUnknown = 0, kServing = 1, kNotServing = 2 };

  // "" is the whole server.
  explicit HealthWatch(const std::shared_ptr<grpc::Channel>& channel,
                       const std::string& service = "")
      : stub_(channel) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(2));
    call_ = stub_.PrepareCall(&context_, "/grpc.health.v1.Health/Watch", &queue_);
    call_->StartCall(this);
    Wait();
    const std::string request = std::string("\x0a") + static_cast<char>(service.size()) + service;
    grpc::Slice slice(request);
    call_->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), this);
    Wait();
  }
  ~HealthWatch() {
    context_.TryCancel();
    grpc::Status status;
    call_->Finish(&status, this);
    Wait();
    queue_.Shutdown();
    void* tag = nullptr;
    bool ok = false;
    while (queue_.Next(&tag, &ok)) {
    }
  }
  HealthWatch(const HealthWatch&) = delete;
  HealthWatch& operator=(const HealthWatch&) = delete;

  // kEnded: the server closed the stream.
  Serving Next() {
    grpc::ByteBuffer bytes;
    call_->Read(&bytes, this);
    if (!Wait()) return kEnded;
    std::vector<grpc::Slice> slices;
    if (!bytes.Dump(&slices).ok()) return kEnded;
    std::string message;
    for (const grpc::Slice& slice : slices) {
      message.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
    return message.size() == 2 && message[0] == '\x08' ? static_cast<Serving>(message[1])
                                                       : kUnknown;
  }

 private:
  bool Wait() {
    void* tag = nullptr;
    bool ok = false;
    return queue_.Next(&tag, &ok) && ok;
  }

  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  grpc::CompletionQueue queue_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

}  // namespace lethe

#endif  // LETHE_TESTS_SUPPORT_HEALTH_WATCH_H_
