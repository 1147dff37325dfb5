#include "corpus/slice.h"

#include <utility>

#include "corpus/byte_order.h"
#include "corpus/corpus_status.h"

namespace lethe {
namespace {

// A file of this corpus, but not the one that the manifest means here?
bool IsTheOneNamed(const SliceFooter& f, const SliceEntry& entry, const Manifest& m) {
  return f.place == entry.place && f.sequences == entry.sequences && f.tokens == entry.tokens &&
         f.content_digest == entry.content_digest && f.grams == m.grams &&
         f.tokenizer_digest == m.tokenizer_digest && f.id_bytes == TokenIdBytes(m.vocab_size);
}

}  // namespace

SequenceId IdOfEntry(std::string_view record) {
  return {LoadBig(record.data() + record.size() - kSequenceIdBytes, kSequenceIdBytes)};
}

std::string PlaceKey(SequenceId id) {
  std::string key(kSequenceIdBytes, '\0');
  StoreBig(key.data(), id.value, key.size());
  return key;
}

std::string GramKey(uint64_t print) {
  std::string key(8, '\0');
  StoreBig(key.data(), print, key.size());
  return key;
}

Slice::Slice(std::filesystem::path path, MappedFile file, SliceFooter footer)
    : path_(std::move(path)),
      file_(std::move(file)),
      footer_(std::move(footer)),
      places_({}, kPlaceBytes, 0, path_),
      subjects_(places_),
      documents_(places_),
      grams_(places_) {
  uint64_t offset = kSliceMagic.size() + footer_.record_bytes;
  places_ = NextTable(&offset, kPlaceBytes, footer_.sequences);
  subjects_ = NextTable(&offset, kKeyEntryBytes, footer_.subject_entries);
  documents_ = NextTable(&offset, kKeyEntryBytes, footer_.document_entries);
  grams_ = NextTable(&offset, kGramEntryBytes, footer_.gram_entries);
}

PagedTable Slice::NextTable(uint64_t* offset, size_t record_bytes, uint64_t records) const {
  const uint64_t size = TableBytes(record_bytes, records);
  PagedTable table(file_.bytes().substr(*offset, size), record_bytes, records, path_);
  *offset += size;
  return table;
}

absl::StatusOr<Slice> Slice::Open(const std::filesystem::path& folder, const SliceEntry& entry,
                                  const Manifest& manifest) {
  const std::filesystem::path path = folder / entry.file;
  absl::StatusOr<MappedFile> file = MappedFile::Open(path);
  if (!file.ok() && absl::IsNotFound(file.status())) return Damaged(path, "the file is missing");
  if (!file.ok()) return file.status();
  if (file->bytes().size() != entry.bytes) return Damaged(path, "its length is wrong");
  LETHE_ASSIGN_OR_RETURN(SliceFooter footer, FooterFromFile(file->bytes(), path));
  if (!IsTheOneNamed(footer, entry, manifest)) {
    return Damaged(path, "it is not the slice that the manifest names");
  }
  return Slice(path, *std::move(file), std::move(footer));
}

absl::StatusOr<StoredSequence> Slice::Read(std::string_view place_record) const {
  const SequenceId id{LoadBig(place_record.data(), kSequenceIdBytes)};
  const uint64_t offset = LoadBig(place_record.data() + kSequenceIdBytes, kOffsetBytes);
  const uint64_t end = kSliceMagic.size() + footer_.record_bytes;
  if (offset < kSliceMagic.size() || offset >= end) {
    return Damaged(path_, "a sequence is said to stand outside the file");
  }
  LETHE_ASSIGN_OR_RETURN(Sequence sequence, ParseRecord(file_.bytes().substr(offset, end - offset),
                                                        id, footer_.id_bytes, path_));
  return StoredSequence{id, std::move(sequence)};
}

absl::StatusOr<StoredSequence> Slice::At(uint64_t index) const {
  LETHE_ASSIGN_OR_RETURN(const std::string_view place, places_.At(index));
  return Read(place);
}

absl::StatusOr<std::optional<StoredSequence>> Slice::Get(SequenceId id) const {
  std::optional<StoredSequence> found;
  LETHE_RETURN_IF_ERROR(places_.ForEachWith(PlaceKey(id), [&](std::string_view place) {
    absl::StatusOr<StoredSequence> read = Read(place);
    if (read.ok()) found = *std::move(read);
    return read.status();
  }));
  return found;
}

absl::Status Slice::ForEach(const Visitor& visit) const {
  return places_.ForEach([&](std::string_view place) -> absl::Status {
    LETHE_ASSIGN_OR_RETURN(const StoredSequence sequence, Read(place));
    return visit(sequence);
  });
}

absl::Status Slice::Find(const PagedTable& table, std::string_view key,
                         std::vector<SequenceId>* ids) {
  return table.ForEachWith(key, [&](std::string_view record) {
    ids->push_back(IdOfEntry(record));
    return absl::OkStatus();
  });
}

}  // namespace lethe
