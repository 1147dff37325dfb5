// A WorkService that a test scripts: it hands out the jobs it is given and answers as its hooks
// say.
//
//   FakeWorkService work;
//   work.Offer(job);
//   work.on_heartbeat = [](const v1::HeartbeatRequest&, v1::HeartbeatResponse* r) {
//     r->set_directive(v1::DIRECTIVE_DRAIN);
//     return grpc::Status::OK;
//   };
//   ASSERT_TRUE(work.WaitFor([&] { return work.heartbeats.size() >= 3; }));
//
// Threads    hooks run on gRPC's threads, under the service's mutex; set
//            them before the calls begin or through Do.
#ifndef LETHE_TESTS_SUPPORT_FAKE_WORK_SERVICE_H_
#define LETHE_TESTS_SUPPORT_FAKE_WORK_SERVICE_H_

#include <deque>
#include <functional>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "lethe/v1/work_service.grpc.pb.h"

namespace lethe {

class FakeWorkService : public v1::WorkService::Service {
 public:
  using HeartbeatHook =
      std::function<grpc::Status(const v1::HeartbeatRequest&, v1::HeartbeatResponse*)>;
  using CompleteHook = std::function<grpc::Status(const v1::CompleteJobRequest&)>;
  using FailHook = std::function<grpc::Status(const v1::FailJobRequest&)>;

  // Hooks; without one a call succeeds (and a heartbeat says CONTINUE).
  HeartbeatHook on_heartbeat;
  CompleteHook on_complete;
  FailHook on_fail;
  grpc::Status acquire_answer = grpc::Status::OK;

  // What came in, in order. Read them inside WaitFor or Do.
  std::vector<v1::AcquireJobRequest> acquires;
  std::vector<v1::HeartbeatRequest> heartbeats;
  std::vector<v1::CompleteJobRequest> completes;
  std::vector<v1::FailJobRequest> fails;

  static v1::Job MakeJob(v1::JobKind kind, uint64_t fence, absl::Duration heartbeat) {
    v1::Job job;
    job.set_job_id("j-0000000000000000000000000000000" + std::to_string(fence % 10));
    job.set_fence(fence);
    job.set_kind(kind);
    job.set_model_id("demo");
    job.mutable_heartbeat_interval()->set_nanos(
        static_cast<int32_t>(absl::ToInt64Nanoseconds(heartbeat)));
    return job;
  }

  void Offer(const v1::Job& job) {
    absl::MutexLock lock(&mu_);
    jobs_.push_back(job);
  }

  // Waits for an event; false after a time that only a fault takes.
  bool WaitFor(const std::function<bool()>& event) {
    absl::MutexLock lock(&mu_);
    return mu_.AwaitWithTimeout(absl::Condition(&event, &std::function<bool()>::operator()),
                                absl::Seconds(30));
  }
  void Do(const std::function<void()>& action) {
    absl::MutexLock lock(&mu_);
    action();
  }

  grpc::Status AcquireJob(grpc::ServerContext* context, const v1::AcquireJobRequest* request,
                          v1::AcquireJobResponse* response) override {
    absl::MutexLock lock(&mu_);
    acquires.push_back(*request);
    if (!acquire_answer.ok()) return acquire_answer;
    const absl::Time until = absl::Now() + absl::Seconds(request->wait().seconds()) +
                             absl::Nanoseconds(request->wait().nanos());
    while (jobs_.empty() && absl::Now() < until && !context->IsCancelled()) {
      mu_.AwaitWithTimeout(absl::Condition(this, &FakeWorkService::HasJob), absl::Milliseconds(20));
    }
    if (context->IsCancelled() || jobs_.empty()) return grpc::Status::OK;
    *response->mutable_job() = jobs_.front();
    jobs_.pop_front();
    return grpc::Status::OK;
  }

  grpc::Status Heartbeat(grpc::ServerContext*, const v1::HeartbeatRequest* request,
                         v1::HeartbeatResponse* response) override {
    absl::MutexLock lock(&mu_);
    heartbeats.push_back(*request);
    response->set_directive(v1::DIRECTIVE_CONTINUE);
    return on_heartbeat ? on_heartbeat(*request, response) : grpc::Status::OK;
  }

  grpc::Status CompleteJob(grpc::ServerContext*, const v1::CompleteJobRequest* request,
                           v1::CompleteJobResponse*) override {
    absl::MutexLock lock(&mu_);
    completes.push_back(*request);
    return on_complete ? on_complete(*request) : grpc::Status::OK;
  }

  grpc::Status FailJob(grpc::ServerContext*, const v1::FailJobRequest* request,
                       v1::FailJobResponse*) override {
    absl::MutexLock lock(&mu_);
    fails.push_back(*request);
    return on_fail ? on_fail(*request) : grpc::Status::OK;
  }

 private:
  bool HasJob() const { return !jobs_.empty(); }

  absl::Mutex mu_;
  std::deque<v1::Job> jobs_;
};

}  // namespace lethe

#endif  // LETHE_TESTS_SUPPORT_FAKE_WORK_SERVICE_H_
