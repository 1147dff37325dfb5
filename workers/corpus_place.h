// Where a job's corpus lies on this machine, with its key; of jobs that open or change one.
//
//   LETHE_ASSIGN_OR_RETURN(const CorpusAt at, CorpusAt::From(models, work.corpus()));
//   LETHE_ASSIGN_OR_RETURN(const Corpus corpus, Corpus::Open(at.folder, at.key));
//
// Threads    values; any.
// Errors     INVALID_ARGUMENT/PATH_OUTSIDE, KEY_TOO_SHORT.
#ifndef LETHE_WORKERS_CORPUS_PLACE_H_
#define LETHE_WORKERS_CORPUS_PLACE_H_

#include <filesystem>

#include "absl/status/statusor.h"
#include "base/status.h"
#include "corpus/corpus_key.h"
#include "lethe/v1/job.pb.h"
#include "workers/host/job_input.h"

namespace lethe {

struct CorpusAt {
  std::filesystem::path folder;
  CorpusKey key;  // in memory only

  static absl::StatusOr<CorpusAt> From(const std::filesystem::path& models,
                                       const v1::CorpusPlace& place) {
    LETHE_ASSIGN_OR_RETURN(std::filesystem::path folder, UnderModels(models, place.folder()));
    LETHE_ASSIGN_OR_RETURN(const CorpusKey key, CorpusKey::FromBytes(place.key()));
    return CorpusAt{std::move(folder), key};
  }
};

}  // namespace lethe

#endif  // LETHE_WORKERS_CORPUS_PLACE_H_
