// What a worker says that it made, held against what lies in the model folder: the server takes nobody's
// word for it.
//
//   LETHE_RETURN_IF_ERROR(CheckArtefact(core, job, result.candidate_digest()));
//   LETHE_ASSIGN_OR_RETURN(const int64_t erased, CheckErased(core, job));
//
// Repeats    a result that is handed in again was looked at the first time, and what it speaks of may
//            have moved on: a caller asks only while the job is LEASED, or is answered here without a
//            look (corpora and teachers).
// Errors     FAILED_PRECONDITION/ARTEFACT_MISMATCH; INVALID_ARGUMENT/RESULT_MALFORMED.
// Threads    any; reads whole folders: on a background thread.
#ifndef LETHE_SERVER_HANDED_IN_H_
#define LETHE_SERVER_HANDED_IN_H_

#include <lethe/v1/job.pb.h>

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "server/core.h"

namespace lethe {

// The folder that the lease was to make is there and is what the worker says.
absl::Status CheckArtefact(const Core& core, const storage::JobRecord& job,
                           const std::string& digest);

// What was attacked still lies there, for that folder is what may be promoted.
absl::Status CheckCandidate(const Core& core, const storage::JobRecord& job);

// PREPARE: the checkpoint, and the tokenised sets.
absl::Status CheckPrepared(const Core& core, const storage::JobRecord& job,
                           const v1::PrepareResult& result);

// INGEST: a corpus that opens with its key and holds as much as was read.
absl::Status CheckCorpus(const Core& core, const storage::JobRecord& job,
                         const v1::IngestResult& result);

// RETRAIN: nothing that the job's tickets name is there any more. How many that were, whichever
// attempt of the job erased them.
absl::StatusOr<int64_t> CheckErased(const Core& core, const storage::JobRecord& job);

// TRAIN, RETRAIN: the teacher's folder is there and is what the worker says.
absl::StatusOr<storage::TrainedTeacher> CheckTeacher(const Core& core,
                                                     const storage::JobRecord& job,
                                                     const v1::TeacherResult& result);

// UPPER_SNAKE, 1 to 63 characters.
bool IsFailureReason(const std::string& text);

}  // namespace lethe

#endif  // LETHE_SERVER_HANDED_IN_H_
