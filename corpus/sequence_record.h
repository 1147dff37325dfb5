// A sequence as bytes: as a slice's file stores it, and as its content digest reads it.
//
//   std::string bytes;
//   AppendRecord(SequenceId{17}, sequence, /*id_bytes=*/2, &bytes);
//   LETHE_ASSIGN_OR_RETURN(Sequence again, ParseRecord(bytes, SequenceId{17}, 2, file));
//
// Grammar    record = crc32c:4 body              of the id as 5 bytes, big-endian, and the body
//            body   = tokens:varint prompt_tokens:varint spans:varint
//                     (gap:varint length:varint)*spans      gap: from the end of the span before
//                     id:id_bytes*tokens
//            Numbers are little-endian. id_bytes is 2, 3 or 4: what the vocabulary needs.
//            content = tokens:4 prompt_tokens:4 spans:4 (begin:4 end:4)*spans id:4*tokens
// The id     is not stored in the record, but a record that belongs to another id is found out.
// Threads    any.
// Errors     DATA_LOSS/CORPUS_DAMAGED, naming the file.
#ifndef LETHE_CORPUS_SEQUENCE_RECORD_H_
#define LETHE_CORPUS_SEQUENCE_RECORD_H_

#include <compare>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "text/sequence.h"

namespace lethe {

// The number of a sequence in the order of arrival. It keeps it for ever, and no other gets it.
struct SequenceId {
  uint64_t value = 0;
  friend auto operator<=>(const SequenceId&, const SequenceId&) = default;
};

inline constexpr size_t kSequenceIdBytes = 5;
inline constexpr uint64_t kMaxSequences = uint64_t{1} << 40;

// 2, 3 or 4 bytes hold any id below the size.
int TokenIdBytes(int32_t vocab_size);

void AppendRecord(SequenceId id, const Sequence& sequence, int id_bytes, std::string* out);

// From the head of `bytes`; what follows the record is not looked at.
absl::StatusOr<Sequence> ParseRecord(std::string_view bytes, SequenceId id, int id_bytes,
                                     const std::filesystem::path& file);

// What the content digest of a slice is taken over, sequence by sequence: nothing of how or where
// it is stored.
void AppendContent(const Sequence& sequence, std::string* out);

}  // namespace lethe

#endif  // LETHE_CORPUS_SEQUENCE_RECORD_H_
