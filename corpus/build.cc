#include "corpus/build.h"

#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "corpus/corpus.h"
#include "corpus/corpus_folder.h"
#include "corpus/intake.h"
#include "corpus/slice_writer.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

absl::Status Refused(std::string_view reason, std::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, reason, message);
}

absl::Status CheckOptions(const CorpusOptions& o) {
  const auto within = [](uint32_t value, uint32_t most) { return value >= 1 && value <= most; };
  if (!within(o.shards, kMaxShards) || !within(o.slices, kMaxSlices) ||
      o.shards * o.slices > kMaxSlicesInAll) {
    return Refused("CORPUS_OPTIONS_INVALID",
                   absl::StrCat("1 to ", kMaxShards, " shards and 1 to ", kMaxSlices,
                                " slices are possible, and ", kMaxSlicesInAll, " slices in all"));
  }
  if (o.grams.gram_tokens < 1 || o.grams.gram_tokens > 1024 || o.grams.window < 1 ||
      o.grams.window > 1024) {
    return Refused("CORPUS_OPTIONS_INVALID", "grams and their window have 1 to 1024 tokens");
  }
  return absl::OkStatus();
}

// With the vocabulary's size filled in.
absl::StatusOr<CorpusInput> CheckInput(CorpusInput input) {
  if (input.limits.vocab_size == 0 && input.tokenizer != nullptr) {
    input.limits.vocab_size = input.tokenizer->vocab_size();
  }
  if (input.limits.vocab_size <= 0) {
    return Refused("VOCABULARY_NEEDED",
                   "give a tokenizer, or the size of the vocabulary that the ids belong to");
  }
  return input;
}

// Nothing else than what a killed build left may stand in the folder.
absl::Status CheckFolder(const fs::path& folder) {
  std::error_code ec;
  for (auto it = fs::directory_iterator(folder, ec); !ec && it != fs::directory_iterator();
       it.increment(ec)) {
    const std::string name = it->path().filename().string();
    if (name == kManifestName) {
      return Error(absl::StatusCode::kAlreadyExists, "CORPUS_EXISTS",
                   absl::StrCat("there is a corpus in ", folder.string(),
                                " already: append to it, or choose another folder"));
    }
    if (!IsCorpusFile(name)) {
      return Error(absl::StatusCode::kAlreadyExists, "FOLDER_NOT_EMPTY",
                   absl::StrCat(folder.string(), " holds other files: choose another folder"));
    }
  }
  return ec ? SystemError("cannot list", folder, ec.value()) : absl::OkStatus();
}

// Leaves nothing of a build that failed, but what was in the folder before.
void CleanUp(const fs::path& folder, bool made) {
  std::error_code ec;
  if (fs::exists(folder / kManifestName, ec)) return;  // it failed behind the switch
  Sweep(folder, nullptr).IgnoreError();
  if (made) fs::remove(folder / kLockName, ec);
  if (made) fs::remove(folder, ec);  // unless somebody else put something there
}

// Counts what is written, and asks now and then whether to go on.
class WriteProgress {
 public:
  explicit WriteProgress(const CorpusProgressCallback& callback) : callback_(callback) {}
  absl::Status Wrote(const Arrival& arrival, BuildResult* result) {
    ++result->sequences;
    result->tokens += arrival.stored.sequence.ids.size();
    if (++done_.sequences % 1024 == 0 && callback_ && !callback_(done_)) {
      return Error(absl::StatusCode::kCancelled, "CANCELLED", "given up while writing");
    }
    return absl::OkStatus();
  }

 private:
  const CorpusProgressCallback& callback_;
  CorpusProgress done_{.phase = "write"};
};

absl::Status WriteArrivals(Intake* intake, uint32_t shard, uint64_t count, SliceWriter* writer,
                           WriteProgress* progress, BuildResult* result) {
  return intake->ForNext(shard, count, [&](const Arrival& arrival) {
    LETHE_RETURN_IF_ERROR(writer->Add(arrival.stored, arrival.subject, arrival.document));
    return progress->Wrote(arrival, result);
  });
}

// Arrival k of n of a shard goes into slice floor(k R / n).
absl::StatusOr<BuildResult> WriteFirstSlices(const fs::path& folder, const CorpusKey& key,
                                             const CorpusProgressCallback& callback, Intake* intake,
                                             Manifest* next) {
  BuildResult result;
  WriteProgress progress(callback);
  for (uint32_t shard = 0; shard < next->shards; ++shard) {
    const uint64_t n = intake->arrivals(shard);
    const auto begin = [&](uint64_t slice) {  // the least k of the slice
      return (slice * n + next->slices - 1) / next->slices;
    };
    for (uint32_t slice = 0; slice < next->slices; ++slice) {
      LETHE_ASSIGN_OR_RETURN(SliceWriter writer,
                             SliceWriter::Create(folder, {shard, slice}, *next, key.grams()));
      LETHE_RETURN_IF_ERROR(WriteArrivals(intake, shard, begin(slice + 1) - begin(slice), &writer,
                                          &progress, &result));
      LETHE_ASSIGN_OR_RETURN(SliceEntry entry, writer.Finish());
      result.bytes += entry.bytes;
      next->files.push_back(std::move(entry));
    }
  }
  next->next_id += intake->arrivals();
  return result;
}

