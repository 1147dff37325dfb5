#include "server/handed_in.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/model_layout.h"
#include "server/errors.h"
#include "server/job_message.h"

namespace lethe {
namespace {

absl::Status CheckFacts(const v1::PrepareResult& result) {
  const v1::ModelFacts& facts = result.facts();
  if (facts.vocab_size() < 1 || facts.context_length() < 2 ||
      facts.tokenizer_digest().size() != 64 || facts.folder_digest().size() != 64 ||
      !result.has_thresholds()) {
    return FieldError("RESULT_MALFORMED", "prepare",
                      "facts and thresholds must be filled in, digests as 64 hex digits");
  }
  return absl::OkStatus();
}

// The corpus of a job that built or changed it, as it lies there now.
absl::StatusOr<Corpus> OpenCorpusOf(const Core& core, const storage::JobRecord& job) {
  LETHE_ASSIGN_OR_RETURN(const storage::ModelRecord model,
                         core.store->Snapshot()->GetModel(ModelId{job.model_id()}));
  absl::StatusOr<Corpus> corpus =
      OpenCorpus(*core.vault, core.config->model_folder, ModelId{model.model_id()},
                 JobId{model.corpus().job_id()});
  if (corpus.ok()) return corpus;
  return Error(absl::StatusCode::kFailedPrecondition, "ARTEFACT_MISMATCH",
               "the corpus is not there or cannot be read by this server",
               {{"job", job.job_id()}, {"cause", ErrorReason(corpus.status())}});
}

}  // namespace

bool IsFailureReason(const std::string& text) {
  if (text.empty() || text.size() > 63 || !(text[0] >= 'A' && text[0] <= 'Z')) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

absl::Status CheckArtefact(const Core& core, const storage::JobRecord& job,
                           const std::string& digest) {
  const std::filesystem::path folder =
      std::filesystem::path(core.config->model_folder) /
      CheckpointFolder(ModelId{job.model_id()}, CheckpointId{job.candidate_checkpoint_id()});
  const absl::StatusOr<std::string> found = FolderDigest(folder);
  if (found.ok() && *found == digest) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "ARTEFACT_MISMATCH",
               found.ok() ? "the folder's digest is not the one handed in: write it whole, sync "
                            "it, digest it again"
                          : "the folder is not there or cannot be read by this server",
               {{"job", job.job_id()}, {"checkpoint", job.candidate_checkpoint_id()}});
}

absl::Status CheckCandidate(const Core& core, const storage::JobRecord& job) {
  const CheckpointId id{job.candidate_checkpoint_id()};
  LETHE_ASSIGN_OR_RETURN(const storage::CheckpointRecord candidate,
                         core.store->Snapshot()->GetCheckpoint(id));
  const absl::StatusOr<std::string> found =
      FolderDigest(std::filesystem::path(core.config->model_folder) / candidate.folder());
  if (found.ok() && *found == candidate.digest()) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "ARTEFACT_MISMATCH",
               "the candidate's folder is not what its worker handed in: nothing is promoted; "
               "restore it as it was, or retry the tickets once the job has failed",
               {{"job", job.job_id()}, {"checkpoint", id.value}});
}

absl::Status CheckPrepared(const Core& core, const storage::JobRecord& job,
                           const v1::PrepareResult& result) {
  LETHE_RETURN_IF_ERROR(CheckFacts(result));
  LETHE_RETURN_IF_ERROR(CheckArtefact(core, job, result.facts().folder_digest()));
  const std::filesystem::path data =
      std::filesystem::path(core.config->model_folder) /
      DataFolder(ModelId{job.model_id()}, CheckpointId{job.candidate_checkpoint_id()});
  std::error_code ec;
  for (const char* name : {"retain.jsonl", "holdout.jsonl"}) {
    if (std::filesystem::is_regular_file(data / name, ec)) continue;
    return Error(absl::StatusCode::kFailedPrecondition, "ARTEFACT_MISMATCH",
                 absl::StrCat("the data folder has no ", name), {{"job", job.job_id()}});
  }
  return absl::OkStatus();
}

absl::Status CheckCorpus(const Core& core, const storage::JobRecord& job,
                         const v1::IngestResult& result) {
  if (job.state() != static_cast<int>(storage::JobState::kLeased)) return absl::OkStatus();
  LETHE_ASSIGN_OR_RETURN(const Corpus corpus, OpenCorpusOf(core, job));
  if (static_cast<int64_t>(corpus.sequences()) == result.sequences() &&
      static_cast<int64_t>(corpus.tokens()) == result.tokens()) {
    return absl::OkStatus();
  }
  return Error(absl::StatusCode::kFailedPrecondition, "ARTEFACT_MISMATCH",
               "the corpus does not hold what was handed in", {{"job", job.job_id()}});
}

absl::StatusOr<int64_t> CheckErased(const Core& core, const storage::JobRecord& job) {
  if (job.state() != static_cast<int>(storage::JobState::kLeased)) return 0;
  LETHE_ASSIGN_OR_RETURN(const Corpus corpus, OpenCorpusOf(core, job));
  LETHE_ASSIGN_OR_RETURN(const v1::Job sent, BuildJob(core, job));
  std::set<uint64_t> numbers;
  for (const v1::TicketPayload& ticket : sent.retrain().tickets()) {
    numbers.insert(ticket.corpus_sequences().begin(), ticket.corpus_sequences().end());
  }
  for (const uint64_t number : numbers) {
    LETHE_ASSIGN_OR_RETURN(const auto found, corpus.Get({number}));
    if (!found.has_value()) continue;
    return Error(absl::StatusCode::kFailedPrecondition, "ARTEFACT_MISMATCH",
                 "the corpus still holds what was to be erased", {{"job", job.job_id()}});
  }
  return static_cast<int64_t>(numbers.size());
}

absl::StatusOr<storage::TrainedTeacher> CheckTeacher(const Core& core,
                                                     const storage::JobRecord& job,
                                                     const v1::TeacherResult& result) {
  LETHE_ASSIGN_OR_RETURN(const storage::ModelRecord model,
                         core.store->Snapshot()->GetModel(ModelId{job.model_id()}));
  const std::filesystem::path folder =
      std::filesystem::path(core.config->model_folder) /
      TeacherModelFolder(ModelId{job.model_id()}, JobId{model.corpus().job_id()}, result.shard());
  storage::TrainedTeacher teacher{.shard = result.shard(),
                                  .state_key = result.state_key(),
                                  .model_digest = result.model_digest(),
                                  .failure_reason = result.failure_reason()};
  if (!result.failure_reason().empty() && !IsFailureReason(result.failure_reason())) {
    return FieldError("RESULT_MALFORMED", "teachers.failure_reason",
                      "UPPER_SNAKE, at most 63 characters");
  }
  // Nothing is left to be trained on; or it is a repeat, and the folder may be newer by now.
  const bool done = job.state() != static_cast<int>(storage::JobState::kLeased);
  if (done || result.model_digest().empty()) return teacher;
  const absl::StatusOr<std::string> found = FolderDigest(folder);
  if (found.ok() && *found == result.model_digest()) return teacher;
  return Error(absl::StatusCode::kFailedPrecondition, "ARTEFACT_MISMATCH",
               found.ok() ? "the teacher's digest is not the one handed in"
                          : "the teacher's folder is not there or cannot be read by this server",
               {{"job", job.job_id()}, {"shard", absl::StrCat(result.shard())}});
}

}  // namespace lethe
