// Slice: the sequences of one shard that arrived one after the other, mapped from their file.
//
//   LETHE_ASSIGN_OR_RETURN(Slice slice, Slice::Open(folder, entry, manifest));
//   LETHE_RETURN_IF_ERROR(slice.ForEach([&](const StoredSequence& s) { return Train(s.sequence); }));
//   LETHE_ASSIGN_OR_RETURN(StoredSequence s, slice.At(3));   // the fourth
//
// Whole      all that is read is checked against a checksum on the way; opening compares the file's
//            length and footer with the manifest, but does not read it. Check (corpus/check.h) does.
// Threads    a Slice never changes; any.
// Errors     DATA_LOSS/CORPUS_DAMAGED, naming the file; those of the callbacks.
#ifndef LETHE_CORPUS_SLICE_H_
#define LETHE_CORPUS_SLICE_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "corpus/manifest.h"
#include "corpus/mapped_file.h"
#include "corpus/paged_table.h"
#include "corpus/slice_format.h"

namespace lethe {

struct StoredSequence {
  SequenceId id;
  Sequence sequence;
};

// What a record of `subjects`, `documents` or `grams` points to: its last bytes.
SequenceId IdOfEntry(std::string_view record);
// The key of a sequence in `places`, which its record begins with.
std::string PlaceKey(SequenceId id);
// The first bytes of a record of `grams`.
std::string GramKey(uint64_t print);

class Slice {
 public:
  using Visitor = std::function<absl::Status(const StoredSequence& sequence)>;

  static absl::StatusOr<Slice> Open(const std::filesystem::path& folder, const SliceEntry& entry,
                                    const Manifest& manifest);

  uint64_t sequences() const { return footer_.sequences; }
  const SliceFooter& footer() const { return footer_; }

  // By place in the order of arrival; `index` < sequences().
  absl::StatusOr<StoredSequence> At(uint64_t index) const;
  absl::StatusOr<std::optional<StoredSequence>> Get(SequenceId id) const;
  absl::Status ForEach(const Visitor& visit) const;

  // places, subjects, documents, grams: see corpus/slice_format.h.
  const PagedTable& places() const { return places_; }
  const PagedTable& subjects() const { return subjects_; }
  const PagedTable& documents() const { return documents_; }
  const PagedTable& grams() const { return grams_; }

  // The ids that a table has under a key are added to `ids`, ascending.
  static absl::Status Find(const PagedTable& table, std::string_view key,
                           std::vector<SequenceId>* ids);

 private:
  Slice(std::filesystem::path path, MappedFile file, SliceFooter footer);
  absl::StatusOr<StoredSequence> Read(std::string_view place_record) const;
  PagedTable NextTable(uint64_t* offset, size_t record_bytes, uint64_t records) const;

  std::filesystem::path path_;
  MappedFile file_;
  SliceFooter footer_;
  PagedTable places_, subjects_, documents_, grams_;
};

}  // namespace lethe

#endif  // LETHE_CORPUS_SLICE_H_
