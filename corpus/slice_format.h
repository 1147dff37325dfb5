// The file of a slice, byte by byte. docs/corpus.md has a worked example.
//
// Grammar    file   = "LETHESL1" record* places subjects documents grams footer
//            record = corpus/sequence_record.h, in the order of arrival
//            The four tables are corpus/paged_table.h's, ascending; numbers in them are big-endian:
//            places    = id:5 offset:5       of each record, from the beginning of the file
//            subjects  = hash:16 id:5        one for each sequence
//            documents = hash:16 id:5        one for each that has a document
//            grams     = print:8 id:5        corpus/fingerprints.h
//            footer = version:4 shard:4 slice:4 id_bytes:4 gram_tokens:4 window:4 generation:8
//                     sequences:8 tokens:8 record_bytes:8 subjects:8 documents:8 grams:8
//                     tokenizer_sha256:32 content_sha256:32 crc32c:4     little-endian
// The offset of each table follows from the counts: nothing is padded, and each byte is under a
// checksum. The content digest is over AppendContent of all sequences, in order.
// Threads    any.
// Errors     DATA_LOSS/CORPUS_DAMAGED; FAILED_PRECONDITION/FORMAT_VERSION_UNKNOWN.
#ifndef LETHE_CORPUS_SLICE_FORMAT_H_
#define LETHE_CORPUS_SLICE_FORMAT_H_

#include <compare>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "corpus/corpus_key.h"
#include "corpus/fingerprints.h"
#include "corpus/sequence_record.h"

namespace lethe {

inline constexpr std::string_view kSliceMagic = "LETHESL1";
inline constexpr uint32_t kSliceVersion = 1;
inline constexpr size_t kSliceFooterBytes = 144 + 4;

inline constexpr size_t kOffsetBytes = 5;
inline constexpr size_t kPlaceBytes = kSequenceIdBytes + kOffsetBytes;
inline constexpr size_t kKeyEntryBytes = kKeyHashBytes + kSequenceIdBytes;
inline constexpr size_t kGramEntryBytes = 8 + kSequenceIdBytes;

// Which slice of which shard, both from 0.
struct SlicePlace {
  uint32_t shard = 0;
  uint32_t slice = 0;
  friend auto operator<=>(const SlicePlace&, const SlicePlace&) = default;
};

struct SliceFooter {
  SlicePlace place;
  int id_bytes = 0;
  GramOptions grams;
  uint64_t generation = 0;  // of the manifest that named it first
  uint64_t sequences = 0, tokens = 0;
  uint64_t record_bytes = 0;
  uint64_t subject_entries = 0, document_entries = 0, gram_entries = 0;
  std::string tokenizer_digest;  // hex; empty: ids without a tokenizer
  std::string content_digest;    // hex

  // Of the whole file.
  uint64_t FileBytes() const;
};

std::string FooterToBytes(const SliceFooter& footer);
// From the end of a whole file, whose length must fit.
absl::StatusOr<SliceFooter> FooterFromFile(std::string_view file_bytes,
                                           const std::filesystem::path& file);

}  // namespace lethe

#endif  // LETHE_CORPUS_SLICE_FORMAT_H_
