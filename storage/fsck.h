// fsck: is this folder sound? The oracle of every fault test, and `lethe admin check`.
//
//   LETHE_ASSIGN_OR_RETURN(FsckReport report,
//                          Fsck({.store = data / "store", .models = data / "models"}));
//   for (const Finding& f : report.findings) ...
//
// Checks     every reference resolves; states are consistent across ticket, job, checkpoint and
//            model; indexes agree with records; the audit log is dense and its last word on each
//            thing is the record's state; payload and key exist exactly for tickets that have not
//            ended; model folders hold what the store says and nothing else; `current` shows what
//            the store says.
// Reads      only: the store is opened read-only, no lock is taken, nothing is written. Beside a
//            running server the answer may be out of date.
// Errors     a folder that cannot be read at all; what is wrong inside it is a finding.
#ifndef LETHE_STORAGE_FSCK_H_
#define LETHE_STORAGE_FSCK_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "storage/snapshot.h"

namespace rocksdb {
class Env;
}

namespace lethe::storage {

enum class Severity {
  kRepairable,  // the next start of the server puts it right by itself (a crash fell between store
                // and folder)
  kError,       // the truth is broken: restore, or ask
};

struct Finding {
  Severity severity = Severity::kError;
  std::string what;    // stable, UPPER_SNAKE: JOB_DANGLING, INDEX_DISAGREES, …
  std::string detail;  // one sentence with ids; no personal data
  std::string remedy;  // what to do
};

struct FsckOptions {
  std::filesystem::path store;
  std::filesystem::path models;  // empty: folders are not looked at
  bool digests =
      false;  // also read every promoted folder and compare its digest: as slow as the disk
  rocksdb::Env* env = nullptr;
};

struct FsckReport {
  std::vector<Finding> findings;
  int64_t tickets = 0, jobs = 0, checkpoints = 0, models = 0, leaves = 0;
  // No finding at all; with `repairable` true those of that severity do not count.
  bool Clean(bool repairable = false) const;
  std::string Text() const;  // one line a finding
};

absl::StatusOr<FsckReport> Fsck(const FsckOptions& options);

// The records alone, of any driver.
absl::StatusOr<FsckReport> FsckSnapshot(const Snapshot& snapshot);

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_FSCK_H_
