// Files of sequences line by line, for who must not hold all of them in memory.
//
//   LETHE_ASSIGN_OR_RETURN(LineReader lines, LineReader::Open("corpus.jsonl"));
//   for (;;) {
//     LETHE_ASSIGN_OR_RETURN(const std::optional<std::string_view> line, lines.Next());
//     if (!line.has_value()) break;
//     absl::StatusOr<KeyedSequence> read = KeyedSequenceFromLine(*line, &tokenizer, limits);
//     if (!read.ok()) return lines.At(read.status());   // "corpus.jsonl:17: ..."
//   }
//
// A line has one of the forms of text/sequence.h. A line of a corpus also says whose it is:
//
//   {"text": "…", "subject": "p-17", "document": "mail-3"}
//
// Keys       "subject" is the person and must be there; "document" may be left out. Both are
//            strings, not empty, of at most 4,096 bytes, and are compared byte by byte.
// Errors     those of text/sequence.h about files; SUBJECT_MISSING, KEY_INVALID. None quotes text,
//            ids or keys.
// Threads    one a reader; the functions any.
#ifndef LETHE_TEXT_SEQUENCE_LINES_H_
#define LETHE_TEXT_SEQUENCE_LINES_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

#include "text/sequence.h"

namespace lethe {

inline constexpr size_t kMaxKeyBytes = 4096;

struct KeyedSequence {
  Sequence sequence;
  std::string subject;
  std::optional<std::string> document;
};

// `tokenizer` may be null for lines of ids. SequenceFromLine refuses the keys of a corpus like any
// other field that it does not know.
absl::StatusOr<Sequence> SequenceFromLine(std::string_view line, const Tokenizer* tokenizer,
                                          const SequenceLimits& limits);
absl::StatusOr<KeyedSequence> KeyedSequenceFromLine(std::string_view line,
                                                    const Tokenizer* tokenizer,
                                                    const SequenceLimits& limits);

// The lines of a file that are not blank.
class LineReader {
 public:
  static absl::StatusOr<LineReader> Open(const std::filesystem::path& file,
                                         size_t max_line_bytes = SequenceLimits().max_line_bytes);

  // The next line, good until the next call; nothing at the end.
  absl::StatusOr<std::optional<std::string_view>> Next();

  size_t number() const { return number_; }  // of the line that Next gave, from 1
  uint64_t bytes_read() const { return bytes_read_; }

  // The status with "file:line: " before it, and the line under "line" in its metadata.
  absl::Status At(const absl::Status& status) const;

 private:
  LineReader(std::filesystem::path file, size_t max_line_bytes);

  std::filesystem::path file_;
  size_t max_line_bytes_;
  std::ifstream in_;
  std::string buffer_;
  size_t number_ = 0;
  uint64_t bytes_read_ = 0;
};

}  // namespace lethe

#endif  // LETHE_TEXT_SEQUENCE_LINES_H_
