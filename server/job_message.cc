#include "server/job_message.h"

#include <algorithm>
#include <set>

#include "base/model_layout.h"
#include "server/convert.h"
#include "storage/state/corpus_state.h"

namespace lethe {
namespace {

using storage::JobKind;
using storage::JobRecord;

template <typename Work>
absl::Status AddPayloads(const Core& core, const storage::Snapshot& snapshot,
                         const JobRecord& record, Work* work) {
  for (const std::string& ticket : record.ticket_ids()) {
    const TicketId id{ticket};
    LETHE_ASSIGN_OR_RETURN(const auto payload, snapshot.FindPayload(id));
    LETHE_ASSIGN_OR_RETURN(const auto key, snapshot.FindKey(id));
    if (!payload.has_value() || !key.has_value()) {
      return Error(absl::StatusCode::kDataLoss, "PAYLOAD_MISSING",
                   "a ticket of the job has no payload", {{"ticket", ticket}});
    }
    LETHE_ASSIGN_OR_RETURN(std::string plain, core.vault->Unseal(id, *payload, *key));
    v1::TicketPayload* out = work->add_tickets();
    const bool parsed = out->ParseFromString(plain);
    storage::Cleanse(&plain);
    if (!parsed) {
      return Error(absl::StatusCode::kDataLoss, "PAYLOAD_TAMPERED",
                   "a ticket's payload does not parse", {{"ticket", ticket}});
    }
    out->set_ticket_id(ticket);
  }
  return absl::OkStatus();
}

// Every n that an attack or a stop rule of the policy may ask for, and the paper's own.
std::set<int32_t> ElLengths(const v1::ModelPolicy& policy) {
  std::set<int32_t> lengths = {3, 5, 10};
  const auto add = [&](const auto& values, const char* name) {
    const auto it = values.find(name);
    if (it != values.end() && it->second >= 1 && it->second <= 100) {
      lengths.insert(static_cast<int32_t>(it->second));
    }
  };
  for (const v1::AttackSpec& attack : policy.attacks()) add(attack.parameters(), "n");
  for (const v1::Rung& rung : policy.ladder()) add(rung.overrides(), "el_n");
  return lengths;
}

void FillPrepare(const JobRecord& record, const storage::ModelRecord& model,
                 const v1::ModelPolicy& policy, v1::PrepareWork* work) {
  const ModelId id{record.model_id()};
  const CheckpointId made{record.candidate_checkpoint_id()};
  work->set_source_path(model.source_path());
  work->set_retain_path(model.retain_path());
  work->set_holdout_path(model.holdout_path());
  for (const auto& [name, path] : model.other_paths()) (*work->mutable_other_paths())[name] = path;
  work->set_output_folder(CheckpointFolder(id, made));
  work->set_data_folder(DataFolder(id, made));
  for (const int32_t n : ElLengths(policy)) work->add_el_n(n);
}

absl::Status FillUnlearn(const Core& core, const storage::Snapshot& snapshot,
                         const JobRecord& record, const storage::ModelRecord& model,
                         v1::UnlearnWork* work) {
  const ModelId id{record.model_id()};
  LETHE_RETURN_IF_ERROR(AddPayloads(core, snapshot, record, work));
  work->mutable_rung()->set_method(record.method());
  work->mutable_rung()->set_preset(record.preset());
  for (const auto& [name, value] : record.overrides()) {
    (*work->mutable_rung()->mutable_overrides())[name] = value;
  }
  LETHE_ASSIGN_OR_RETURN(const auto base,
                         snapshot.GetCheckpoint(CheckpointId{record.base_checkpoint_id()}));
  LETHE_ASSIGN_OR_RETURN(const CheckpointId registered, RegisteredCheckpoint(snapshot, id));
  work->set_base_folder(base.folder());
  work->set_base_digest(base.digest());
  work->set_output_folder(CheckpointFolder(id, CheckpointId{record.candidate_checkpoint_id()}));
  work->set_data_folder(DataFolder(id, registered));
  work->mutable_thresholds()->ParseFromString(model.thresholds());
  return absl::OkStatus();
}

absl::Status FillVerify(const Core& core, const storage::Snapshot& snapshot,
                        const JobRecord& record, const v1::ModelPolicy& policy,
                        v1::VerifyWork* work) {
  LETHE_RETURN_IF_ERROR(AddPayloads(core, snapshot, record, work));
  LETHE_ASSIGN_OR_RETURN(const auto candidate,
                         snapshot.GetCheckpoint(CheckpointId{record.candidate_checkpoint_id()}));
  LETHE_ASSIGN_OR_RETURN(const auto base,
                         snapshot.GetCheckpoint(CheckpointId{record.base_checkpoint_id()}));
  LETHE_ASSIGN_OR_RETURN(const CheckpointId registered,
                         RegisteredCheckpoint(snapshot, ModelId{record.model_id()}));
  SetCheckpoints(candidate, base, work);
  work->set_base_generation(record.base_generation());
  work->set_data_folder(DataFolder(ModelId{record.model_id()}, registered));
  *work->mutable_attacks() = policy.attacks();
  work->set_max_forward_tokens(policy.max_forward_tokens());
  work->mutable_unlearn_run()->ParseFromString(record.run());
  return absl::OkStatus();
}

// A model's corpus, as a job needs it.
struct CorpusParts {
  v1::CorpusPlace place;
  std::string teachers_folder, tokenizer_folder;
  v1::CorpusOptions options;
  v1::TeacherOptions teachers;
};

absl::StatusOr<CorpusParts> PartsOf(const Core& core, const storage::Snapshot& snapshot,
                                    const storage::ModelRecord& model) {
  const ModelId id{model.model_id()};
  const JobId ingest{model.corpus().job_id()};
  LETHE_ASSIGN_OR_RETURN(const auto current,
                         snapshot.GetCheckpoint(CheckpointId{model.current_checkpoint_id()}));
  CorpusParts parts{.teachers_folder = TeachersFolder(id, ingest),
                    .tokenizer_folder = current.folder()};
  parts.place.set_folder(CorpusFolder(id, ingest));
  parts.place.set_key(storage::CorpusSecret(*core.vault, id, parts.place.folder()));
  if (!parts.options.ParseFromString(model.corpus().options()) ||
      !parts.teachers.ParseFromString(model.corpus().teachers())) {
    return Error(absl::StatusCode::kDataLoss, "RECORD_CORRUPT",
                 "the model's corpus cannot be read; run lethe admin check",
                 {{"model", model.model_id()}});
  }
  return parts;
}

absl::Status FillIngest(const Core& core, const storage::Snapshot& snapshot,
                        const storage::ModelRecord& model, v1::IngestWork* work) {
  LETHE_ASSIGN_OR_RETURN(CorpusParts parts, PartsOf(core, snapshot, model));
  v1::ModelFacts facts;
  facts.ParseFromString(model.facts());
  *work->mutable_source_paths() = model.corpus().source_paths();
  *work->mutable_options() = parts.options;
  *work->mutable_corpus() = parts.place;
  work->set_tokenizer_folder(parts.tokenizer_folder);
  work->set_config_folder(
      CorpusConfigFolder(ModelId{model.model_id()}, JobId{model.corpus().job_id()}));
  work->set_vocab_size(facts.vocab_size());
  // Student and teachers must both be able to read it.
  work->set_max_tokens(std::min(facts.context_length(), parts.teachers.context_length()));
  return absl::OkStatus();
}

absl::Status FillTrain(const Core& core, const storage::Snapshot& snapshot, const JobRecord& record,
                       const storage::ModelRecord& model, v1::TrainWork* work) {
  LETHE_ASSIGN_OR_RETURN(CorpusParts parts, PartsOf(core, snapshot, model));
  *work->mutable_corpus() = parts.place;
  work->set_teachers_folder(parts.teachers_folder);
  *work->mutable_teachers() = parts.teachers;
  work->set_tokenizer_folder(parts.tokenizer_folder);
  work->set_shard(record.shards(0));
  return absl::OkStatus();
}

// What the model itself can go back to.
void SetBase(const storage::ModelRecord& model, const CorpusParts& parts, v1::BaseWork* base) {
  const ModelId id{model.model_id()};
  const JobId ingest{model.corpus().job_id()};
  *base->mutable_corpus() = parts.place;
  base->set_states_folder(BaseStatesFolder(id, ingest));
  base->set_config_folder(CorpusConfigFolder(id, ingest));
  base->mutable_options()->ParseFromString(model.corpus().base());
}

absl::Status FillRetrain(const Core& core, const storage::Snapshot& snapshot,
                         const JobRecord& record, const storage::ModelRecord& model,
                         v1::RetrainWork* work) {
  LETHE_ASSIGN_OR_RETURN(CorpusParts parts, PartsOf(core, snapshot, model));
  LETHE_RETURN_IF_ERROR(AddPayloads(core, snapshot, record, work));
  // Numbers are all that it takes to erase.
  for (v1::TicketPayload& ticket : *work->mutable_tickets()) ticket.clear_sequences();
  *work->mutable_corpus() = parts.place;
  work->set_teachers_folder(parts.teachers_folder);
  *work->mutable_teachers() = parts.teachers;
  work->set_tokenizer_folder(parts.tokenizer_folder);
  *work->mutable_shards() = record.shards();
  if (!model.corpus().base().empty()) SetBase(model, parts, work->mutable_base());
  return absl::OkStatus();
}

absl::Status AddTeachers(const Core& core, const storage::Snapshot& snapshot,
                         const storage::ModelRecord& model, v1::UnlearnWork* work) {
  if (model.corpus().state() != static_cast<int32_t>(storage::CorpusState::kReady)) {
    return absl::OkStatus();
  }
  LETHE_ASSIGN_OR_RETURN(CorpusParts parts, PartsOf(core, snapshot, model));
  v1::TeachersWork* teachers = work->mutable_teachers();
  *teachers->mutable_corpus() = parts.place;
  teachers->set_folder(parts.teachers_folder);
  for (int shard = 0; shard < model.corpus().shards_size(); ++shard) {
    const auto state = static_cast<storage::TeacherState>(model.corpus().shards(shard).state());
    if (state != storage::TeacherState::kReady) continue;
    teachers->add_shards(shard);
    teachers->add_digests(model.corpus().shards(shard).model_digest());
  }
  if (!model.corpus().base().empty()) SetBase(model, parts, work->mutable_base());
  return absl::OkStatus();
}

}  // namespace

void SetCheckpoints(const storage::CheckpointRecord& candidate,
                    const storage::CheckpointRecord& base, v1::VerifyWork* work) {
  work->set_candidate_checkpoint_id(candidate.checkpoint_id());
  work->set_candidate_folder(candidate.folder());
  work->set_candidate_digest(candidate.digest());
  work->set_base_checkpoint_id(base.checkpoint_id());
  work->set_base_folder(base.folder());
  work->set_base_digest(base.digest());
}

absl::StatusOr<CheckpointId> RegisteredCheckpoint(const storage::Snapshot& snapshot,
                                                  const ModelId& model) {
  LETHE_ASSIGN_OR_RETURN(const std::vector<CheckpointId> all, snapshot.CheckpointsOf(model));
  if (all.empty()) {
    return Error(absl::StatusCode::kFailedPrecondition, "MODEL_NOT_READY",
                 "the model has no checkpoint yet", {{"model", model.value}});
  }
  return all.back();
}

std::string JobDigestKey(const Core& core, const std::string& job_id) {
  return core.vault->BodyDigest("lethe job digest key\n" + job_id);
}

absl::StatusOr<v1::Job> BuildJob(const Core& core, const JobRecord& record) {
  const auto snapshot = core.store->Snapshot();
  LETHE_ASSIGN_OR_RETURN(const auto model, snapshot->GetModel(ModelId{record.model_id()}));
  v1::ModelPolicy policy;
  policy.ParseFromString(model.policy());
  v1::Job job;
  job.set_job_id(record.job_id());
  job.set_fence(record.fence());
  job.set_kind(static_cast<v1::JobKind>(record.kind()));
  job.set_model_id(record.model_id());
  ToTimestamp(absl::FromUnixMicros(record.lease_expire_us()), job.mutable_lease_expire_time());
  ToDuration(core.config->HeartbeatInterval(), job.mutable_heartbeat_interval());
  job.set_seed(record.seed());
  job.set_digest_key(JobDigestKey(core, record.job_id()));
  switch (static_cast<JobKind>(record.kind())) {
    case JobKind::kPrepare:
      FillPrepare(record, model, policy, job.mutable_prepare());
      break;
    case JobKind::kUnlearn:
      LETHE_RETURN_IF_ERROR(FillUnlearn(core, *snapshot, record, model, job.mutable_unlearn()));
      LETHE_RETURN_IF_ERROR(AddTeachers(core, *snapshot, model, job.mutable_unlearn()));
      break;
    case JobKind::kVerify:
      LETHE_RETURN_IF_ERROR(FillVerify(core, *snapshot, record, policy, job.mutable_verify()));
      break;
    case JobKind::kIngest:
      LETHE_RETURN_IF_ERROR(FillIngest(core, *snapshot, model, job.mutable_ingest()));
      break;
    case JobKind::kTrain:
      LETHE_RETURN_IF_ERROR(FillTrain(core, *snapshot, record, model, job.mutable_train()));
      break;
    case JobKind::kRetrain:
      LETHE_RETURN_IF_ERROR(FillRetrain(core, *snapshot, record, model, job.mutable_retrain()));
      break;
  }
  return job;
}

}  // namespace lethe
