// Server: the front server in one object, built from its configuration.
//
//   LETHE_ASSIGN_OR_RETURN(auto server, Server::Start(config, {}));
//   server->port();  ...  server->Drain();
//
// Start      opens vault and store, brings model folders in line,
//            gives live leases a full term, then listens.
// Drain      NOT_SERVING first; polls and watches end with UNAVAILABLE/SERVER_DRAINING; calls in
//            flight get drain_grace to end; new ones are refused; then what the store was given is
//            committed. Blocks; the destructor does it too.
// Errors     of the vault and the store; UNAVAILABLE/LISTEN_FAILED with the address; FILE_ERROR.
// Threads    Start, Drain and the destructor from one thread; the rest from any.
#ifndef LETHE_SERVER_SERVER_H_
#define LETHE_SERVER_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/random.h"
#include "server/config.h"
#include "storage/ticket_store.h"

namespace rocksdb {
class Env;
}

namespace lethe {

// The outside world; what is null is the real one.
struct ServerWorld {
  Clock* clock = nullptr;
  Random* random = nullptr;
  rocksdb::Env* env = nullptr;
  bool own_upkeep = true;  // false: nothing happens by itself, the test calls Tick
};

class Server {
 public:
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerConfig& config,
                                                       const ServerWorld& world);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const;
  int metrics_port() const;  // 0: none

  void Drain();

  // One round of upkeep: lost leases, batching deadlines, old request ids, gauges.
  void Tick();

  // What /metrics shows.
  std::string MetricsText() const;

  // For tests: the truth behind the RPCs, and a wait until folders show it.
  storage::TicketStore* store();
  void WaitForFolders();

 private:
  class Parts;
  explicit Server(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace lethe

#endif  // LETHE_SERVER_SERVER_H_
