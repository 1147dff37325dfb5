// Builds a corpus from JSON Lines, and adds late data to one.
//
//   CorpusInput input{.files = {"people.jsonl"}, .tokenizer = &tokenizer};
//   LETHE_ASSIGN_OR_RETURN(const BuildResult built,
//                          BuildCorpus("/data/corpus", key, {.shards = 8, .slices = 4}, input));
//   LETHE_ASSIGN_OR_RETURN(const BuildResult added, AppendToCorpus("/data/corpus", key, late));
//
// Input      the lines of text/sequence_lines.h, each one sequence of one person. Ids ascend in the
//            order of files and lines.
// Documents  a line without a document is found by its person and its id only. Two lines of the same
//            document are refused, unless `document_parts` says that documents come in parts.
// Slices     the arrivals of each shard are cut into as many equal parts as there are slices. What
//            is appended later goes into the last slice, of which a new version is made.
// Whole      after an error, a kill or a power cut the folder is what it was: no corpus, or the
//            corpus before. Start again; what a killed run left behind is removed then.
// Memory     bounded: no more with more sequences.
// Disk       while it runs, about as much again as the corpus takes.
// Threads    one process and thread writes to a folder at a time; any may read meanwhile.
// Errors     INVALID_ARGUMENT: CORPUS_OPTIONS_INVALID, VOCABULARY_NEEDED, TOKENIZER_DIFFERS (append),
//            KEY_WRONG, and what is wrong with a line, with "file:line: " (metadata "line", and
//            "source": the file's place in CorpusInput::files): text/sequence_lines.h,
//            DOCUMENT_REPEATED. ALREADY_EXISTS/CORPUS_EXISTS, FOLDER_NOT_EMPTY.
//            ABORTED/CORPUS_BUSY. CANCELLED/CANCELLED by the progress callback. Those of Corpus and
//            of base/file.h.
#ifndef LETHE_CORPUS_BUILD_H_
#define LETHE_CORPUS_BUILD_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <vector>

#include "absl/status/statusor.h"
#include "corpus/corpus_key.h"
#include "corpus/fingerprints.h"
#include "text/sequence_lines.h"
#include "text/tokenizer.h"

namespace lethe {

inline constexpr uint32_t kMaxShards = 256;
inline constexpr uint32_t kMaxSlices = 256;
inline constexpr uint32_t kMaxSlicesInAll = 4096;

struct CorpusOptions {
  uint32_t shards = 8;
  uint32_t slices = 4;  // of each shard
  GramOptions grams;
  bool document_parts = false;
};

struct CorpusInput {
  std::vector<std::filesystem::path> files;
  const Tokenizer* tokenizer = nullptr;  // null: lines of ids only
  SequenceLimits limits;                 // of each line; vocab_size 0: the tokenizer's
};

struct CorpusProgress {
  const char* phase = "";            // "read", "write"
  uint64_t sequences = 0;            // in this phase
  uint64_t bytes = 0, of_bytes = 0;  // of the input; while reading
};

// Called now and then; false gives up.
using CorpusProgressCallback = std::function<bool(const CorpusProgress&)>;

struct BuildResult {
  uint64_t sequences = 0, tokens = 0;  // that came in
  uint64_t bytes = 0;                  // that were written and stay
};

absl::StatusOr<BuildResult> BuildCorpus(const std::filesystem::path& folder, const CorpusKey& key,
                                        const CorpusOptions& options, const CorpusInput& input,
                                        const CorpusProgressCallback& progress = nullptr);

absl::StatusOr<BuildResult> AppendToCorpus(const std::filesystem::path& folder,
                                           const CorpusKey& key, const CorpusInput& input,
                                           const CorpusProgressCallback& progress = nullptr);

}  // namespace lethe

#endif  // LETHE_CORPUS_BUILD_H_
