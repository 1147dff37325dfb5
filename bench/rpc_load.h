// Load on a gRPC server: unary calls over plain HTTP/2, a fixed number in flight, from one thread.
//
//   LETHE_ASSIGN_OR_RETURN(auto load, RpcLoad::Connect("127.0.0.1:7450", /*connections=*/2));
//   LETHE_ASSIGN_OR_RETURN(Level level, load->Run(64, absl::Seconds(4), "/package.Service/Method",
//                                                 [](int64_t i) { return RequestBytes(i); },
//                                                 [](std::string_view reply) { ... }));
//   level.PerSecond();
//
// A client of gRPC's own library takes as much processor time as the server, and on one machine
// they share it; this one takes a twentieth, so what is measured is the server. The bytes on
// the wire are of the same kind.
//
// Errors     UNAVAILABLE/CONNECTION_LOST; INTERNAL/CALL_FAILED
//            with the first status that is not OK.
// Threads    one at a time.
#ifndef LETHE_BENCH_RPC_LOAD_H_
#define LETHE_BENCH_RPC_LOAD_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace lethe {

struct Level {
  std::vector<double> seconds;  // of each call, from its sending to its status
  double elapsed = 0;
  double PerSecond() const { return static_cast<double>(seconds.size()) / elapsed; }
};

class RpcLoad {
 public:
  // The serialised request of call i; each call has its own.
  using MakeRequest = std::function<std::string(int64_t i)>;
  // A serialised reply; only of calls that ended OK.
  using OnReply = std::function<void(std::string_view reply)>;

  static absl::StatusOr<std::unique_ptr<RpcLoad>> Connect(const std::string& address,
                                                          int connections);
  virtual ~RpcLoad() = default;

  // Sends for `span`, then waits for what is still in flight.
  virtual absl::StatusOr<Level> Run(int in_flight, absl::Duration span, const std::string& method,
                                    const MakeRequest& make, const OnReply& on_reply) = 0;
};

}  // namespace lethe

#endif  // LETHE_BENCH_RPC_LOAD_H_
