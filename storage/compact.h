// `lethe admin compact`: after it, no file of the data folder holds a byte that could give a
// destroyed payload back.
//
//   LETHE_ASSIGN_OR_RETURN(CompactReport report,
//                          Compact(store.get(), vault.get(), SecureRandom()));
//
// Steps      1 a new epoch in the key file
//            2 the store accepts only payloads of that epoch
//            3 every live key is wrapped again under it
//            4 the old epochs leave the key file: a wrapped key that an old file still holds is
//              unreadable from here on
//            5 the store's files are rewritten (TicketStore::CompactFiles)
// Crash      after any step: both epochs are in the key file or nothing needs the old one; run it
//            again.
// Serving    the store may serve meanwhile: a CreateTickets sealed before step 2 is refused with
//            ABORTED/KEY_EPOCH_RETIRED; seal again.
// Threads    one Compact at a time; it blocks.
#ifndef LETHE_STORAGE_COMPACT_H_
#define LETHE_STORAGE_COMPACT_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "base/random.h"

namespace lethe::storage {

class TicketStore;
class Vault;

struct CompactReport {
  uint64_t epoch = 0;     // now in use
  int64_t rewrapped = 0;  // live keys
};

// Steps 1 to 4.
absl::StatusOr<CompactReport> RotateKeyFile(TicketStore* store, Vault* vault, Random* random);
// All.
absl::StatusOr<CompactReport> Compact(TicketStore* store, Vault* vault, Random* random);

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_COMPACT_H_
