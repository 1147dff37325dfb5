#include "corpus/slice_format.h"

#include "absl/strings/escaping.h"
#include "corpus/byte_order.h"
#include "corpus/checksum.h"
#include "corpus/corpus_status.h"
#include "corpus/paged_table.h"

namespace lethe {
namespace {

constexpr size_t kDigestBytes = 32;

// An absent digest is 32 zeros.
std::string DigestToBytes(const std::string& hex) {
  return hex.empty() ? std::string(kDigestBytes, '\0') : absl::HexStringToBytes(hex);
}

std::string DigestFromBytes(std::string_view bytes) {
  const std::string copy(bytes);
  return copy == std::string(kDigestBytes, '\0') ? "" : absl::BytesToHexString(copy);
}

// Counts from a footer whose checksum is right can still be those of an attacker; sums of what
// passes here do not overflow.
bool Plausible(const SliceFooter& f) {
  constexpr uint64_t kMax = uint64_t{1} << 48;
  return f.sequences <= kMaxSequences && f.record_bytes < kMax && f.subject_entries < kMax &&
         f.document_entries < kMax && f.gram_entries < kMax && f.id_bytes >= 2 && f.id_bytes <= 4 &&
         f.subject_entries == f.sequences && f.document_entries <= f.sequences &&
         f.grams.gram_tokens > 0 && f.grams.window > 0;
}

// Takes numbers off the head of bytes that are long enough.
class Numbers {
 public:
  explicit Numbers(std::string_view bytes) : bytes_(bytes) {}
  uint64_t Next(size_t size) {
    const uint64_t value = LoadLittle(bytes_.data(), size);
    bytes_.remove_prefix(size);
    return value;
  }
  uint32_t Next32() { return static_cast<uint32_t>(Next(4)); }
  std::string_view Bytes(size_t size) {
    const std::string_view head = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return head;
  }

 private:
  std::string_view bytes_;
};

SliceFooter ParseFields(Numbers numbers) {
  SliceFooter f;
  f.place.shard = numbers.Next32();
  f.place.slice = numbers.Next32();
  f.id_bytes = static_cast<int>(numbers.Next32());
  f.grams.gram_tokens = static_cast<int32_t>(numbers.Next32());
  f.grams.window = static_cast<int32_t>(numbers.Next32());
  f.generation = numbers.Next(8);
  f.sequences = numbers.Next(8);
  f.tokens = numbers.Next(8);
  f.record_bytes = numbers.Next(8);
  f.subject_entries = numbers.Next(8);
  f.document_entries = numbers.Next(8);
  f.gram_entries = numbers.Next(8);
  f.tokenizer_digest = DigestFromBytes(numbers.Bytes(kDigestBytes));
  f.content_digest = DigestFromBytes(numbers.Bytes(kDigestBytes));
  return f;
}

}  // namespace

uint64_t SliceFooter::FileBytes() const {
  return kSliceMagic.size() + record_bytes + TableBytes(kPlaceBytes, sequences) +
         TableBytes(kKeyEntryBytes, subject_entries) +
         TableBytes(kKeyEntryBytes, document_entries) + TableBytes(kGramEntryBytes, gram_entries) +
         kSliceFooterBytes;
}

std::string FooterToBytes(const SliceFooter& f) {
  std::string out;
  PutLittle(&out, kSliceVersion, 4);
  PutLittle(&out, f.place.shard, 4);
  PutLittle(&out, f.place.slice, 4);
  PutLittle(&out, static_cast<uint64_t>(f.id_bytes), 4);
  PutLittle(&out, static_cast<uint64_t>(f.grams.gram_tokens), 4);
  PutLittle(&out, static_cast<uint64_t>(f.grams.window), 4);
  for (const uint64_t value : {f.generation, f.sequences, f.tokens, f.record_bytes,
                               f.subject_entries, f.document_entries, f.gram_entries}) {
    PutLittle(&out, value, 8);
  }
  out += DigestToBytes(f.tokenizer_digest);
  out += DigestToBytes(f.content_digest);
  PutLittle(&out, Crc32c(out), 4);
  return out;
}

absl::StatusOr<SliceFooter> FooterFromFile(std::string_view file_bytes,
                                           const std::filesystem::path& file) {
  if (file_bytes.size() < kSliceMagic.size() + kSliceFooterBytes ||
      !file_bytes.starts_with(kSliceMagic)) {
    return Damaged(file, "it is not a slice of a corpus");
  }
  const std::string_view bytes = file_bytes.substr(file_bytes.size() - kSliceFooterBytes);
  const std::string_view fields = bytes.substr(0, kSliceFooterBytes - 4);
  if (Crc32c(fields) != LoadLittle(bytes.data() + fields.size(), 4)) {
    return Damaged(file, "the checksum of its footer is wrong");
  }
  Numbers numbers(fields);
  if (const uint32_t version = numbers.Next32(); version != kSliceVersion) {
    return Error(absl::StatusCode::kFailedPrecondition, "FORMAT_VERSION_UNKNOWN",
                 file.string() + ": it has format version " + std::to_string(version) +
                     ", and this program knows " + std::to_string(kSliceVersion));
  }
  SliceFooter footer = ParseFields(numbers);
  if (!Plausible(footer) || footer.FileBytes() != file_bytes.size()) {
    return Damaged(file, "its footer and its length do not fit");
  }
  return footer;
}

}  // namespace lethe
