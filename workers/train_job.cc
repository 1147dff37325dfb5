#include "workers/train_job.h"

#include <vector>

#include "base/status.h"
#include "workers/corpus_place.h"
#include "workers/host/job_input.h"
#include "workers/teacher_training.h"

namespace lethe {

absl::StatusOr<v1::TrainResult> TrainJob(const v1::Job& job, const std::filesystem::path& models,
                                         const Device& device, const ProgressCallback& progress) {
  const v1::TrainWork& work = job.train();
  LETHE_ASSIGN_OR_RETURN(const CorpusAt at, CorpusAt::From(models, work.corpus()));
  LETHE_ASSIGN_OR_RETURN(const TeacherSetup setup, TeacherSetup::From(models, work));
  LETHE_RETURN_IF_ERROR(Report(progress, {.phase = "loading"}));
  LETHE_ASSIGN_OR_RETURN(const Corpus corpus, Corpus::Open(at.folder, at.key));
  LETHE_ASSIGN_OR_RETURN(TrainTeachersRequest request, TeacherRequest(corpus, setup, device));
  request.shards = {static_cast<uint32_t>(work.shard())};
  LETHE_ASSIGN_OR_RETURN(const std::vector<ShardTraining> trained,
                         TrainTeachers(corpus, request, progress));
  v1::TrainResult result;
  LETHE_ASSIGN_OR_RETURN(*result.mutable_teacher(), ResultOf(corpus, request, trained.front()));
  *result.mutable_run() = RunOf(trained, request, DigestKey(job));
  return result;
}

}  // namespace lethe
