// Reads a whole corpus and says what is wrong with it.
//
//   LETHE_ASSIGN_OR_RETURN(const CheckReport report, CheckCorpus("/data/corpus", key));
//   for (const CheckFinding& f : report.findings) ...
//
// Checks     the manifest against its digest; each file's length and SHA-256 against the manifest;
//            each slice in itself: checksums, the content digest, ids within the vocabulary, places
//            ascending and apart from other slices, one subject for each sequence and the subject in
//            the right shard, documents and fingerprints of sequences that are there, and of each
//            sequence all fingerprints. Files that the manifest does not name are told too: what a
//            killed writer left behind is still there until SweepCorpus or the next write.
// Memory     bounded. It takes a few seconds a million sequences.
// Threads    any. A writer that switches to a next state meanwhile makes files go missing: they are
//            told as missing. Check again then.
// Errors     only what keeps it from looking: NOT_FOUND/CORPUS_MISSING, INVALID_ARGUMENT/KEY_WRONG.
//            All else is a finding, and none quotes what it found.
#ifndef LETHE_CORPUS_CHECK_H_
#define LETHE_CORPUS_CHECK_H_

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "corpus/corpus_key.h"

namespace lethe {

struct CheckFinding {
  std::string file;  // its name in the folder
  std::string what;
};

struct CheckReport {
  uint64_t files = 0, bytes = 0;       // read
  uint64_t sequences = 0, tokens = 0;  // in slices that could be read
  std::vector<CheckFinding> findings;  // none: it is sound
};

absl::StatusOr<CheckReport> CheckCorpus(const std::filesystem::path& folder, const CorpusKey& key);

}  // namespace lethe

#endif  // LETHE_CORPUS_CHECK_H_
