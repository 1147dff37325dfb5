#include "corpus/erase.h"

#include <utility>

#include "base/status.h"
#include "corpus/corpus_folder.h"
#include "corpus/slice_writer.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<EraseResult> Erase(const Corpus& before, const ErasureTargets& targets) {
  LETHE_ASSIGN_OR_RETURN(Touched touched, before.Touches(targets));
  EraseResult result{.sequences = std::move(touched.sequences), .absent = touched.absent};
  if (result.sequences.empty()) return result;
  Manifest next = before.manifest();
  ++next.generation;
  for (const SlicePlace place : touched.slices) {
    LETHE_ASSIGN_OR_RETURN(SliceWriter writer,
                           SliceWriter::Create(before.folder(), place, next, before.key().grams()));
    LETHE_RETURN_IF_ERROR(writer.CopyFrom(before.At(place), result.sequences));
    LETHE_ASSIGN_OR_RETURN(SliceEntry entry, writer.Finish());
    const SliceEntry& old = before.manifest().At(place);
    result.slices.push_back({place, old.sequences - entry.sequences, entry.bytes,
                             old.content_digest, entry.content_digest});
    next.At(place) = std::move(entry);
  }
  LETHE_RETURN_IF_ERROR(CommitState(before.folder(), next));
  return result;
}

}  // namespace

absl::StatusOr<EraseResult> EraseFromCorpus(const fs::path& folder, const CorpusKey& key,
                                            const ErasureTargets& targets) {
  LETHE_RETURN_IF_ERROR(ReadManifest(folder).status());  // no lock file where there is no corpus
  LETHE_ASSIGN_OR_RETURN(const FolderLock lock, LockCorpus(folder));
  LETHE_ASSIGN_OR_RETURN(const Corpus before, Corpus::Open(folder, key));
  LETHE_RETURN_IF_ERROR(Sweep(folder, &before.manifest()));
  absl::StatusOr<EraseResult> result = Erase(before, targets);
  if (!result.ok()) {
    // What the folder says now: the last sync may have failed behind the switch.
    if (const auto now = ReadManifest(folder); now.ok()) Sweep(folder, &*now).IgnoreError();
  }
  return result;
}

absl::Status SweepCorpus(const fs::path& folder) {
  LETHE_RETURN_IF_ERROR(ReadManifest(folder).status());
  LETHE_ASSIGN_OR_RETURN(const FolderLock lock, LockCorpus(folder));
  LETHE_ASSIGN_OR_RETURN(const Manifest manifest, ReadManifest(folder));
  return Sweep(folder, &manifest);
}

}  // namespace lethe
