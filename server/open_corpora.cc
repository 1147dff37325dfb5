#include "server/open_corpora.h"

#include <sys/stat.h>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/model_layout.h"
#include "base/status.h"

namespace lethe {
namespace {

absl::Status Unavailable(const v1::Model& model, std::string_view why) {
  LogError("a model's corpus cannot be read", {{"model", model.model_id()}, {"why", why}});
  return Error(absl::StatusCode::kUnavailable, "CORPUS_UNAVAILABLE",
               "the model's corpus cannot be read now; the server's log says why",
               {{"model", model.model_id()}});
}

absl::StatusOr<Corpus> Open(const storage::Vault& vault, const std::filesystem::path& models,
                            const ModelId& model, const std::string& folder) {
  LETHE_ASSIGN_OR_RETURN(const CorpusKey key,
                         CorpusKey::FromBytes(storage::CorpusSecret(vault, model, folder)));
  return Corpus::Open(models / folder, key);
}

}  // namespace

absl::StatusOr<Corpus> OpenCorpus(const storage::Vault& vault,
                                  const std::filesystem::path& model_folder, const ModelId& model,
                                  const JobId& ingest) {
  return Open(vault, model_folder, model, CorpusFolder(model, ingest));
}

void OpenCorpora::Close(const std::string& folder) {
  absl::MutexLock lock(&mu_);
  open_.erase(folder);
}

absl::Status CheckCorpusSettled(const v1::Model& model) {
  const v1::CorpusState state = model.corpus().state();
  if (state != v1::CORPUS_STATE_READING && state != v1::CORPUS_STATE_TRAINING) {
    return absl::OkStatus();
  }
  return Error(absl::StatusCode::kFailedPrecondition, "CORPUS_NOT_READY",
               "the model's corpus is not READY yet; follow it with GetModel, and file then",
               {{"model", model.model_id()}});
}

absl::StatusOr<std::shared_ptr<const Corpus>> OpenCorpora::Get(const v1::Model& model) {
  LETHE_RETURN_IF_ERROR(CheckCorpusSettled(model));
  if (model.corpus().state() != v1::CORPUS_STATE_READY) {
    return Error(absl::StatusCode::kFailedPrecondition, "NO_CORPUS",
                 "the model has no corpus: register one with RegisterCorpus, or name the text",
                 {{"model", model.model_id()}});
  }
  const std::string& folder = model.corpus().folder();
  struct stat manifest = {};
  if (stat((model_folder_ / folder / "manifest.json").c_str(), &manifest) != 0) {
    return Unavailable(model, "no manifest.json in its folder");
  }
  const Version version{manifest.st_ino,
                        manifest.st_mtim.tv_sec * 1'000'000'000 + manifest.st_mtim.tv_nsec};
  absl::MutexLock lock(&mu_);
  Entry& entry = open_[folder];
  if (entry.corpus != nullptr && entry.version == version) return entry.corpus;
  const ModelId id{model.model_id()};
  absl::StatusOr<Corpus> opened = Open(*vault_, model_folder_, id, folder);
  // A worker may have replaced the manifest, and removed what the old one named, in between.
  if (!opened.ok()) opened = Open(*vault_, model_folder_, id, folder);
  if (!opened.ok()) {
    return Unavailable(model,
                       absl::StrCat(ErrorReason(opened.status()), ": ", opened.status().message()));
  }
  entry = {version, std::make_shared<const Corpus>(*std::move(opened))};
  return entry.corpus;
}

}  // namespace lethe
