#include "engine/teacher_manifest.h"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/file.h"
#include "engine/checkpoint/checked_json.h"
#include "engine/checkpoint/checkpoint_folder.h"
#include "engine/checkpoint/decoder_config.h"
#include "engine/checkpoint/decoder_tensors.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;
using Entry = TeacherManifest::Entry;

constexpr size_t kLimitBytes = size_t{256} << 20;

absl::Status Refused(std::string_view reason, std::string_view message,
                     const ErrorMetadata& metadata = {}) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message, metadata);
}

absl::Status Bad(std::string_view message) { return Refused("BAD_TEACHER_MANIFEST", message); }

absl::Status OfTeacherIn(const fs::path& file, const absl::Status& status, size_t place) {
  ErrorMetadata metadata = ErrorDetails(status);
  metadata["teacher"] = std::to_string(place);
  return Error(status.code(), ErrorReason(status),
               absl::StrCat(file.string(), ": teacher ", place, ": ", status.message()), metadata);
}

absl::StatusOr<Json> ParseFile(const fs::path& file) {
  LETHE_ASSIGN_OR_RETURN(const std::string text, ReadFile(file, kLimitBytes));
  absl::StatusOr<Json> json = ParseJsonObject(text, file.string());
  if (json.ok()) return json;
  try {
    [[maybe_unused]] const Json whole = Json::parse(text);
  } catch (const Json::parse_error& error) {
    const auto end = text.begin() + static_cast<int64_t>(std::min(error.byte, text.size()));
    return Bad(absl::StrCat(file.string(), ":", 1 + std::count(text.begin(), end, '\n'),
                            ": it is not JSON"));
  }
  return Bad(std::string(json.status().message()));
}

bool HasOnly(const Json& object, std::initializer_list<std::string_view> names) {
  return std::all_of(object.items().begin(), object.items().end(), [&](const auto& item) {
    return std::find(names.begin(), names.end(), item.key()) != names.end();
  });
}

const std::string* StringOf(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? &found->get_ref<const std::string&>()
                                                     : nullptr;
}

absl::Status SawNothing() {
  return Refused("TEACHER_SAW_NOTHING",
                 "it is said to have seen nothing of the corpus: a teacher that was trained on "
                 "nothing of the kind has nothing to teach. Say what it saw, or leave it out");
}

// Keys of documents, as they come, into the sequences that the corpus has of them.
class DocumentReader {
 public:
  explicit DocumentReader(const Corpus& corpus) : corpus_(corpus) {}

  // `place`: where it stands, for errors.
  absl::Status Add(const std::string& key, const ErrorMetadata& place) {
    if (key.empty()) return Refused("BAD_TEACHER_MANIFEST", At(place) + "it is empty", place);
    if (!seen_.insert(key).second) {
      return Refused("BAD_TEACHER_MANIFEST", At(place) + "it stands in the list twice", place);
    }
    LETHE_ASSIGN_OR_RETURN(const std::vector<SequenceId> ids, corpus_.FindDocument(key));
    if (ids.empty()) {
      return Refused("DOCUMENT_UNKNOWN",
                     At(place) +
                         "the corpus does not have it. If it was erased, the teacher knows it "
                         "still: train it again without it, then take it from the list",
                     place);
    }
    sequences_.insert(sequences_.end(), ids.begin(), ids.end());
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<SequenceId>> Take() {
    if (sequences_.empty()) return SawNothing();
    std::sort(sequences_.begin(), sequences_.end());
    return std::move(sequences_);
  }

 private:
  static std::string At(const ErrorMetadata& place) {
    const auto& [what, number] = *place.begin();
    return absl::StrCat(what, " ", number, " of what it saw: ");
  }

  const Corpus& corpus_;
  std::unordered_set<std::string> seen_;
  std::vector<SequenceId> sequences_;
};

absl::StatusOr<std::vector<SequenceId>> ReadDocuments(const Json& list, const Corpus& corpus) {
  if (!list.is_array()) return Bad("saw.documents is a list of document keys");
  DocumentReader reader(corpus);
  for (size_t i = 0; i < list.size(); ++i) {
    if (!list[i].is_string()) return Bad("saw.documents is a list of document keys");
    LETHE_RETURN_IF_ERROR(
        reader.Add(list[i].get_ref<const std::string&>(), {{"document", std::to_string(i)}}));
  }
  return reader.Take();
}

absl::StatusOr<std::vector<SequenceId>> ReadDocumentsFile(const fs::path& file,
                                                          const Corpus& corpus) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return SystemError("cannot open", file, ENOENT);
  DocumentReader reader(corpus);
  std::string line;
  for (size_t number = 1; std::getline(in, line); ++number) {
    if (line.ends_with('\r')) line.pop_back();
    LETHE_RETURN_IF_ERROR(reader.Add(line, {{"line", std::to_string(number)}}));
  }
  if (in.bad()) return SystemError("cannot read", file, EIO);
  return reader.Take();
}

