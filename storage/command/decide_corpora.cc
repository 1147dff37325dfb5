// Commands about corpora and their teachers.
#include <algorithm>
#include <set>

#include "base/digest.h"
#include "base/status.h"
#include "lethe/v1/model.pb.h"
#include "lethe/v1/report.pb.h"
#include "storage/command/decide_internal.h"
#include "storage/command/draft.h"
#include "storage/command/hand_in.h"
#include "storage/command/outcomes.h"

namespace lethe::storage {
namespace {

absl::Status CheckOptions(const RegisterCorpus& c) {
  lethe::v1::CorpusOptions options;
  if (!options.ParseFromString(c.options) || options.shards() < 1 || options.slices() < 1) {
    return Malformed("the options of a corpus name no shard or no slice");
  }
  if (!lethe::v1::TeacherOptions().ParseFromString(c.teachers) ||
      !lethe::v1::BaseOptions().ParseFromString(c.base)) {
    return Malformed("the options of teachers, or of the model's own training, cannot be read");
  }
  if (c.source_paths.empty()) return Malformed("a corpus needs a source");
  return absl::OkStatus();
}

int32_t ShardsOf(const CorpusRecord& corpus) {
  lethe::v1::CorpusOptions options;
  options.ParseFromString(corpus.options());
  return options.shards();
}

// The teachers READY, with what they are now.
absl::Status Record(Draft* draft, ModelRecord* model, const TrainedTeacher& trained,
                    const std::string& job) {
  if (!trained.failure_reason.empty()) {
    TeacherRecord* teacher = model->mutable_corpus()->mutable_shards(trained.shard);
    teacher->clear_state_key();
    teacher->clear_model_digest();
    return draft->Move(model, trained.shard, TeacherEvent::kDismiss, job, trained.failure_reason);
  }
  std::map<std::string, std::string> digests = {{"state", trained.state_key}};
  if (!trained.model_digest.empty()) digests["model"] = trained.model_digest;
  LETHE_RETURN_IF_ERROR(
      draft->Move(model, trained.shard, TeacherEvent::kTrained, job, "", digests));
  TeacherRecord* teacher = model->mutable_corpus()->mutable_shards(trained.shard);
  teacher->set_state_key(trained.state_key);
  teacher->set_model_digest(trained.model_digest);
  return absl::OkStatus();
}

// For estimates: what training has cost so far.
void AddCost(ModelRecord* model, int64_t tokens, const std::string& run) {
  lethe::v1::RunRecord record;
  if (tokens <= 0 || !record.ParseFromString(run)) return;
  CorpusRecord* corpus = model->mutable_corpus();
  corpus->set_trained_tokens(corpus->trained_tokens() + tokens);
  corpus->set_trained_seconds(corpus->trained_seconds() + record.seconds());
}

std::string DigestOf(const std::vector<TrainedTeacher>& teachers) {
  std::string text;
  for (const TrainedTeacher& t : teachers) {
    text += std::to_string(t.shard) + " " + t.state_key + " " + t.model_digest + " " +
            t.failure_reason + "\n";
  }
  return text;
}

}  // namespace

Decision Decide(const RegisterCorpus& c, const Context& context) {
  LETHE_RETURN_IF_ERROR(CheckOptions(c));
  LETHE_RETURN_IF_ERROR(CheckFresh(c.job, context.view));
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(ModelRecord * model, draft.Model(c.model));
  const ErrorMetadata metadata = {{"model", c.model.value}};
  if (model->state() != static_cast<int32_t>(ModelState::kReady)) {
    return Error(absl::StatusCode::kFailedPrecondition, "MODEL_NOT_READY",
                 "the model is not READY; follow it with GetModel", metadata);
  }
  const auto state = static_cast<CorpusState>(model->corpus().state());
  if (state != CorpusState::kNone && state != CorpusState::kFailed) {
    return Error(absl::StatusCode::kAlreadyExists, "CORPUS_EXISTS",
                 "the model has a corpus; a model has one", metadata);
  }
  if (!model->active_job_id().empty()) {
    return Error(absl::StatusCode::kFailedPrecondition, "JOB_ACTIVE",
                 "a job works on this model; wait for it or hold its tickets", metadata);
  }
  CorpusRecord corpus;
  corpus.set_state(static_cast<int32_t>(state));
  corpus.set_options(c.options);
  corpus.set_teachers(c.teachers);
  corpus.set_base(c.base);
  for (const std::string& path : c.source_paths) corpus.add_source_paths(path);
  corpus.set_job_id(c.job.value);
  corpus.set_create_us(draft.now_us());
  *model->mutable_corpus() = std::move(corpus);
  LETHE_RETURN_IF_ERROR(draft.Move(model, CorpusEvent::kRegister));
  JobRecord* job = draft.NewJob(c.job);
  job->set_kind(static_cast<int32_t>(JobKind::kIngest));
  job->set_model_id(c.model.value);
  job->set_seed(c.seed);
  LETHE_RETURN_IF_ERROR(draft.Move(job, JobEvent::kForm));
  Receipt receipt;
  receipt.model = *model;
  receipt.job = *job;
  return draft.Finish(std::move(receipt));
}

Decision Decide(const CompleteIngest& c, const Context& context) {
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(JobRecord * job, draft.Job(c.job));
  const std::string digest =
      ResultDigest({"ingest", std::to_string(c.sequences), std::to_string(c.tokens)});
  LETHE_ASSIGN_OR_RETURN(HeldLease lease, CheckLease(*job, c.fence, JobKind::kIngest, digest));
  if (lease == HeldLease::kRepeated) return Repeated(*job);
  LETHE_ASSIGN_OR_RETURN(ModelRecord * model, draft.Model(ModelId{job->model_id()}));
  CorpusRecord* corpus = model->mutable_corpus();
  const int32_t shards = ShardsOf(*corpus);
  if (c.sequences < 1 || c.tokens < c.sequences) {
    return ResultMalformed("a corpus has sequences, and each has tokens", c.job);
  }
  if (std::set<JobId>(c.train_jobs.begin(), c.train_jobs.end()).size() !=
          static_cast<size_t>(shards) ||
      c.train_jobs.size() != static_cast<size_t>(shards)) {
    return Malformed("each shard needs a job of its own");
  }
  job->set_result_digest(digest);
  LETHE_RETURN_IF_ERROR(draft.Move(job, JobEvent::kComplete));
  corpus->set_sequences(c.sequences);
  corpus->set_tokens(c.tokens);
  LETHE_RETURN_IF_ERROR(
      draft.Move(model, CorpusEvent::kRead, "", {{"sequences", std::to_string(c.sequences)}}));
  for (int32_t shard = 0; shard < shards; ++shard) {
    const JobId& id = c.train_jobs[static_cast<size_t>(shard)];
    LETHE_RETURN_IF_ERROR(CheckFresh(id, context.view));
    corpus->add_shards();
    LETHE_RETURN_IF_ERROR(draft.Move(model, shard, TeacherEvent::kAppoint, id.value));
    JobRecord* train = draft.NewJob(id);
    train->set_kind(static_cast<int32_t>(JobKind::kTrain));
    train->set_model_id(model->model_id());
    train->set_seed(job->seed());
    train->add_shards(shard);
    LETHE_RETURN_IF_ERROR(draft.Move(train, JobEvent::kForm));
  }
  Receipt receipt;
  receipt.model = *model;
  receipt.job = *job;
  return draft.Finish(std::move(receipt));
}

Decision Decide(const CompleteTrain& c, const Context& context) {
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(JobRecord * job, draft.Job(c.job));
  const std::string digest = ResultDigest({"train", DigestOf({c.teacher})});
  LETHE_ASSIGN_OR_RETURN(HeldLease lease, CheckLease(*job, c.fence, JobKind::kTrain, digest));
  if (lease == HeldLease::kRepeated) return Repeated(*job);
  if (c.teacher.state_key.empty() || !c.teacher.failure_reason.empty() ||
      !lethe::v1::RunRecord().ParseFromString(c.run)) {
    return ResultMalformed("the result of TRAIN cannot be read", c.job);
  }
  if (c.teacher.shard != job->shards(0)) {
    return ResultMismatch("the teacher is of another shard", c.job);
  }
  LETHE_ASSIGN_OR_RETURN(ModelRecord * model, draft.Model(ModelId{job->model_id()}));
  job->set_run(c.run);
  job->set_result_digest(digest);
  LETHE_RETURN_IF_ERROR(draft.Move(job, JobEvent::kComplete, "", {{"run", Sha256Hex(c.run)}}));
  LETHE_RETURN_IF_ERROR(Record(&draft, model, c.teacher, job->job_id()));
  AddCost(model, c.trained_tokens, c.run);
  LETHE_RETURN_IF_ERROR(FinishTraining(&draft, model));
  Receipt receipt;
  receipt.model = *model;
  receipt.job = *job;
  return draft.Finish(std::move(receipt));
}

Decision Decide(const CompleteRetrain& c, const Context& context) {
  Draft draft(context.view, context.now, c.actor);
  LETHE_ASSIGN_OR_RETURN(JobRecord * job, draft.Job(c.job));
  const std::string digest = ResultDigest({"retrain", DigestOf(c.teachers)});
  LETHE_ASSIGN_OR_RETURN(HeldLease lease, CheckLease(*job, c.fence, JobKind::kRetrain, digest));
  if (lease == HeldLease::kRepeated) return Repeated(*job);
  if (c.erased < 0 || !lethe::v1::RunRecord().ParseFromString(c.run)) {
    return ResultMalformed("the result of RETRAIN cannot be read", c.job);
  }
  const bool same =
      std::equal(c.teachers.begin(), c.teachers.end(), job->shards().begin(), job->shards().end(),
                 [](const TrainedTeacher& t, int32_t shard) { return t.shard == shard; });
  if (!same) return ResultMismatch("the teachers are not those of the job's shards", c.job);
  LETHE_ASSIGN_OR_RETURN(ModelRecord * model, draft.Model(ModelId{job->model_id()}));
  job->set_run(c.run);
  job->set_result_digest(digest);
  LETHE_RETURN_IF_ERROR(
      draft.Move(job, JobEvent::kComplete, "",
                 {{"run", Sha256Hex(c.run)}, {"erased", std::to_string(c.erased)}}));
  for (const TrainedTeacher& teacher : c.teachers) {
    LETHE_RETURN_IF_ERROR(Record(&draft, model, teacher, job->job_id()));
  }
  AddCost(model, c.trained_tokens, c.run);
  SetIdle(&draft, model);
  Receipt receipt;
  for (const std::string& id : job->ticket_ids()) {
    LETHE_ASSIGN_OR_RETURN(TicketRecord * ticket, draft.Ticket(TicketId{id}));
    // Why it was promoted, by verdict or by a person, stays its reason.
    LETHE_RETURN_IF_ERROR(draft.Move(ticket, TicketEvent::kErased,
                                     static_cast<lethe::v1::TicketReason>(ticket->reason())));
    receipt.tickets.push_back(*ticket);
  }
  receipt.model = *model;
  receipt.job = *job;
  return draft.Finish(std::move(receipt));
}

}  // namespace lethe::storage
