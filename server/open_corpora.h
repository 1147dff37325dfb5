// The corpora of the models, opened once each and again when a worker has changed them.
//
//   LETHE_ASSIGN_OR_RETURN(const std::shared_ptr<const Corpus> corpus, corpora.Get(model));
//
// Key        of the corpus of one registration, derived from the digest key of the vault's key file:
//            it stands in no file beside the corpus. Workers get it with their jobs.
// Errors     FAILED_PRECONDITION: NO_CORPUS, CORPUS_NOT_READY; UNAVAILABLE/CORPUS_UNAVAILABLE when
//            its folder cannot be read now.
// Threads    any; blocks: on a background thread.
#ifndef LETHE_SERVER_OPEN_CORPORA_H_
#define LETHE_SERVER_OPEN_CORPORA_H_

#include <lethe/v1/model.pb.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/ids.h"
#include "corpus/corpus.h"
#include "storage/vault.h"

namespace lethe {

// Whether tickets may be filed as far as the model's corpus goes: it has none, or one that is READY.
// FAILED_PRECONDITION/CORPUS_NOT_READY.
absl::Status CheckCorpusSettled(const v1::Model& model);

// The corpus that an INGEST job read, wherever it is on its way.
absl::StatusOr<Corpus> OpenCorpus(const storage::Vault& vault,
                                  const std::filesystem::path& model_folder, const ModelId& model,
                                  const JobId& ingest);

class OpenCorpora {
 public:
  OpenCorpora(std::filesystem::path model_folder, const storage::Vault* vault)
      : model_folder_(std::move(model_folder)), vault_(vault) {}

  // Closes the corpus: what was erased meanwhile leaves memory and disk.
  void Close(const std::string& folder);

  // As it is now. Whoever keeps the pointer keeps the disk space of files that were replaced since.
  absl::StatusOr<std::shared_ptr<const Corpus>> Get(const v1::Model& model);

 private:
  // Tells one state of the folder from another: its manifest is replaced by each change.
  using Version = std::pair<uint64_t, int64_t>;  // inode, time of change
  struct Entry {
    Version version;
    std::shared_ptr<const Corpus> corpus;
  };

  const std::filesystem::path model_folder_;
  const storage::Vault* const vault_;
  absl::Mutex mu_;
  std::map<std::string, Entry> open_ ABSL_GUARDED_BY(mu_);  // by folder
};

}  // namespace lethe

#endif  // LETHE_SERVER_OPEN_CORPORA_H_
