// Driver: keeps records for the committer. It stores what was decided and decides nothing.
//
// Contract   Write is atomic and durable when it returns OK; after an error the driver is not
//            written to again. One Write at a time, by one thread. Latest() shows the last
//            successful Write, for that thread; NewSnapshot() does so for any thread.
//            tests/support/store_conformance.h is what a driver must pass.
#ifndef LETHE_STORAGE_DRIVER_H_
#define LETHE_STORAGE_DRIVER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "storage/command/changes.h"
#include "storage/snapshot.h"
#include "storage/ticket_store.h"

namespace lethe::storage {

class Driver {
 public:
  virtual ~Driver() = default;
  virtual const Snapshot& Latest() const = 0;
  virtual std::unique_ptr<const Snapshot> NewSnapshot() const = 0;
  // Errors: UNAVAILABLE/DISK_FULL or UNAVAILABLE/STORE_READ_ONLY.
  virtual absl::Status Write(const Changes& changes) = 0;
  virtual absl::Status CompactFiles() = 0;
  // The identity of the key file of the first opening; "" when there was none. Set is durable.
  virtual absl::StatusOr<std::string> VaultIdentity() const = 0;
  virtual absl::Status SetVaultIdentity(const std::string& identity) = 0;
};

// Driver, committer and live index as one store. FAILED_PRECONDITION/KEY_FILE_WRONG,
// KEY_FILE_OUTDATED.
absl::StatusOr<std::unique_ptr<TicketStore>> MakeStore(std::unique_ptr<Driver> driver,
                                                       const StoreOptions& options);

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_DRIVER_H_
