// The manifest of a corpus: the one file that says what is there. It is replaced in one step; a
// file of the folder that it does not name does not exist, and goes with the next write.
//
//   LETHE_ASSIGN_OR_RETURN(Manifest manifest, ReadManifest(folder));
//   LETHE_RETURN_IF_ERROR(WriteManifest(folder, manifest));
//
// On disk    manifest.json: a JSON object, then a line "sha256 <hex>" over all bytes before it.
// Threads    free functions; any.
// Errors     NOT_FOUND/CORPUS_MISSING there is none; DATA_LOSS/CORPUS_DAMAGED;
//            FAILED_PRECONDITION/FORMAT_VERSION_UNKNOWN; those of base/file.h.
#ifndef LETHE_CORPUS_MANIFEST_H_
#define LETHE_CORPUS_MANIFEST_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "corpus/slice_format.h"

namespace lethe {

inline constexpr char kManifestName[] = "manifest.json";

struct SliceEntry {
  SlicePlace place;
  std::string file;  // its name in the folder
  uint64_t bytes = 0;
  std::string sha256;  // of the file
  uint64_t sequences = 0, tokens = 0;
  std::string content_digest;  // of the sequences, wherever and however they are stored
  friend bool operator==(const SliceEntry&, const SliceEntry&) = default;
};

struct Manifest {
  uint64_t generation = 0;  // one more with each change
  std::string key_id;
  std::string tokenizer_digest;  // empty: built of ids, without a tokenizer
  int32_t vocab_size = 0;
  uint32_t shards = 0, slices = 0;
  GramOptions grams;
  bool document_parts = false;    // several sequences may have one document
  uint64_t next_id = 0;           // ids below it were given, also to what is erased since
  std::vector<SliceEntry> files;  // shard by shard, slice by slice

  SliceEntry& At(SlicePlace place) { return files[place.shard * slices + place.slice]; }
  const SliceEntry& At(SlicePlace place) const { return files[place.shard * slices + place.slice]; }
  friend bool operator==(const Manifest&, const Manifest&) = default;
};

absl::StatusOr<Manifest> ReadManifest(const std::filesystem::path& folder);
absl::Status WriteManifest(const std::filesystem::path& folder, const Manifest& manifest);

}  // namespace lethe

#endif  // LETHE_CORPUS_MANIFEST_H_
