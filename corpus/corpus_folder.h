// The folder of a corpus for those who write to it: one at a time, from one whole state to the next.
//
//   LETHE_ASSIGN_OR_RETURN(const FolderLock lock, LockCorpus(folder));
//   LETHE_RETURN_IF_ERROR(Sweep(folder, &manifest));     // what a killed writer left behind
//   ... write and sync the files of the next state under new names ...
//   LETHE_RETURN_IF_ERROR(CommitState(folder, next));    // the switch; then the old files go
//
// Killed     before the manifest is replaced: the old state, and files that nobody names. After it:
//            the new state, and the old files. Both are swept by the next writer.
// Names      s<shard>-r<slice>-g<generation>.slice; a generation never comes twice, so that a reader
//            of an older state never sees another file under a name it knows.
// Threads    the lock is held against other processes and other locks of this one.
// Errors     ABORTED/CORPUS_BUSY; those of base/file.h.
#ifndef LETHE_CORPUS_CORPUS_FOLDER_H_
#define LETHE_CORPUS_CORPUS_FOLDER_H_

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "base/folder_lock.h"
#include "corpus/manifest.h"
#include "corpus/output_file.h"

namespace lethe {

// Of whoever writes.
inline absl::StatusOr<FolderLock> LockCorpus(const std::filesystem::path& folder) {
  return FolderLock::Take(folder, "CORPUS_BUSY");
}

std::string SliceFileName(SlicePlace place, uint64_t generation);

// Whether a name is one that a corpus gives: others in its folder are left alone.
bool IsCorpusFile(const std::string& name);

// Removes the files of a corpus that the manifest does not name; null: all of them but the lock and
// a manifest.
absl::Status Sweep(const std::filesystem::path& folder, const Manifest* manifest);

// Makes `next` the state of the folder, and removes what belonged to the one before.
absl::Status CommitState(const std::filesystem::path& folder, const Manifest& next);

}  // namespace lethe

#endif  // LETHE_CORPUS_CORPUS_FOLDER_H_
