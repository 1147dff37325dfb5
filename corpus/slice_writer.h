// Writes the file of a slice: sequences in the order of arrival, then the tables that find them.
//
//   LETHE_ASSIGN_OR_RETURN(SliceWriter writer, SliceWriter::Create(folder, head, key));
//   LETHE_RETURN_IF_ERROR(writer.CopyFrom(old_slice, erased));      // all but those
//   LETHE_RETURN_IF_ERROR(writer.Add({id, sequence}, subject, document));
//   LETHE_ASSIGN_OR_RETURN(const SliceEntry entry, writer.Finish());
//
// Order      ids must ascend over all calls.
// Whole      without Finish nothing is left of the file. After it the file is synced, its name in
//            the folder is not.
// Memory     bounded, however many sequences there are (corpus/record_sorter.h).
// Threads    one.
// Errors     those of base/file.h, and of the slice that is copied.
#ifndef LETHE_CORPUS_SLICE_WRITER_H_
#define LETHE_CORPUS_SLICE_WRITER_H_

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/digest.h"
#include "corpus/corpus_key.h"
#include "corpus/manifest.h"
#include "corpus/output_file.h"
#include "corpus/record_sorter.h"
#include "corpus/slice.h"
#include "corpus/slice_format.h"

namespace lethe {

class SliceWriter {
 public:
  // For a place in the next state of a corpus: the manifest gives all else.
  static absl::StatusOr<SliceWriter> Create(const std::filesystem::path& folder, SlicePlace place,
                                            const Manifest& next, const SipKey& gram_key);

  absl::Status Add(const StoredSequence& stored, const KeyHash& subject,
                   const std::optional<KeyHash>& document);
  // The sequences of another version of this slice, but those of `without` (ascending).
  absl::Status CopyFrom(const Slice& slice, const std::vector<SequenceId>& without);

  absl::StatusOr<SliceEntry> Finish();

 private:
  SliceWriter(const std::filesystem::path& folder, OutputFile file, SliceFooter footer,
              const SipKey& gram_key);
  absl::Status AddRecord(const StoredSequence& stored);
  template <size_t kBytes>
  absl::Status WriteTable(RecordSorter<kBytes>* sorter);

  OutputFile file_;
  SliceFooter footer_;
  SipKey gram_key_;
  std::unique_ptr<Sha256> content_;
  RecordSorter<kPlaceBytes> places_;
  RecordSorter<kKeyEntryBytes> subjects_, documents_;
  RecordSorter<kGramEntryBytes> grams_;
  std::string buffer_;
};

}  // namespace lethe

#endif  // LETHE_CORPUS_SLICE_WRITER_H_
