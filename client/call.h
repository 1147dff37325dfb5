// One unary call: deadline, retries, errors as absl::Status.
//
//   Caller caller({.stop = &stop});
//   absl::StatusOr<v1::Ticket> ticket =
//       caller.Call(stub.get(), &v1::DeletionService::StubInterface::GetTicket, request,
//                   Repeat::kSafe);
//
// Threads    a Caller may be used by many threads at once.
// Errors     the last attempt's, as FromGrpc gives it;
//            CANCELLED/STOPPED when the Stop was requested.
#ifndef LETHE_CLIENT_CALL_H_
#define LETHE_CLIENT_CALL_H_

#include <functional>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/random.h"
#include "base/status.h"
#include "client/error_info.h"
#include "client/retry.h"
#include "client/stop.h"
#include "grpcpp/client_context.h"

namespace lethe {

struct CallerOptions {
  absl::Duration deadline = absl::Seconds(10);  // of one attempt
  RetryPolicy retry;
  Stop* stop = nullptr;  // optional: ends back-offs and calls in flight
  Random* random = SecureRandom();
};

class Caller {
 public:
  explicit Caller(CallerOptions options) : options_(std::move(options)) {}

  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Stub* stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request, Repeat repeat) const {
    Backoff backoff(options_.retry, options_.random);
    while (true) {
      Response response;
      absl::Status status = Once(options_.deadline, [&](grpc::ClientContext* context) {
        return (stub->*method)(context, request, &response);
      });
      if (status.ok()) return response;
      if (!MayTryAgain(status, repeat, &backoff)) return status;
    }
  }

  // One attempt with its own deadline.
  absl::Status Once(absl::Duration deadline,
                    const std::function<grpc::Status(grpc::ClientContext*)>& attempt) const;

  const CallerOptions& options() const { return options_; }

 private:
  // Waits for the next attempt; false when there is none.
  bool MayTryAgain(const absl::Status& status, Repeat repeat, Backoff* backoff) const;

  const CallerOptions options_;
};

// CANCELLED/STOPPED.
absl::Status StoppedError();

}  // namespace lethe

#endif  // LETHE_CLIENT_CALL_H_
