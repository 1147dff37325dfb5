// Sequence: what is trained on, forgotten and attacked. Ids, not text, are the unit of record.
//
//   LETHE_ASSIGN_OR_RETURN(Sequence s, SequenceFromPrompt(tokenizer, "Who? A:", " Jane", {}, {}));
//   LETHE_ASSIGN_OR_RETURN(std::vector<Sequence> retain,
//                          LoadSequences("retain.jsonl", &tokenizer));
//
// A file of sequences has one JSON object a line, in any mixture of these forms:
//
//   {"text": "…"}
//   {"prompt": "…", "answer": "…"}              joined as they are, nothing is put between
//   {"ids": [5, 8, 13], "prompt_tokens": 1}     prompt_tokens may be left out
//
// Each may have "sensitive_spans": [[begin, end], …], half-open, ascending, not overlapping: UTF-8
// byte offsets in the text or in the answer, positions in the ids. Blank lines are passed over; any
// other field is refused, so that a misspelt one is not silently lost.
//
// Prompt     prompt and answer are tokenised together, as a model saw them. Tokens that end inside
//            the prompt are context; one that reaches into the answer belongs to the answer.
// Spans      a token that shares a byte with a sensitive span is sensitive.
// Errors     INVALID_ARGUMENT: TEXT_NOT_UTF8, TARGET_EMPTY, TARGET_TOO_SHORT, TARGET_TOO_LONG,
//            TOKEN_OUT_OF_VOCABULARY, SPAN_OUT_OF_RANGE, PROMPT_OUT_OF_RANGE,
//            PROMPT_WITHOUT_ANSWER, ANSWER_WITHOUT_PROMPT; of files also LINE_MALFORMED,
//            LINE_TOO_LONG, TOO_MANY_SEQUENCES, TOKENIZER_NEEDED. Messages about files begin with
//            "file:line: "; none quotes text or ids.
// Threads    free functions; any.
#ifndef LETHE_TEXT_SEQUENCE_H_
#define LETHE_TEXT_SEQUENCE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "text/span.h"

namespace lethe {

class Tokenizer;

struct Sequence {
  std::vector<int32_t> ids;
  int32_t prompt_tokens = 0;    // leading ids that are context, not to be forgotten
  std::vector<Span> sensitive;  // positions in ids: ascending, apart, behind the prompt
  friend bool operator==(const Sequence&, const Sequence&) = default;
};

struct SequenceLimits {
  int32_t vocab_size = 0;  // of the model; 0: the tokenizer's, where there is one
  int32_t min_tokens = 2;  // the first token is predicted by nothing
  int32_t max_tokens = 1 << 20;
  bool add_special = false;  // tokenise with the special tokens that the tokenizer puts around
  size_t max_sequences = 10'000'000;         // of a file
  size_t max_line_bytes = size_t{16} << 20;  // of a file
};

// Says whether the sequence keeps its own rules and the limits.
absl::Status CheckSequence(const Sequence& sequence, const SequenceLimits& limits);

// From text, with sensitive spans in bytes of the text.
absl::StatusOr<Sequence> SequenceFromText(const Tokenizer& tokenizer, std::string_view text,
                                          std::span<const Span> sensitive,
                                          const SequenceLimits& limits = {});

// From a prompt, which is context, and an answer, with sensitive spans in bytes of the answer.
absl::StatusOr<Sequence> SequenceFromPrompt(const Tokenizer& tokenizer, std::string_view prompt,
                                            std::string_view answer,
                                            std::span<const Span> sensitive,
                                            const SequenceLimits& limits = {});

// `tokenizer` may be null for files of ids.
absl::StatusOr<std::vector<Sequence>> LoadSequences(const std::filesystem::path& file,
                                                    const Tokenizer* tokenizer,
                                                    const SequenceLimits& limits = {});

// Writes lines of ids that LoadSequences reads; the file shows whole or not at all, and only its
// owner may read it.
absl::Status WriteSequences(const std::filesystem::path& file, std::span<const Sequence> sequences);

}  // namespace lethe

#endif  // LETHE_TEXT_SEQUENCE_H_