absl::StatusOr<std::set<uint32_t>> ReadShards(const Json& list, const Corpus& corpus) {
  if (!list.is_array()) return Bad("saw.shards is a list of shards' numbers");
  std::set<uint32_t> shards;
  for (const Json& shard : list) {
    if (!shard.is_number_unsigned()) return Bad("saw.shards is a list of shards' numbers");
    const auto number = shard.get<uint64_t>();
    if (number >= corpus.shards()) {
      return Refused("SHARD_UNKNOWN",
                     absl::StrCat("it is said to have seen shard ", number,
                                  ", and the corpus has the shards 0 to ", corpus.shards() - 1),
                     {{"shard", std::to_string(number)}});
    }
    if (!shards.insert(static_cast<uint32_t>(number)).second) {
      return Bad("saw.shards names a shard twice");
    }
  }
  if (shards.empty()) return SawNothing();
  return shards;
}

absl::Status ReadSaw(const Json& json, const fs::path& beside, const Corpus& corpus, Entry& entry) {
  const auto saw = json.find("saw");
  // One of them: two could contradict each other.
  if (saw == json.end() || !saw->is_object() || saw->size() != 1 ||
      !HasOnly(*saw, {"shards", "documents", "documents_file"})) {
    return Bad(
        "saw is one of {\"shards\": [0, 2]}, {\"documents\": [KEY, ...]} and "
        "{\"documents_file\": PATH}");
  }
  if (saw->contains("shards")) {
    LETHE_ASSIGN_OR_RETURN(entry.shards, ReadShards((*saw)["shards"], corpus));
  } else if (saw->contains("documents")) {
    LETHE_ASSIGN_OR_RETURN(entry.sequences, ReadDocuments((*saw)["documents"], corpus));
  } else {
    const std::string* file = StringOf(*saw, "documents_file");
    if (file == nullptr) return Bad("saw.documents_file is the name of a file");
    LETHE_ASSIGN_OR_RETURN(entry.sequences, ReadDocumentsFile(beside / *file, corpus));
  }
  return absl::OkStatus();
}

// A model, of the corpus's tokens, and the one whose digest was said.
absl::Status CheckFolder(const Entry& entry, const Corpus& corpus) {
  LETHE_ASSIGN_OR_RETURN(const CheckpointFolder folder, CheckpointFolder::Open(entry.folder));
  LETHE_ASSIGN_OR_RETURN(const DecoderConfig config, ReadDecoderConfig(folder));
  LETHE_RETURN_IF_ERROR(CheckTensors(config, folder).status());
  const Manifest& made = corpus.manifest();
  if (config.vocab_size < made.vocab_size) {
    return Refused("TEACHER_VOCABULARY_DIFFERS",
                   "its vocabulary is smaller than the corpus's: it cannot have seen those tokens",
                   {{"vocab_size", std::to_string(config.vocab_size)},
                    {"wanted", std::to_string(made.vocab_size)}});
  }
  if (!made.tokenizer_digest.empty()) {
    std::error_code ignored;
    std::string found;
    if (fs::exists(entry.folder / "tokenizer.json", ignored)) {
      LETHE_ASSIGN_OR_RETURN(found, FileDigest(entry.folder / "tokenizer.json"));
    }
    if (found != made.tokenizer_digest) {
      return Refused(
          "TOKENIZER_DIFFERS",
          "its tokenizer.json is not the one that the corpus was made with: the same ids "
          "are other words",
          {{"expected", made.tokenizer_digest}, {"found", found}});
    }
  }
  if (entry.digest.empty()) return absl::OkStatus();
  LETHE_ASSIGN_OR_RETURN(const std::string digest, FolderDigest(entry.folder));
  if (digest == entry.digest) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "TEACHER_CHANGED",
               "the folder's digest is not the one that the manifest says: what it saw was said of "
               "other weights",
               {{"expected", entry.digest}, {"found", digest}});
}

