// Intake: the input of a build or an append, read once and laid out by shard in nameless files.
//
//   Intake intake(folder, key, shards, first_id, id_bytes);
//   LETHE_RETURN_IF_ERROR(intake.Read(input, progress));
//   LETHE_RETURN_IF_ERROR(intake.RefuseRepeatedDocuments(input));
//   LETHE_RETURN_IF_ERROR(intake.ForEach(shard, begin, end, [&](const Arrival& a) { ... }));
//
// Memory     64 KiB a shard, the line that is read, and corpus/record_sorter.h's budget.
// Threads    one.
// Errors     text/sequence_lines.h's with "file:line: " and its metadata; DOCUMENT_REPEATED;
//            TOO_MANY_SEQUENCES; CANCELLED when the progress callback says so; those of base/file.h.
#ifndef LETHE_CORPUS_INTAKE_H_
#define LETHE_CORPUS_INTAKE_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "corpus/build.h"
#include "corpus/corpus.h"
#include "corpus/output_file.h"
#include "corpus/record_sorter.h"

namespace lethe {

struct Arrival {
  StoredSequence stored;
  KeyHash subject;
  std::optional<KeyHash> document;
};

class Intake {
 public:
  using Visitor = std::function<absl::Status(const Arrival& arrival)>;

  // `next` is the state to come: shards, vocabulary, the id of the first arrival.
  Intake(std::filesystem::path folder, const CorpusKey& key, const Manifest& next);

  // `before` is what there is already, or null: its documents are refused line by line.
  absl::Status Read(const CorpusInput& input, const Corpus* before,
                    const CorpusProgressCallback& progress);
  // Documents that two of the lines have.
  absl::Status RefuseRepeatedDocuments(const CorpusInput& input);

  uint64_t arrivals() const { return next_id_ - first_id_; }
  uint64_t arrivals(uint32_t shard) const { return shards_[shard].arrivals; }

  // The arrivals of a shard from one on, in order, until `most` were visited. A shard is read from
  // its beginning to its end.
  absl::Status ForNext(uint32_t shard, uint64_t most, const Visitor& visit);

 private:
  struct Shard {
    std::optional<SpillFile> spill;
    uint64_t arrivals = 0;
    uint64_t read = 0;  // bytes of the spill
    std::string block;  // what follows, read ahead
    size_t position = 0;
  };

  absl::Status ReadFile(const std::filesystem::path& file, const CorpusInput& input,
                        const Corpus* before, const CorpusProgressCallback& progress,
                        CorpusProgress* done);
  absl::Status Take(const KeyedSequence& line, const Corpus* before);
  absl::StatusOr<std::string_view> NextEntry(Shard* shard) const;

  const std::filesystem::path folder_;
  const CorpusKey& key_;
  const int id_bytes_;
  const bool document_parts_;
  const uint64_t first_id_;
  uint64_t next_id_;
  std::vector<Shard> shards_;
  RecordSorter<kKeyEntryBytes> documents_;
  std::string entry_;
};

}  // namespace lethe

#endif  // LETHE_CORPUS_INTAKE_H_