absl::StatusOr<BuildResult> WriteLastSlices(const Corpus& before,
                                            const CorpusProgressCallback& callback, Intake* intake,
                                            Manifest* next) {
  BuildResult result;
  WriteProgress progress(callback);
  for (uint32_t shard = 0; shard < next->shards; ++shard) {
    if (intake->arrivals(shard) == 0) continue;
    const SlicePlace last{shard, next->slices - 1};
    LETHE_ASSIGN_OR_RETURN(SliceWriter writer,
                           SliceWriter::Create(before.folder(), last, *next, before.key().grams()));
    LETHE_RETURN_IF_ERROR(writer.CopyFrom(before.At(last), {}));
    LETHE_RETURN_IF_ERROR(
        WriteArrivals(intake, shard, intake->arrivals(shard), &writer, &progress, &result));
    LETHE_ASSIGN_OR_RETURN(next->At(last), writer.Finish());
    result.bytes += next->At(last).bytes;
  }
  next->next_id += intake->arrivals();
  return result;
}

absl::StatusOr<BuildResult> Build(const fs::path& folder, const CorpusKey& key, Manifest next,
                                  const CorpusInput& input,
                                  const CorpusProgressCallback& progress) {
  LETHE_RETURN_IF_ERROR(Sweep(folder, nullptr));
  Intake intake(folder, key, next);
  LETHE_RETURN_IF_ERROR(intake.Read(input, nullptr, progress));
  LETHE_RETURN_IF_ERROR(intake.RefuseRepeatedDocuments(input));
  LETHE_ASSIGN_OR_RETURN(const BuildResult result,
                         WriteFirstSlices(folder, key, progress, &intake, &next));
  LETHE_RETURN_IF_ERROR(CommitState(folder, next));
  LETHE_RETURN_IF_ERROR(SyncFolder(fs::absolute(folder / "..")));  // the folder's own name
  return result;
}

absl::Status CheckTokenizer(const CorpusInput& input, const Manifest& manifest) {
  const bool same =
      input.tokenizer == nullptr || input.tokenizer->Digest() == manifest.tokenizer_digest;
  if (same && input.limits.vocab_size == manifest.vocab_size) return absl::OkStatus();
  return Refused("TOKENIZER_DIFFERS",
                 "the corpus was built with another tokenizer or another size of the vocabulary");
}

absl::StatusOr<BuildResult> Append(const Corpus& before, const CorpusInput& input,
                                   const CorpusProgressCallback& progress) {
  Manifest next = before.manifest();
  ++next.generation;
  Intake intake(before.folder(), before.key(), next);
  LETHE_RETURN_IF_ERROR(intake.Read(input, &before, progress));
  LETHE_RETURN_IF_ERROR(intake.RefuseRepeatedDocuments(input));
  if (intake.arrivals() == 0) return BuildResult();
  LETHE_ASSIGN_OR_RETURN(const BuildResult result,
                         WriteLastSlices(before, progress, &intake, &next));
  LETHE_RETURN_IF_ERROR(CommitState(before.folder(), next));
  return result;
}

}  // namespace

absl::StatusOr<BuildResult> BuildCorpus(const fs::path& folder, const CorpusKey& key,
                                        const CorpusOptions& options, const CorpusInput& raw_input,
                                        const CorpusProgressCallback& progress) {
  LETHE_RETURN_IF_ERROR(CheckOptions(options));
  LETHE_ASSIGN_OR_RETURN(const CorpusInput input, CheckInput(raw_input));
  std::error_code ec;
  const bool made = fs::create_directory(folder, ec);
  if (ec) return SystemError("cannot create", folder, ec.value());
  // Before the lock, so that no lock file comes to a folder that is not a corpus's; and behind it.
  LETHE_RETURN_IF_ERROR(CheckFolder(folder));
  const Manifest next{.generation = 1,
                      .key_id = key.id(),
                      .tokenizer_digest = input.tokenizer ? input.tokenizer->Digest() : "",
                      .vocab_size = input.limits.vocab_size,
                      .shards = options.shards,
                      .slices = options.slices,
                      .grams = options.grams,
                      .document_parts = options.document_parts};
  // Held until all is cleaned up: whoever builds next must not lose what it has written by then.
  LETHE_ASSIGN_OR_RETURN(const FolderLock lock, LockCorpus(folder));
  LETHE_RETURN_IF_ERROR(CheckFolder(folder));
  absl::StatusOr<BuildResult> result = Build(folder, key, next, input, progress);
  if (!result.ok()) CleanUp(folder, made);
  return result;
}

absl::StatusOr<BuildResult> AppendToCorpus(const fs::path& folder, const CorpusKey& key,
                                           const CorpusInput& raw_input,
                                           const CorpusProgressCallback& progress) {
  LETHE_RETURN_IF_ERROR(ReadManifest(folder).status());  // no lock file where there is no corpus
  LETHE_ASSIGN_OR_RETURN(const FolderLock lock, LockCorpus(folder));
  LETHE_ASSIGN_OR_RETURN(const Corpus before, Corpus::Open(folder, key));
  LETHE_RETURN_IF_ERROR(Sweep(folder, &before.manifest()));
  CorpusInput given = raw_input;
  if (given.limits.vocab_size == 0) given.limits.vocab_size = before.manifest().vocab_size;
  LETHE_RETURN_IF_ERROR(CheckTokenizer(given, before.manifest()));
  absl::StatusOr<BuildResult> result = Append(before, given, progress);
  if (!result.ok()) {
    // What the folder says now: the last sync may have failed behind the switch.
    if (const auto now = ReadManifest(folder); now.ok()) Sweep(folder, &*now).IgnoreError();
  }
  return result;
}

}  // namespace lethe
