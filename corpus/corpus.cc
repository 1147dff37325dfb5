#include "corpus/corpus.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "text/tokenizer.h"

namespace lethe {
namespace {

template <typename T>
void SortOnce(std::vector<T>* values) {
  std::sort(values->begin(), values->end());
  values->erase(std::unique(values->begin(), values->end()), values->end());
}

}  // namespace

absl::StatusOr<Corpus> Corpus::Open(const std::filesystem::path& folder, const CorpusKey& key) {
  LETHE_ASSIGN_OR_RETURN(Manifest manifest, ReadManifest(folder));
  if (manifest.key_id != key.id()) {
    return Error(absl::StatusCode::kInvalidArgument, "KEY_WRONG",
                 absl::StrCat("the corpus in ", folder.string(), " was built with another key"));
  }
  Corpus corpus(folder, key, std::move(manifest));
  corpus.slices_.reserve(corpus.manifest_.files.size());
  for (const SliceEntry& entry : corpus.manifest_.files) {
    LETHE_ASSIGN_OR_RETURN(Slice slice, Slice::Open(folder, entry, corpus.manifest_));
    corpus.slices_.push_back(std::move(slice));
  }
  return corpus;
}

uint64_t Corpus::sequences() const {
  uint64_t sum = 0;
  for (const SliceEntry& entry : manifest_.files) sum += entry.sequences;
  return sum;
}

uint64_t Corpus::tokens() const {
  uint64_t sum = 0;
  for (const SliceEntry& entry : manifest_.files) sum += entry.tokens;
  return sum;
}

absl::StatusOr<std::optional<FoundSequence>> Corpus::Get(SequenceId id) const {
  if (id.value >= manifest_.next_id) {
    return Error(absl::StatusCode::kNotFound, "SEQUENCE_UNKNOWN",
                 absl::StrCat("the corpus has given ids below ", manifest_.next_id,
                              ", and one that is not below was asked for"));
  }
  for (const SliceEntry& entry : manifest_.files) {
    LETHE_ASSIGN_OR_RETURN(std::optional<StoredSequence> stored, At(entry.place).Get(id));
    if (stored.has_value()) return FoundSequence{entry.place, *std::move(stored)};
  }
  return std::nullopt;
}

absl::StatusOr<std::vector<SequenceId>> Corpus::FindSubject(std::string_view subject) const {
  const KeyHash hash = key_.OfSubject(subject);
  std::vector<SequenceId> ids;
  SlicePlace place{ShardOf(hash, shards()), 0};
  for (; place.slice < slices(); ++place.slice) {
    LETHE_RETURN_IF_ERROR(Slice::Find(At(place).subjects(), View(hash), &ids));
  }
  return ids;
}

absl::StatusOr<std::vector<SequenceId>> Corpus::FindDocument(std::string_view document) const {
  const KeyHash hash = key_.OfDocument(document);
  std::vector<SequenceId> ids;
  for (const Slice& slice : slices_) {
    LETHE_RETURN_IF_ERROR(Slice::Find(slice.documents(), View(hash), &ids));
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

absl::StatusOr<Touched> Corpus::Touches(const ErasureTargets& targets) const {
  Touched touched;
  touched.sequences = targets.sequences;
  const auto add = [&](const std::vector<SequenceId>& ids) {
    touched.sequences.insert(touched.sequences.end(), ids.begin(), ids.end());
    touched.absent += ids.empty() ? 1 : 0;
  };
  for (const std::string& subject : targets.subjects) {
    LETHE_ASSIGN_OR_RETURN(const std::vector<SequenceId> ids, FindSubject(subject));
    add(ids);
  }
  for (const std::string& document : targets.documents) {
    LETHE_ASSIGN_OR_RETURN(const std::vector<SequenceId> ids, FindDocument(document));
    add(ids);
  }
  SortOnce(&touched.sequences);

  std::vector<SequenceId> present;
  for (const SequenceId id : touched.sequences) {
    LETHE_ASSIGN_OR_RETURN(const std::optional<FoundSequence> found, Get(id));
    if (!found.has_value()) {
      ++touched.absent;
      continue;
    }
    present.push_back(id);
    touched.tokens += found->stored.sequence.ids.size();
    touched.slices.push_back(found->place);
    touched.shards.push_back(found->place.shard);
  }
  touched.sequences = std::move(present);
  SortOnce(&touched.slices);
  SortOnce(&touched.shards);
  return touched;
}

absl::Status Corpus::CheckTokenizer(const std::string& tokenizer_json) const {
  if (manifest_.tokenizer_digest.empty() || tokenizer_json.empty()) return absl::OkStatus();
  LETHE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::FromJson(tokenizer_json));
  if (tokenizer.Digest() == manifest_.tokenizer_digest) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "TOKENIZER_DIFFERS",
               "the corpus was made with another tokenizer; give the one that it was built with",
               {{"expected", manifest_.tokenizer_digest}, {"found", tokenizer.Digest()}});
}

}  // namespace lethe
