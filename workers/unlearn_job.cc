#include "workers/unlearn_job.h"

#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "corpus/corpus.h"
#include "engine/catalog.h"
#include "engine/teachers.h"
#include "engine/unlearn.h"
#include "text/sequence.h"
#include "workers/base_training.h"
#include "workers/corpus_place.h"
#include "workers/host/job_input.h"
#include "workers/incoming_work.h"

namespace lethe {

namespace fs = std::filesystem;

namespace {

bool NeedsTeachers(const std::string& method) {
  const MethodEntry* entry = FindMethod(method);
  return entry != nullptr && entry->needs_teachers;
}

bool HasSequences(const Corpus& corpus, uint32_t shard) {
  for (uint32_t r = 0; r < corpus.slices(); ++r) {
    if (corpus.At({shard, r}).sequences() > 0) return true;
  }
  return false;
}

// Who may teach. A shard of which nothing is left has learnt nothing that it could teach.
absl::StatusOr<std::vector<Teacher>> TeachersOf(const fs::path& models,
                                                const v1::TeachersWork& work,
                                                const std::vector<Sequence>& forget) {
  LETHE_ASSIGN_OR_RETURN(const fs::path folder, UnderModels(models, work.folder()));
  LETHE_ASSIGN_OR_RETURN(const CorpusAt at, CorpusAt::From(models, work.corpus()));
  LETHE_ASSIGN_OR_RETURN(const Corpus corpus, Corpus::Open(at.folder, at.key));
  LETHE_ASSIGN_OR_RETURN(ShardsThatSaw saw, WhoSaw(corpus, forget));
  std::vector<Teacher> teachers;
  for (int i = 0; i < work.shards_size(); ++i) {
    const int32_t number = work.shards(i);
    const auto shard = static_cast<uint32_t>(number);
    if (shard >= corpus.shards()) {
      return Error(absl::StatusCode::kInvalidArgument, "SHARD_UNKNOWN",
                   "the job names a shard that the corpus does not have",
                   {{"shard", absl::StrCat(number)}});
    }
    if (!HasSequences(corpus, shard)) continue;
    Teacher teacher{.folder = TeacherFolder(folder, shard), .saw = std::move(saw.sequences[shard])};
    if (i < work.digests_size()) teacher.digest = work.digests(i);
    std::error_code error;
    if (!fs::exists(teacher.folder, error)) {
      return Error(absl::StatusCode::kNotFound, "TEACHER_MISSING",
                   "a shard whose teacher is said to be ready has none in the model folder",
                   {{"shard", absl::StrCat(number)}});
    }
    teachers.push_back(std::move(teacher));
  }
  return teachers;
}

}  // namespace

absl::StatusOr<v1::UnlearnResult> UnlearnJob(const v1::Job& job, const fs::path& models,
                                             const Device& device, const StepOptions& steps,
                                             const ProgressCallback& progress) {
  const v1::UnlearnWork& work = job.unlearn();
  const MethodEntry* const method = FindMethod(work.rung().method());
  if (method != nullptr && method->retrains) return RetrainRung(job, models, device, progress);
  UnlearnRequest request;
  LETHE_ASSIGN_OR_RETURN(request.base_folder, UnderModels(models, work.base_folder()));
  LETHE_ASSIGN_OR_RETURN(const fs::path output, UnderModels(models, work.output_folder()));
  LETHE_ASSIGN_OR_RETURN(IncomingWork incoming, IncomingWork::Start(models, job));
  LETHE_ASSIGN_OR_RETURN(const fs::path data, UnderModels(models, work.data_folder()));
  request.out_folder = incoming.checkpoint();
  request.base_digest = work.base_digest();
  request.forget = SequencesOf(work.tickets());
  std::error_code error;
  if (fs::exists(data / "retain.jsonl", error)) {
    LETHE_ASSIGN_OR_RETURN(request.retain, LoadSequences(data / "retain.jsonl", nullptr));
  }
  LETHE_ASSIGN_OR_RETURN(request.watch, LoadSequences(data / "holdout.jsonl", nullptr));
  request.method = work.rung().method();
  request.preset = work.rung().preset();
  for (const auto& [name, value] : work.rung().overrides()) request.overrides[name] = value;
  if (NeedsTeachers(request.method) && work.has_teachers()) {
    LETHE_ASSIGN_OR_RETURN(request.teachers, TeachersOf(models, work.teachers(), request.forget));
  }
  request.thresholds = FromProto(work.thresholds());
  request.seed = job.seed();
  request.digest_key = DigestKey(job);
  request.lineage = {{"model", job.model_id()},
                     {"job", job.job_id()},
                     {"fence", absl::StrCat(job.fence())},
                     {"base_digest", work.base_digest()}};
  request.device = device;
  request.precision = steps.precision;
  request.recompute = steps.recompute;

  LETHE_ASSIGN_OR_RETURN(const UnlearnResult made, Unlearn(request, progress));
  LETHE_RETURN_IF_ERROR(incoming.Publish(output));
  v1::UnlearnResult result;
  result.set_candidate_digest(made.out_digest);
  *result.mutable_run() = ToProto(made.run);
  return result;
}

}  // namespace lethe
