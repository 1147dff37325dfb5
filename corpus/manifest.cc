#include "corpus/manifest.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/file.h"
#include "corpus/corpus_status.h"

namespace lethe {
namespace {

using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;

constexpr int kFormat = 1;
constexpr char kSeal[] = "sha256 ";

std::string ToText(const Manifest& m) {
  Json files = Json::array();
  for (const SliceEntry& e : m.files) {
    files.push_back({{"shard", e.place.shard},
                     {"slice", e.place.slice},
                     {"file", e.file},
                     {"bytes", e.bytes},
                     {"sha256", e.sha256},
                     {"sequences", e.sequences},
                     {"tokens", e.tokens},
                     {"content_sha256", e.content_digest}});
  }
  const Json json = {{"format", kFormat},
                     {"generation", m.generation},
                     {"key", m.key_id},
                     {"tokenizer_sha256", m.tokenizer_digest},
                     {"vocab_size", m.vocab_size},
                     {"shards", m.shards},
                     {"slices", m.slices},
                     {"gram_tokens", m.grams.gram_tokens},
                     {"window", m.grams.window},
                     {"document_parts", m.document_parts},
                     {"next_id", m.next_id},
                     {"files", std::move(files)}};
  const std::string body = json.dump(1) + "\n";
  return absl::StrCat(body, kSeal, Sha256Hex(body), "\n");
}

// Takes fields out of an object and remembers whether all were there and of their kind.
class Fields {
 public:
  explicit Fields(const Json& json) : json_(json), good_(json.is_object()) {}

  uint64_t Number(const char* name, uint64_t most = std::numeric_limits<uint64_t>::max()) {
    const Json* value = Find(name);
    if (value == nullptr || !value->is_number_unsigned() || value->get<uint64_t>() > most) {
      good_ = false;
      return 0;
    }
    return value->get<uint64_t>();
  }
  uint32_t Number32(const char* name) {
    return static_cast<uint32_t>(Number(name, std::numeric_limits<int32_t>::max()));
  }
  std::string Text(const char* name) {
    const Json* value = Find(name);
    if (value == nullptr || !value->is_string()) {
      good_ = false;
      return "";
    }
    return value->get<std::string>();
  }
  bool Flag(const char* name) {
    const Json* value = Find(name);
    good_ = good_ && value != nullptr && value->is_boolean();
    return good_ && value->get<bool>();
  }
  bool good() const { return good_; }

 private:
  const Json* Find(const char* name) {
    if (!good_ || !json_.contains(name)) return nullptr;
    return &json_.at(name);
  }
  const Json& json_;
  bool good_;
};

bool ReadEntry(const Json& json, SliceEntry* entry) {
  Fields fields(json);
  entry->place.shard = fields.Number32("shard");
  entry->place.slice = fields.Number32("slice");
  entry->file = fields.Text("file");
  entry->bytes = fields.Number("bytes");
  entry->sha256 = fields.Text("sha256");
  entry->sequences = fields.Number("sequences");
  entry->tokens = fields.Number("tokens");
  entry->content_digest = fields.Text("content_sha256");
  return fields.good() && entry->file == fs::path(entry->file).filename();
}

// Every slice of every shard, once and in order.
bool IsWhole(const Manifest& m) {
  if (m.shards == 0 || m.slices == 0 || m.files.size() != uint64_t{m.shards} * m.slices) {
    return false;
  }
  for (size_t i = 0; i < m.files.size(); ++i) {
    const SlicePlace wanted{static_cast<uint32_t>(i / m.slices),
                            static_cast<uint32_t>(i % m.slices)};
    if (m.files[i].place != wanted) return false;
  }
  return true;
}

bool ReadFields(const Json& json, Manifest* m) {
  Fields fields(json);
  m->generation = fields.Number("generation");
  m->key_id = fields.Text("key");
  m->tokenizer_digest = fields.Text("tokenizer_sha256");
  m->vocab_size = static_cast<int32_t>(fields.Number32("vocab_size"));
  m->shards = fields.Number32("shards");
  m->slices = fields.Number32("slices");
  m->grams.gram_tokens = static_cast<int32_t>(fields.Number32("gram_tokens"));
  m->grams.window = static_cast<int32_t>(fields.Number32("window"));
  m->document_parts = fields.Flag("document_parts");
  m->next_id = fields.Number("next_id", kMaxSequences);
  if (!fields.good() || !json.contains("files") || !json["files"].is_array()) return false;
  for (const Json& file : json["files"]) {
    if (!ReadEntry(file, &m->files.emplace_back())) return false;
  }
  return IsWhole(*m);
}

}  // namespace

absl::StatusOr<Manifest> ReadManifest(const fs::path& folder) {
  const fs::path path = folder / kManifestName;
  std::error_code ec;
  if (!fs::exists(path, ec)) {
    return Error(absl::StatusCode::kNotFound, "CORPUS_MISSING",
                 absl::StrCat("there is no corpus in ", folder.string(), ": it has no ",
                              kManifestName, " (a build that was not finished leaves none)"));
  }
  LETHE_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const size_t seal = text.rfind(kSeal);
  if (seal == std::string::npos ||
      text.substr(seal) != absl::StrCat(kSeal, Sha256Hex(text.substr(0, seal)), "\n")) {
    return Damaged(path, "its digest is wrong");
  }
  const Json json = Json::parse(text.substr(0, seal), nullptr, /*allow_exceptions=*/false);
  if (json.is_object() && json.value("format", Json()) != Json(kFormat)) {
    return Error(absl::StatusCode::kFailedPrecondition, "FORMAT_VERSION_UNKNOWN",
                 absl::StrCat(path.string(), ": its format is not ", kFormat,
                              ", which is what this program knows"));
  }
  Manifest manifest;
  if (!ReadFields(json, &manifest)) return Damaged(path, "its fields are not those of a manifest");
  return manifest;
}

absl::Status WriteManifest(const fs::path& folder, const Manifest& manifest) {
  return WriteFileAtomically(folder / kManifestName, ToText(manifest), 0600);
}

}  // namespace lethe
