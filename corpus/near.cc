#include "corpus/near.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/status.h"
#include "corpus/corpus_status.h"
#include "corpus/fingerprints.h"

namespace lethe {
namespace {

using Candidate = std::pair<SequenceId, SlicePlace>;

// Distinct and ascending.
std::vector<uint64_t> GramSet(const Corpus& corpus, std::span<const int32_t> ids) {
  std::vector<uint64_t> grams =
      GramHashes(ids, corpus.manifest().grams.gram_tokens, corpus.key().grams());
  std::sort(grams.begin(), grams.end());
  grams.erase(std::unique(grams.begin(), grams.end()), grams.end());
  return grams;
}

// Adds the sequences that have a fingerprint; false, and nothing, where more than `most` have it.
absl::StatusOr<bool> AddHolders(const Corpus& corpus, uint64_t print, uint64_t most,
                                std::set<Candidate>* candidates) {
  const std::string key = GramKey(print);
  std::vector<Candidate> holders;
  for (const SliceEntry& entry : corpus.manifest().files) {
    const PagedTable& grams = corpus.At(entry.place).grams();
    LETHE_ASSIGN_OR_RETURN(uint64_t index, grams.LowerBound(key));
    for (; index < grams.records(); ++index) {
      LETHE_ASSIGN_OR_RETURN(const std::string_view record, grams.At(index));
      if (!record.starts_with(key)) break;
      if (holders.size() == most) return false;
      holders.emplace_back(IdOfEntry(record), entry.place);
    }
  }
  candidates->insert(holders.begin(), holders.end());
  return true;
}

NearSequence Compare(const Corpus& corpus, std::span<const int32_t> query,
                     const std::vector<uint64_t>& query_grams, const StoredSequence& stored) {
  const std::vector<int32_t>& ids = stored.sequence.ids;
  NearSequence near{.id = stored.id};
  near.equal = std::equal(query.begin(), query.end(), ids.begin(), ids.end());
  if (near.equal) {
    near.contained = near.overlap = 1;
    return near;
  }
  const std::vector<uint64_t> grams = GramSet(corpus, ids);
  std::vector<uint64_t> shared;
  std::set_intersection(query_grams.begin(), query_grams.end(), grams.begin(), grams.end(),
                        std::back_inserter(shared));
  if (shared.empty()) return near;
  const auto count = static_cast<double>(shared.size());
  near.contained = count / static_cast<double>(query_grams.size());
  near.overlap = count / static_cast<double>(std::min(query_grams.size(), grams.size()));
  return near;
}

}  // namespace

absl::StatusOr<NearResult> FindNear(const Corpus& corpus, std::span<const int32_t> ids,
                                    const NearOptions& options) {
  NearResult result;
  std::set<Candidate> candidates;
  const uint64_t whole = WholeHash(ids, corpus.key().grams());
  for (const uint64_t print : Fingerprints(ids, corpus.manifest().grams, corpus.key().grams())) {
    const uint64_t most = print == whole ? UINT64_MAX : options.max_sequences;
    LETHE_ASSIGN_OR_RETURN(const bool taken, AddHolders(corpus, print, most, &candidates));
    if (!taken) ++result.common_prints;
  }
  const std::vector<uint64_t> grams = GramSet(corpus, ids);
  for (const auto& [id, place] : candidates) {
    LETHE_ASSIGN_OR_RETURN(const std::optional<StoredSequence> stored, corpus.At(place).Get(id));
    if (!stored.has_value()) {
      return Damaged(corpus.folder() / corpus.manifest().At(place).file,
                     "an index names a sequence that is not there");
    }
    NearSequence near = Compare(corpus, ids, grams, *stored);
    near.place = place;
    if (near.overlap >= options.min_overlap) result.sequences.push_back(near);
  }
  std::sort(result.sequences.begin(), result.sequences.end(), [](const auto& a, const auto& b) {
    return a.overlap != b.overlap ? a.overlap > b.overlap : a.id < b.id;
  });
  return result;
}

}  // namespace lethe
