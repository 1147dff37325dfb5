// INGEST: reads the registered lines of a corpus into shards (corpus/build.h).
//
// Again      the folder is the job's: an attempt that finds the corpus whole there answers with what
//            it holds.
// Errors     what corpus/build.h says, of a line with "line" and "source" in the metadata;
//            INVALID_ARGUMENT/KEY_TOO_SHORT, PATH_OUTSIDE.
#ifndef LETHE_WORKERS_INGEST_JOB_H_
#define LETHE_WORKERS_INGEST_JOB_H_

#include <filesystem>

#include "absl/status/statusor.h"
#include "engine/progress.h"
#include "lethe/v1/job.pb.h"

namespace lethe {

absl::StatusOr<v1::IngestResult> IngestJob(const v1::Job& job, const std::filesystem::path& models,
                                           const ProgressCallback& progress);

}  // namespace lethe

#endif  // LETHE_WORKERS_INGEST_JOB_H_
