// Corpus: what a model is trained on, by person, in shards and slices, with a way back from a
// person or a document to what was learnt from them.
//
//   LETHE_ASSIGN_OR_RETURN(const CorpusKey key, CorpusKey::FromFile("corpus.key"));
//   LETHE_ASSIGN_OR_RETURN(const Corpus corpus, Corpus::Open("/data/corpus", key));
//   for (uint32_t r = 0; r < corpus.slices(); ++r) {
//     LETHE_RETURN_IF_ERROR(corpus.ForEach({shard, r}, [&](const StoredSequence& s) { ... }));
//   }
//   LETHE_ASSIGN_OR_RETURN(const Touched touched, corpus.Touches({.subjects = {"p-17"}}));
//
// State      a Corpus is one state of its folder, as it was when it was opened. Build, append and
//            erase (corpus/build.h, corpus/erase.h) make a next state; open again to see it. Files of
//            an older state that are open here stay readable, and on the disk, until this goes.
// Shards     all of a person's sequences are in the shard that the HMAC of the key says, so a person
//            touches one shard. Within a shard, slices follow each other in the order of arrival.
// Ids        a sequence keeps its id for ever; an id is never given twice. Erasing moves nothing
//            else: the other sequences stay in their slice, in their order.
// Digests    SliceDigest is SHA-256 over the sequences of a slice, in order: what a training state
//            of slices 0 .. r is keyed by. It says nothing of ids, people or files.
// Memory     files are mapped, indexes are searched where they stand; a few hundred bytes a slice.
// Threads    a Corpus never changes; any.
// Errors     NOT_FOUND/CORPUS_MISSING, SEQUENCE_UNKNOWN (an id that was never given);
//            INVALID_ARGUMENT/KEY_WRONG; DATA_LOSS/CORPUS_DAMAGED, naming the file;
//            FAILED_PRECONDITION/FORMAT_VERSION_UNKNOWN. None quotes text, ids of tokens or keys.
#ifndef LETHE_CORPUS_CORPUS_H_
#define LETHE_CORPUS_CORPUS_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "corpus/corpus_key.h"
#include "corpus/manifest.h"
#include "corpus/slice.h"

namespace lethe {

// What a deletion names, in any mixture.
struct ErasureTargets {
  std::vector<std::string> subjects, documents;
  std::vector<SequenceId> sequences;
};

// What a deletion touches: each once, ascending.
struct Touched {
  std::vector<SequenceId> sequences;
  std::vector<SlicePlace> slices;  // those that hold them
  std::vector<uint32_t> shards;
  uint64_t tokens = 0;
  // Targets of which the corpus has nothing (any more).
  uint64_t absent = 0;
};

struct FoundSequence {
  SlicePlace place;
  StoredSequence stored;
};

class Corpus {
 public:
  static absl::StatusOr<Corpus> Open(const std::filesystem::path& folder, const CorpusKey& key);

  const Manifest& manifest() const { return manifest_; }
  const CorpusKey& key() const { return key_; }
  const std::filesystem::path& folder() const { return folder_; }
  uint32_t shards() const { return manifest_.shards; }
  uint32_t slices() const { return manifest_.slices; }  // of each shard
  uint64_t sequences() const;
  uint64_t tokens() const;

  // `place` must be within shards() and slices().
  const Slice& At(SlicePlace place) const { return slices_[Index(place)]; }
  const std::string& SliceDigest(SlicePlace place) const {
    return manifest_.files[Index(place)].content_digest;
  }
  absl::Status ForEach(SlicePlace place, const Slice::Visitor& visit) const {
    return At(place).ForEach(visit);
  }

  // Nothing when the id was given and the sequence is erased.
  absl::StatusOr<std::optional<FoundSequence>> Get(SequenceId id) const;

  // Ascending; empty when the corpus has nothing of them.
  absl::StatusOr<std::vector<SequenceId>> FindSubject(std::string_view subject) const;
  absl::StatusOr<std::vector<SequenceId>> FindDocument(std::string_view document) const;

  absl::StatusOr<Touched> Touches(const ErasureTargets& targets) const;

  // INVALID_ARGUMENT/TOKENIZER_DIFFERS unless it was built with this tokenizer.json, or of ids.
  absl::Status CheckTokenizer(const std::string& tokenizer_json) const;

 private:
  Corpus(std::filesystem::path folder, const CorpusKey& key, Manifest manifest)
      : folder_(std::move(folder)), key_(key), manifest_(std::move(manifest)) {}
  size_t Index(SlicePlace place) const { return place.shard * manifest_.slices + place.slice; }

  std::filesystem::path folder_;
  CorpusKey key_;
  Manifest manifest_;
  std::vector<Slice> slices_;  // shard by shard
};

}  // namespace lethe

#endif  // LETHE_CORPUS_CORPUS_H_
