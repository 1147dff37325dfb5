#include "workers/retrain_job.h"

#include <string>
#include <vector>

#include "base/log.h"
#include "base/status.h"
#include "corpus/erase.h"
#include "workers/base_training.h"
#include "workers/corpus_place.h"
#include "workers/host/job_failure.h"
#include "workers/host/job_input.h"
#include "workers/teacher_training.h"

namespace lethe {
namespace {

ErasureTargets TargetsOf(const v1::RetrainWork& work) {
  ErasureTargets targets;
  for (const v1::TicketPayload& ticket : work.tickets()) {
    for (const uint64_t id : ticket.corpus_sequences()) targets.sequences.push_back({id});
  }
  return targets;
}

absl::StatusOr<v1::TeacherResult> Dismissed(int32_t shard, const absl::Status& why) {
  const std::string reason = ErrorReason(why);
  LogWarning("a teacher cannot be trained again, and teaches no more",
             {{"shard", shard}, {"reason", reason}});
  v1::TeacherResult result;
  result.set_shard(shard);
  result.set_failure_reason(reason.empty() ? "TRAINING_FAILED" : reason);
  return result;
}

}  // namespace

absl::StatusOr<v1::RetrainResult> RetrainJob(const v1::Job& job,
                                             const std::filesystem::path& models,
                                             const Device& device,
                                             const ProgressCallback& progress) {
  const v1::RetrainWork& work = job.retrain();
  LETHE_ASSIGN_OR_RETURN(const CorpusAt at, CorpusAt::From(models, work.corpus()));
  LETHE_ASSIGN_OR_RETURN(const TeacherSetup setup, TeacherSetup::From(models, work));
  if (work.shards().empty()) {  // which to the engine would mean all
    return Error(absl::StatusCode::kInvalidArgument, "NO_SHARDS", "the job names no shard");
  }
  LETHE_RETURN_IF_ERROR(Report(progress, {.phase = "erasing"}));
  LETHE_ASSIGN_OR_RETURN(const EraseResult erased,
                         EraseFromCorpus(at.folder, at.key, TargetsOf(work)));

  LETHE_ASSIGN_OR_RETURN(const Corpus corpus, Corpus::Open(at.folder, at.key));
  LETHE_ASSIGN_OR_RETURN(TrainTeachersRequest request, TeacherRequest(corpus, setup, device));
  request.shards.assign(work.shards().begin(), work.shards().end());
  request.recipe.remove_others = true;
  LETHE_ASSIGN_OR_RETURN(const int removed, RemoveStaleStates(corpus, request));
  LogInfo("what tickets named is gone from the corpus, and from the states of its teachers",
          {{"job", job.job_id()}, {"sequences", erased.sequences.size()}, {"states", removed}});
  if (work.has_base()) {
    LETHE_ASSIGN_OR_RETURN(const RetrainRequest base, BaseRequest(models, work.base(), device));
    LETHE_RETURN_IF_ERROR(RemoveStaleBaseStates(corpus, base).status());
  }
  v1::RetrainResult result;
  std::vector<ShardTraining> trained;
  for (const int32_t shard : work.shards()) {
    request.shards = {static_cast<uint32_t>(shard)};
    auto one = TrainTeachers(corpus, request, progress);
    if (one.ok()) {
      LETHE_ASSIGN_OR_RETURN(*result.add_teachers(), ResultOf(corpus, request, one->front()));
      trained.push_back(std::move(one->front()));
    } else if (FailureOf(one.status(), job.kind()).cause == v1::FAILURE_CAUSE_METHOD) {
      // What it knew is gone. That it cannot learn the rest is no reason to keep the tickets waiting.
      LETHE_ASSIGN_OR_RETURN(*result.add_teachers(), Dismissed(shard, one.status()));
    } else {
      return one.status();
    }
  }
  result.set_erased(static_cast<int64_t>(erased.sequences.size()));
  if (!trained.empty()) *result.mutable_run() = RunOf(trained, request, DigestKey(job));
  return result;
}

}  // namespace lethe
