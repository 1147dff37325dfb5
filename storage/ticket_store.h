// TicketStore: the durable truth about tickets, jobs, checkpoints and models.
//
//   store->Post(CancelTicket{.actor = who, .ticket = id}, [](absl::StatusOr<Receipt> r) { ... });
//   absl::StatusOr<TicketRecord> t = store->Snapshot()->GetTicket(id);
//
// Guarantee  `done` runs after the sync of the batch that decided the command. Refusals wait too:
//            "already exists" may rest on a command of the same batch that is not yet on disk.
// Order      commands take effect in the order in which Post returned; once `done` has run, every
//            new snapshot shows the effect.
// Threads    any thread may call; `done` and observers run on a thread of the committer and must
//            not block. `done` may Post.
// Lifetime   the destructor commits what was posted; a snapshot must not outlive the store.
// Errors     command/commands.h names each command's. Of the store itself, all UNAVAILABLE:
//            DISK_FULL, after a write found no space; STORE_READ_ONLY, after any other failed write
//            or sync. Either stays until the process restarts: what reached the disk is unknown
//            until the store is opened again. STORE_CLOSING while the destructor runs.
//
// Open       OpenMemoryStore (tests, and the model of the conformance suite) or OpenRocksStore.
#ifndef LETHE_STORAGE_TICKET_STORE_H_
#define LETHE_STORAGE_TICKET_STORE_H_

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "storage/command/commands.h"
#include "storage/command/rules.h"
#include "storage/observer.h"
#include "storage/snapshot.h"
#include "storage/work_view.h"

namespace rocksdb {
class Env;
}

namespace lethe::storage {

class Vault;

class TicketStore {
 public:
  using Done = std::function<void(absl::StatusOr<Receipt>)>;
  virtual ~TicketStore() = default;

  virtual void Post(Command command, Done done) = 0;

  // Post and wait. Never from `done` or an observer.
  absl::StatusOr<Receipt> Commit(Command command);

  virtual std::unique_ptr<const storage::Snapshot> Snapshot() const = 0;

  // What waits and what runs; at most `head` tickets of each queue.
  virtual WorkView Work(int32_t head) const = 0;
  virtual storage::Totals Totals() const = 0;

  // OK, or the status with which every command is refused.
  virtual absl::Status Health() const = 0;

  // Both wait for an OnCommit that runs. The observer must stay alive until RemoveObserver has
  // returned.
  virtual void AddObserver(CommitObserver* observer) = 0;
  virtual void RemoveObserver(CommitObserver* observer) = 0;

  // Rewrites what holds payloads and keys, so that no file keeps bytes of destroyed ones. Blocks;
  // call it from a thread of your own, and from compact.h rather than directly: without a key
  // rotation the file system may still hold a wrapped key.
  virtual absl::Status CompactFiles() = 0;
};

struct StoreOptions {
  Clock* clock = nullptr;                  // required
  Rules rules;                             // rules.judge is required for CompleteVerify
  std::vector<CommitObserver*> observers;  // from the first commit on
  // Where given, its identity is checked against the one of the first opening
  // (FAILED_PRECONDITION/KEY_FILE_WRONG), and that it holds the key of every wrapped key of the
  // store (KEY_FILE_OUTDATED).
  const Vault* vault = nullptr;
};

std::unique_ptr<TicketStore> OpenMemoryStore(const StoreOptions& options);

struct RocksOptions {
  std::filesystem::path folder;  // <data folder>/store for example
  bool create_if_missing = true;
  rocksdb::Env* env = nullptr;  // tests pass faulty ones; must outlive the store
  bool sync_for_test = true;    // false: shows that the power-cut test can fail
};

// FAILED_PRECONDITION: DATA_FOLDER_IN_USE (another process has it), FORMAT_VERSION_UNKNOWN,
// KEY_FILE_WRONG, KEY_FILE_OUTDATED. NOT_FOUND/DATA_FOLDER_MISSING without create_if_missing.
// DATA_LOSS/STORE_CORRUPT. UNAVAILABLE/DISK_FULL or STORE_OPEN_FAILED.
absl::StatusOr<std::unique_ptr<TicketStore>> OpenRocksStore(const RocksOptions& rocks,
                                                            const StoreOptions& options);

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_TICKET_STORE_H_