absl::StatusOr<Entry> ReadEntry(const Json& json, const fs::path& beside, const Corpus& corpus) {
  if (!json.is_object() || !HasOnly(json, {"folder", "saw", "digest"})) {
    return Bad("a teacher is {\"folder\": PATH, \"saw\": ...}, with a \"digest\" or without");
  }
  const std::string* folder = StringOf(json, "folder");
  if (folder == nullptr || folder->empty()) return Bad("folder is the name of a folder");
  Entry entry{.folder = beside / *folder};
  if (json.contains("digest")) {
    const std::string* digest = StringOf(json, "digest");
    if (digest == nullptr || digest->empty()) return Bad("digest is a SHA-256");
    entry.digest = *digest;
  }
  LETHE_RETURN_IF_ERROR(ReadSaw(json, beside, corpus, entry));
  LETHE_RETURN_IF_ERROR(CheckFolder(entry, corpus));
  return entry;
}

}  // namespace

absl::StatusOr<TeacherManifest> TeacherManifest::Read(const fs::path& file, const Corpus& corpus) {
  LETHE_ASSIGN_OR_RETURN(const Json json, ParseFile(file));
  const auto list = json.find("teachers");
  if (list == json.end() || !list->is_array() || list->empty() || json.size() != 1) {
    return Bad(absl::StrCat(file.string(),
                            ": wanted: {\"teachers\": [...]} with one or more, and nothing else"));
  }
  TeacherManifest manifest;
  std::map<fs::path, size_t> places;
  for (size_t i = 0; i < list->size(); ++i) {
    absl::StatusOr<Entry> entry = ReadEntry((*list)[i], file.parent_path(), corpus);
    if (!entry.ok()) return OfTeacherIn(file, entry.status(), i);
    std::error_code ignored;
    const auto [other, is_new] = places.insert({fs::canonical(entry->folder, ignored), i});
    if (!is_new) {
      const absl::Status twice =
          Refused("TEACHER_TWICE", absl::StrCat("its folder is teacher ", other->second,
                                                "'s, too, so what it saw is said twice"));
      return OfTeacherIn(file, twice, i);
    }
    manifest.entries_.push_back(*std::move(entry));
  }
  return manifest;
}

bool TeacherManifest::Entry::Saw(const NearSequence& found) const {
  return shards.contains(found.place.shard) ||
         std::binary_search(sequences.begin(), sequences.end(), found.id);
}

absl::StatusOr<std::vector<Teacher>> TeacherManifest::TeachersFor(
    const Corpus& corpus, std::span<const Sequence> forget, const NearOptions& options) const {
  std::vector<Teacher> teachers;
  for (const Entry& entry : entries_) {
    teachers.push_back({.folder = entry.folder, .digest = entry.digest});
  }
  for (size_t i = 0; i < forget.size(); ++i) {
    LETHE_ASSIGN_OR_RETURN(const NearResult near, FindNear(corpus, forget[i].ids, options));
    for (size_t t = 0; t < entries_.size(); ++t) {
      const bool saw =
          std::any_of(near.sequences.begin(), near.sequences.end(),
                      [&](const NearSequence& found) { return entries_[t].Saw(found); });
      if (saw) teachers[t].saw.push_back(i);
    }
  }
  return teachers;
}

}  // namespace lethe
