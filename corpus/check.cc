#include "corpus/check.h"

#include <set>
#include <utility>

#include "base/digest.h"
#include "base/status.h"
#include "corpus/byte_order.h"
#include "corpus/corpus_folder.h"
#include "corpus/corpus_status.h"
#include "corpus/fingerprints.h"
#include "corpus/manifest.h"
#include "corpus/slice.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

// One slice in itself.
class SliceCheck {
 public:
  SliceCheck(fs::path path, const Slice& slice, const Manifest& manifest, const CorpusKey& key)
      : path_(std::move(path)), slice_(slice), manifest_(manifest), key_(key) {}

  // `from` is one more than the last id of the slice before, and becomes that of this one.
  absl::Status Run(uint64_t* from) {
    uint64_t next = *from;
    LETHE_RETURN_IF_ERROR(slice_.ForEach([&](const StoredSequence& stored) {
      if (stored.id.value < next) return Wrong("its sequences are not in the order of their ids");
      next = stored.id.value + 1;
      return CheckOne(stored);
    }));
    if (next > manifest_.next_id) return Wrong("it holds an id that was never given");
    *from = next;
    if (content_.Hex() != slice_.footer().content_digest || tokens_ != slice_.footer().tokens) {
      return Wrong("its sequences are not those that its footer names");
    }
    if (prints_ != slice_.grams().records()) {
      return Wrong("it has fingerprints that belong to no sequence");
    }
    return CheckKeys();
  }

 private:
  absl::Status Wrong(const std::string& what) const { return Damaged(path_, what); }

  absl::Status CheckOne(const StoredSequence& stored) {
    SequenceLimits limits;
    limits.vocab_size = manifest_.vocab_size;
    limits.min_tokens = 1;
    limits.max_tokens = INT32_MAX;
    if (!CheckSequence(stored.sequence, limits).ok()) return Wrong("a sequence breaks its rules");
    content_bytes_.clear();
    AppendContent(stored.sequence, &content_bytes_);
    content_.Update(content_bytes_);
    tokens_ += stored.sequence.ids.size();
    for (const uint64_t print : Fingerprints(stored.sequence.ids, manifest_.grams, key_.grams())) {
      ++prints_;
      LETHE_RETURN_IF_ERROR(MustHave(slice_.grams(), GramKey(print) + PlaceKey(stored.id)));
    }
    return absl::OkStatus();
  }

  absl::Status MustHave(const PagedTable& table, const std::string& record) const {
    LETHE_ASSIGN_OR_RETURN(const uint64_t index, table.LowerBound(record));
    if (index < table.records()) {
      LETHE_ASSIGN_OR_RETURN(const std::string_view found, table.At(index));
      if (found == record) return absl::OkStatus();
    }
    return Wrong("a fingerprint of a sequence is missing");
  }

  // Every sequence has one subject: there are as many, of ids that are there, and no id twice.
  absl::Status CheckKeys() const {
    std::vector<bool> seen(slice_.sequences());
    std::string last;
    LETHE_RETURN_IF_ERROR(slice_.subjects().ForEach([&](std::string_view record) -> absl::Status {
      if (!(last < record)) return Wrong("its subjects are not in order");
      last = record;
      KeyHash hash;
      std::copy_n(record.data(), hash.size(), hash.data());
      if (ShardOf(hash, manifest_.shards) != slice_.footer().place.shard) {
        return Wrong("it holds a subject of another shard");
      }
      LETHE_ASSIGN_OR_RETURN(const uint64_t index, IndexOf(record));
      if (seen[index]) return Wrong("a sequence has two subjects");
      seen[index] = true;
      return absl::OkStatus();
    }));
    last.clear();
    return slice_.documents().ForEach([&](std::string_view record) -> absl::Status {
      if (!(last < record)) return Wrong("its documents are not in order");
      last = record;
      return IndexOf(record).status();
    });
  }

  absl::StatusOr<uint64_t> IndexOf(std::string_view record) const {
    const std::string key = PlaceKey(IdOfEntry(record));
    LETHE_ASSIGN_OR_RETURN(const uint64_t index, slice_.places().LowerBound(key));
    if (index < slice_.sequences()) {
      LETHE_ASSIGN_OR_RETURN(const std::string_view place, slice_.places().At(index));
      if (place.starts_with(key)) return index;
    }
    return Wrong("an index names a sequence that is not there");
  }

  const fs::path path_;
  const Slice& slice_;
  const Manifest& manifest_;
  const CorpusKey& key_;
  Sha256 content_;
  std::string content_bytes_;
  uint64_t tokens_ = 0, prints_ = 0;
};

absl::Status CheckFile(const fs::path& folder, const SliceEntry& entry, const Manifest& manifest,
                       const CorpusKey& key, uint64_t* next_id, CheckReport* report) {
  const fs::path path = folder / entry.file;
  LETHE_ASSIGN_OR_RETURN(const Slice slice, Slice::Open(folder, entry, manifest));
  LETHE_ASSIGN_OR_RETURN(const std::string sha256, FileDigest(path));
  ++report->files;
  report->bytes += entry.bytes;
  if (sha256 != entry.sha256) return Damaged(path, "its SHA-256 is not the manifest's");
  LETHE_RETURN_IF_ERROR(SliceCheck(path, slice, manifest, key).Run(next_id));
  report->sequences += slice.sequences();
  report->tokens += slice.footer().tokens;
  return absl::OkStatus();
}

void FindUnnamed(const fs::path& folder, const Manifest& manifest, CheckReport* report) {
  std::set<std::string> named = {kManifestName, kLockName};
  for (const SliceEntry& entry : manifest.files) named.insert(entry.file);
  std::error_code ec;
  for (auto it = fs::directory_iterator(folder, ec); !ec && it != fs::directory_iterator();
       it.increment(ec)) {
    const std::string name = it->path().filename().string();
    if (named.contains(name)) continue;
    report->findings.push_back({name, IsCorpusFile(name)
                                          ? "the manifest does not name it: a killed writer left it"
                                          : "it is not a file of a corpus"});
  }
}

}  // namespace

absl::StatusOr<CheckReport> CheckCorpus(const fs::path& folder, const CorpusKey& key) {
  CheckReport report;
  const absl::StatusOr<Manifest> manifest = ReadManifest(folder);
  if (absl::IsDataLoss(manifest.status())) {
    report.findings.push_back({kManifestName, std::string(manifest.status().message())});
    return report;
  }
  if (!manifest.ok()) return manifest.status();
  if (manifest->key_id != key.id()) {
    return Error(absl::StatusCode::kInvalidArgument, "KEY_WRONG",
                 folder.string() + ": the corpus was built with another key");
  }
  ++report.files;
  uint64_t next_id = 0;
  for (const SliceEntry& entry : manifest->files) {
    if (entry.place.slice == 0) next_id = 0;  // a shard begins
    const absl::Status status = CheckFile(folder, entry, *manifest, key, &next_id, &report);
    if (!status.ok()) report.findings.push_back({entry.file, std::string(status.message())});
  }
  FindUnnamed(folder, *manifest, &report);
  return report;
}

}  // namespace lethe
