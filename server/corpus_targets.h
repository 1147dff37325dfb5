// What of a model's corpus a ticket names: by person, by document, or by the text itself.
//
//   CorpusFinds finds;
//   LETHE_ASSIGN_OR_RETURN(std::vector<Sequence> texts, FindKeyed(corpus, target, &finds));
//   LETHE_RETURN_IF_ERROR(FindText(corpus, sequence, &finds));
//   finds.sequences;                                             // to erase
//   LETHE_ASSIGN_OR_RETURN(v1::CorpusPreview preview, PreviewErasure(corpus, model, texts, finds));
//
// Text       a sequence of the corpus goes when all of the text stands in it, or all of it in the
//            text: every run of 6 tokens (corpus/near.h), of text of 16 tokens or more but for its
//            first and last, which a tokenizer joins to what stands beside them. What shares less
//            stays: it may be somebody else's. Text of fewer than 11 tokens that stands within a longer
//            sequence may be missed; a person or a document never is.
// Errors     INVALID_ARGUMENT: SUBJECT_UNKNOWN, DOCUMENT_UNKNOWN; those of Corpus. None quotes a key.
// Threads    any; reads files: on a background thread.
#ifndef LETHE_SERVER_CORPUS_TARGETS_H_
#define LETHE_SERVER_CORPUS_TARGETS_H_

#include <lethe/v1/model.pb.h>
#include <lethe/v1/ticket.pb.h>

#include <cstdint>
#include <map>
#include <set>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "corpus/corpus.h"
#include "text/sequence.h"

namespace lethe {

struct CorpusFinds {
  std::map<SequenceId, SlicePlace> sequences;

  std::vector<int32_t> Shards() const;  // ascending
};

// The sequences of a subject or document; `target` is one of these. Each text once, however often it
// stands there: forgetting it once is forgetting it, and an attack that teaches half of what was
// forgotten must not find the same text in the other half. All of them are in `finds`.
// Stops with TICKET_TOO_LARGE beyond `max_tokens`.
absl::StatusOr<std::vector<Sequence>> FindKeyed(const Corpus& corpus, const v1::Target& target,
                                                int64_t max_tokens, CorpusFinds* finds);

// Those that hold the text, or are held by it.
absl::Status FindText(const Corpus& corpus, const Sequence& text, CorpusFinds* finds);

// What erasing `finds` touches and costs, besides. `texts` are all sequences that the ticket forgets.
absl::StatusOr<v1::CorpusPreview> PreviewErasure(const Corpus& corpus, const v1::Model& model,
                                                 std::span<const Sequence> texts,
                                                 const CorpusFinds& finds);

}  // namespace lethe

#endif  // LETHE_SERVER_CORPUS_TARGETS_H_
