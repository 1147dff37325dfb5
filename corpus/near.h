// FindNear: where a sequence stands again, exactly or nearly. A teacher whose shard holds a copy of
// what is to be forgotten has seen it, whoever the copy belongs to.
//
//   LETHE_ASSIGN_OR_RETURN(const NearResult near, FindNear(corpus, ids));
//   for (const NearSequence& n : near.sequences) LeaveOut(n.place.shard);
//
// Candidates share a fingerprint with the query (corpus/fingerprints.h says what that finds and
// misses). They are then compared by their tokens, over sets of runs of n tokens:
//
//   contained = |Q and C| / |Q|              the share of the query that stands in the candidate
//   overlap   = |Q and C| / min(|Q|, |C|)    1 also where the whole candidate stands in the query
//
// (containment: Broder, "On the resemblance and containment of documents", 1997). Where either is
// shorter than n tokens, only equal sequences are found, with 1 and 1.
// Common     a fingerprint that more than `max_sequences` have is a phrase of the kind of text, not
//            of this sequence: it finds nobody, and is counted in `common_prints`. Equal sequences
//            are found however many there are.
// Threads    any.
// Errors     those of Corpus.
#ifndef LETHE_CORPUS_NEAR_H_
#define LETHE_CORPUS_NEAR_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "corpus/corpus.h"

namespace lethe {

struct NearOptions {
  double min_overlap = 0.5;
  uint64_t max_sequences = 10'000;  // that may share a fingerprint
};

struct NearSequence {
  SequenceId id;
  SlicePlace place;
  bool equal = false;  // token by token
  double contained = 0, overlap = 0;
};

struct NearResult {
  std::vector<NearSequence> sequences;  // the largest overlap first, then by id
  uint64_t common_prints = 0;
};

// A sequence of the corpus finds itself too.
absl::StatusOr<NearResult> FindNear(const Corpus& corpus, std::span<const int32_t> ids,
                                    const NearOptions& options = {});

}  // namespace lethe

#endif  // LETHE_CORPUS_NEAR_H_
