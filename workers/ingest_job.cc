#include "workers/ingest_job.h"

#include <string_view>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "corpus/build.h"
#include "corpus/corpus.h"
#include "text/tokenizer.h"
#include "workers/corpus_place.h"
#include "workers/host/job_input.h"
#include "workers/prepare_job.h"

namespace lethe {

namespace fs = std::filesystem;

namespace {

CorpusOptions OptionsOf(const v1::CorpusOptions& options) {
  return {.shards = static_cast<uint32_t>(options.shards()),
          .slices = static_cast<uint32_t>(options.slices()),
          .document_parts = options.document_parts()};
}

CorpusInput InputOf(const v1::IngestWork& work, const Tokenizer& tokenizer) {
  CorpusInput input{.files = {work.source_paths().begin(), work.source_paths().end()},
                    .tokenizer = &tokenizer};
  input.limits.vocab_size = work.vocab_size();
  input.limits.max_tokens = work.max_tokens();
  return input;
}

// Lines and bytes are figures, not steps: what a step takes is a metric of training.
CorpusProgressCallback Reading(const ProgressCallback& progress) {
  if (progress == nullptr) return nullptr;
  return [&progress](const CorpusProgress& done) {
    const bool reading = std::string_view(done.phase) == "read";
    EngineProgress shown{.phase = reading ? "reading" : "writing"};
    shown.figures["sequences"] = static_cast<double>(done.sequences);
    if (reading) {
      shown.figures["bytes"] = static_cast<double>(done.bytes);
      shown.figures["of_bytes"] = static_cast<double>(done.of_bytes);
    }
    return progress(shown);
  };
}

// Whole or not there; another attempt may have been faster.
absl::Status KeepConfig(const fs::path& checkpoint, const fs::path& kept, const v1::Job& job) {
  std::error_code error;
  if (fs::exists(kept, error)) return absl::OkStatus();
  fs::path making = kept;
  making += absl::StrCat(".making-f", job.fence());
  LETHE_RETURN_IF_ERROR(RemoveFolder(making));
  fs::create_directories(making, error);
  if (error) return SystemError("cannot create", making, error.value());
  for (fs::directory_iterator it(checkpoint, error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    const bool weights = name.find(".safetensors") != std::string::npos;
    if (weights || !it->is_regular_file(error) || !BelongsToCheckpoint(name)) continue;
    fs::copy_file(it->path(), making / name, error);
  }
  if (error) return SystemError("cannot copy from", checkpoint, error.value());
  if (const absl::Status status = PublishFolder(making, kept); !status.ok()) {
    LETHE_RETURN_IF_ERROR(RemoveFolder(making));
    return fs::exists(kept, error) ? absl::OkStatus() : status;
  }
  return absl::OkStatus();
}

absl::Status CreateFolderOf(const fs::path& corpus) {
  std::error_code error;
  fs::create_directories(corpus.parent_path(), error);
  if (error) return SystemError("cannot create", corpus.parent_path(), error.value());
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<v1::IngestResult> IngestJob(const v1::Job& job, const fs::path& models,
                                           const ProgressCallback& progress) {
  const v1::IngestWork& work = job.ingest();
  LETHE_ASSIGN_OR_RETURN(const CorpusAt at, CorpusAt::From(models, work.corpus()));
  LETHE_ASSIGN_OR_RETURN(const fs::path tokenizer_folder,
                         UnderModels(models, work.tokenizer_folder()));
  LETHE_RETURN_IF_ERROR(Report(progress, {.phase = "loading"}));
  LETHE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Load(tokenizer_folder));
  LETHE_RETURN_IF_ERROR(CreateFolderOf(at.folder));
  const absl::StatusOr<BuildResult> built = BuildCorpus(
      at.folder, at.key, OptionsOf(work.options()), InputOf(work, tokenizer), Reading(progress));
  if (!built.ok() && ErrorReason(built.status()) != "CORPUS_EXISTS") return built.status();
  if (!work.config_folder().empty()) {
    LETHE_ASSIGN_OR_RETURN(const fs::path kept, UnderModels(models, work.config_folder()));
    LETHE_RETURN_IF_ERROR(KeepConfig(tokenizer_folder, kept, job));
  }
  LETHE_ASSIGN_OR_RETURN(const Corpus corpus, Corpus::Open(at.folder, at.key));
  v1::IngestResult result;
  result.set_sequences(static_cast<int64_t>(corpus.sequences()));
  result.set_tokens(static_cast<int64_t>(corpus.tokens()));
  return result;
}

}  // namespace lethe
