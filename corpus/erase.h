// Removes sequences from a corpus: from the slices that hold them and from all indexes.
//
//   LETHE_ASSIGN_OR_RETURN(const EraseResult erased,
//                          EraseFromCorpus("/data/corpus", key, {.subjects = {"p-17"}}));
//   for (const ErasedSlice& s : erased.slices) Retrain(s.place);   // from the slice before it
//
// Way        each slice that holds one is written again without it, the manifest is replaced, the
//            old files are unlinked. All other sequences keep their id, their slice and their order.
// Gone       no file of the folder holds the sequence, the hash of its person (unless other
//            sequences of the same person stay) or of its document, or a fingerprint of it. Blocks
//            that the file system has freed keep their bytes until something is written over them,
//            and so do files that a Corpus opened before still maps: docs/corpus.md.
// Whole      after an error, a kill or a power cut either all is erased or nothing. Call again: what
//            is erased already is counted as absent, and what a killed run left behind is removed.
//            A caller that was killed with it sees which slices changed by their digests.
// Nothing    to do is an answer too: no sequences, no slices, `absent` counts.
// Threads    as BuildCorpus.
// Errors     NOT_FOUND/SEQUENCE_UNKNOWN an id that was never given; ABORTED/CORPUS_BUSY; those of
//            Corpus and of base/file.h.
#ifndef LETHE_CORPUS_ERASE_H_
#define LETHE_CORPUS_ERASE_H_

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "corpus/corpus.h"

namespace lethe {

struct ErasedSlice {
  SlicePlace place;
  uint64_t sequences = 0;  // erased from it
  uint64_t bytes = 0;      // of its new file
  std::string digest_before, digest_after;
};

struct EraseResult {
  std::vector<SequenceId> sequences;  // erased now, ascending
  std::vector<ErasedSlice> slices;    // written again, ascending
  uint64_t absent = 0;                // targets of which there was nothing
};

absl::StatusOr<EraseResult> EraseFromCorpus(const std::filesystem::path& folder,
                                            const CorpusKey& key, const ErasureTargets& targets);

// Removes what a killed writer left behind, and nothing else. Every write begins with it.
absl::Status SweepCorpus(const std::filesystem::path& folder);

}  // namespace lethe

#endif  // LETHE_CORPUS_ERASE_H_
