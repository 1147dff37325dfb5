#include "server/corpus_targets.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "corpus/near.h"
#include "server/convert.h"

namespace lethe {
namespace {

// Shorter text is found only as it is: too little would be left to tell it from other text.
constexpr size_t kCutAtEnds = 16;
// All runs of tokens, less what rounding may take from a quotient.
constexpr double kWhole = 1 - 1e-9;

absl::Status Unknown(const v1::Target& target) {
  if (target.has_subject()) {
    return Error(
        absl::StatusCode::kInvalidArgument, "SUBJECT_UNKNOWN",
        "the corpus has nothing of this person (any more); check the key, or name the text");
  }
  return Error(absl::StatusCode::kInvalidArgument, "DOCUMENT_UNKNOWN",
               "the corpus has no such document (any more); check the key, or name the text");
}

absl::Status TooLarge(int64_t max_tokens) {
  return Error(absl::StatusCode::kInvalidArgument, "TICKET_TOO_LARGE",
               absl::StrCat("the corpus has more than ", max_tokens,
                            " tokens of it, the most of a ticket: name documents in several "
                            "tickets, or raise max_ticket_tokens (docs/config.md)"),
               {{"limit", absl::StrCat(max_tokens)}});
}

// All that a person has is in one shard; where a document is, is not known.
absl::StatusOr<std::optional<FoundSequence>> Get(const Corpus& corpus, const v1::Target& target,
                                                 SequenceId id) {
  if (!target.has_subject()) return corpus.Get(id);
  const uint32_t shard = ShardOf(corpus.key().OfSubject(target.subject()), corpus.shards());
  for (uint32_t r = 0; r < corpus.slices(); ++r) {
    LETHE_ASSIGN_OR_RETURN(std::optional<StoredSequence> stored, corpus.At({shard, r}).Get(id));
    if (stored.has_value()) return FoundSequence{{shard, r}, *std::move(stored)};
  }
  return std::optional<FoundSequence>();
}

// Of the touched shards: what each must be trained on again, stage by stage from the first touched
// slice on (engine/train_slices.h: stage r trains on slices 0 to r for 2 epochs / (R + 1)).
double TokensToRetrain(const Corpus& corpus, const v1::TeacherOptions& teachers,
                       const std::map<uint32_t, uint32_t>& first_slices) {
  const double epochs = 2 * teachers.epochs() / static_cast<double>(corpus.slices() + 1);
  double tokens = 0;
  for (const auto& [shard, first] : first_slices) {
    double up_to = 0;
    for (uint32_t r = 0; r < corpus.slices(); ++r) {
      up_to += static_cast<double>(corpus.At({shard, r}).footer().tokens);
      if (r >= first) tokens += epochs * up_to;
    }
  }
  return tokens;
}

void SetRange(double seconds, v1::DurationRange* range) {
  // Seen between runs of one machine that other work shares: half as fast again, or two thirds.
  ToDuration(absl::Seconds(seconds / 1.5), range->mutable_low());
  ToDuration(absl::Seconds(seconds), range->mutable_typical());
  ToDuration(absl::Seconds(seconds * 2), range->mutable_high());
}

}  // namespace

std::vector<int32_t> CorpusFinds::Shards() const {
  std::set<int32_t> shards;
  for (const auto& [id, place] : sequences) shards.insert(static_cast<int32_t>(place.shard));
  return {shards.begin(), shards.end()};
}

absl::StatusOr<std::vector<Sequence>> FindKeyed(const Corpus& corpus, const v1::Target& target,
                                                int64_t max_tokens, CorpusFinds* finds) {
  LETHE_ASSIGN_OR_RETURN(const std::vector<SequenceId> ids,
                         target.has_subject() ? corpus.FindSubject(target.subject())
                                              : corpus.FindDocument(target.document()));
  std::vector<Sequence> texts;
  std::set<std::pair<std::vector<int32_t>, int32_t>> seen;
  int64_t tokens = 0;
  for (const SequenceId id : ids) {
    LETHE_ASSIGN_OR_RETURN(std::optional<FoundSequence> found, Get(corpus, target, id));
    if (!found.has_value()) continue;
    finds->sequences.emplace(id, found->place);
    Sequence& sequence = found->stored.sequence;
    if (!seen.emplace(sequence.ids, sequence.prompt_tokens).second) continue;
    tokens += static_cast<int64_t>(sequence.ids.size());
    if (tokens > max_tokens) return TooLarge(max_tokens);
    texts.push_back(std::move(sequence));
  }
  if (texts.empty()) return Unknown(target);
  return texts;
}

absl::Status FindText(const Corpus& corpus, const Sequence& text, CorpusFinds* finds) {
  // Where text is cut out of a longer one, its first and last tokens may be others: a tokenizer joins
  // them to the space or the letters beyond.
  std::span<const int32_t> inner(text.ids);
  if (inner.size() >= kCutAtEnds) inner = inner.subspan(1, inner.size() - 2);
  for (const std::span<const int32_t> ids : {std::span<const int32_t>(text.ids), inner}) {
    LETHE_ASSIGN_OR_RETURN(const NearResult near, FindNear(corpus, ids, {.min_overlap = kWhole}));
    for (const NearSequence& found : near.sequences) {
      finds->sequences.emplace(found.id, found.place);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::CorpusPreview> PreviewErasure(const Corpus& corpus, const v1::Model& model,
                                                 std::span<const Sequence> texts,
                                                 const CorpusFinds& finds) {
  std::set<std::pair<uint32_t, uint32_t>> slices;
  std::map<uint32_t, uint32_t> first_slices;
  for (const auto& [id, place] : finds.sequences) {
    slices.emplace(place.shard, place.slice);
    const auto [first, fresh] = first_slices.emplace(place.shard, place.slice);
    if (!fresh) first->second = std::min(first->second, place.slice);
  }
  std::set<SequenceId> copies;
  std::set<uint32_t> saw;
  for (const Sequence& text : texts) {
    LETHE_ASSIGN_OR_RETURN(const NearResult near, FindNear(corpus, text.ids));
    for (const NearSequence& found : near.sequences) {
      saw.insert(found.place.shard);
      if (!finds.sequences.contains(found.id)) copies.insert(found.id);
    }
  }
  v1::CorpusPreview preview;
  preview.set_sequences(static_cast<int32_t>(finds.sequences.size()));
  for (const int32_t shard : finds.Shards()) preview.add_shards(shard);
  preview.set_slices(static_cast<int32_t>(slices.size()));
  preview.set_near_copies(static_cast<int32_t>(copies.size()));
  for (const v1::TeacherStatus& teacher : model.corpus().shards()) {
    const bool teaches = teacher.state() == v1::TEACHER_STATE_READY &&
                         !saw.contains(static_cast<uint32_t>(teacher.shard()));
    preview.set_teachers_left(preview.teachers_left() + (teaches ? 1 : 0));
  }
  preview.set_of_shards(model.corpus().shards_size());
  const double tokens = TokensToRetrain(corpus, model.corpus().teachers(), first_slices);
  preview.set_retrain_tokens(static_cast<int64_t>(std::llround(tokens)));
  if (model.corpus().train_token_seconds() > 0 && tokens > 0) {
    SetRange(tokens * model.corpus().train_token_seconds(), preview.mutable_retrain());
  }
  return preview;
}

}  // namespace lethe
