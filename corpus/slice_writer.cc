#include "corpus/slice_writer.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "corpus/byte_order.h"
#include "corpus/corpus_folder.h"
#include "corpus/paged_table.h"

namespace lethe {

absl::StatusOr<SliceWriter> SliceWriter::Create(const std::filesystem::path& folder,
                                                SlicePlace place, const Manifest& next,
                                                const SipKey& gram_key) {
  SliceFooter footer;
  footer.place = place;
  footer.id_bytes = TokenIdBytes(next.vocab_size);
  footer.grams = next.grams;
  footer.generation = next.generation;
  footer.tokenizer_digest = next.tokenizer_digest;
  LETHE_ASSIGN_OR_RETURN(OutputFile file,
                         OutputFile::Create(folder / SliceFileName(place, next.generation)));
  LETHE_RETURN_IF_ERROR(file.Append(kSliceMagic));
  return SliceWriter(folder, std::move(file), std::move(footer), gram_key);
}

SliceWriter::SliceWriter(const std::filesystem::path& folder, OutputFile file, SliceFooter footer,
                         const SipKey& gram_key)
    : file_(std::move(file)),
      footer_(std::move(footer)),
      gram_key_(gram_key),
      content_(std::make_unique<Sha256>()),
      places_(folder),
      subjects_(folder),
      documents_(folder),
      grams_(folder) {}

absl::Status SliceWriter::AddRecord(const StoredSequence& stored) {
  std::string place = PlaceKey(stored.id) + std::string(kOffsetBytes, '\0');
  StoreBig(place.data() + kSequenceIdBytes, file_.size(), kOffsetBytes);
  LETHE_RETURN_IF_ERROR(places_.Add(place));
  buffer_.clear();
  AppendRecord(stored.id, stored.sequence, footer_.id_bytes, &buffer_);
  footer_.record_bytes += buffer_.size();
  footer_.tokens += stored.sequence.ids.size();
  ++footer_.sequences;
  LETHE_RETURN_IF_ERROR(file_.Append(buffer_));
  buffer_.clear();
  AppendContent(stored.sequence, &buffer_);
  content_->Update(buffer_);
  return absl::OkStatus();
}

absl::Status SliceWriter::Add(const StoredSequence& stored, const KeyHash& subject,
                              const std::optional<KeyHash>& document) {
  LETHE_RETURN_IF_ERROR(AddRecord(stored));
  const std::string id = PlaceKey(stored.id);
  LETHE_RETURN_IF_ERROR(subjects_.Add(std::string(View(subject)) + id));
  if (document.has_value()) {
    LETHE_RETURN_IF_ERROR(documents_.Add(std::string(View(*document)) + id));
  }
  for (const uint64_t print : Fingerprints(stored.sequence.ids, footer_.grams, gram_key_)) {
    LETHE_RETURN_IF_ERROR(grams_.Add(GramKey(print) + id));
  }
  return absl::OkStatus();
}

absl::Status SliceWriter::CopyFrom(const Slice& slice, const std::vector<SequenceId>& without) {
  const auto stays = [&](SequenceId id) {
    return !std::binary_search(without.begin(), without.end(), id);
  };
  const auto copy = [&](const PagedTable& from, auto* to) {
    return from.ForEach([&](std::string_view record) {
      return stays(IdOfEntry(record)) ? to->Add(record) : absl::OkStatus();
    });
  };
  LETHE_RETURN_IF_ERROR(slice.ForEach([&](const StoredSequence& stored) {
    return stays(stored.id) ? AddRecord(stored) : absl::OkStatus();
  }));
  LETHE_RETURN_IF_ERROR(copy(slice.subjects(), &subjects_));
  LETHE_RETURN_IF_ERROR(copy(slice.documents(), &documents_));
  return copy(slice.grams(), &grams_);
}

template <size_t kBytes>
absl::Status SliceWriter::WriteTable(RecordSorter<kBytes>* sorter) {
  TableWriter table(kBytes, &file_);
  LETHE_RETURN_IF_ERROR(
      sorter->Drain([&](std::string_view record) { return table.Append(record); }));
  return table.Finish();
}

absl::StatusOr<SliceEntry> SliceWriter::Finish() {
  footer_.subject_entries = subjects_.records();
  footer_.document_entries = documents_.records();
  footer_.gram_entries = grams_.records();
  footer_.content_digest = content_->Hex();
  LETHE_RETURN_IF_ERROR(WriteTable(&places_));
  LETHE_RETURN_IF_ERROR(WriteTable(&subjects_));
  LETHE_RETURN_IF_ERROR(WriteTable(&documents_));
  LETHE_RETURN_IF_ERROR(WriteTable(&grams_));
  LETHE_RETURN_IF_ERROR(file_.Append(FooterToBytes(footer_)));
  SliceEntry entry{.place = footer_.place,
                   .file = SliceFileName(footer_.place, footer_.generation),
                   .bytes = file_.size(),
                   .sequences = footer_.sequences,
                   .tokens = footer_.tokens,
                   .content_digest = footer_.content_digest};
  LETHE_ASSIGN_OR_RETURN(entry.sha256, file_.Finish());
  return entry;
}

}  // namespace lethe
