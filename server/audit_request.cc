#include "server/audit_request.h"

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/model_layout.h"
#include "evidence/policy.h"
#include "server/field_violations.h"
#include "server/job_message.h"
#include "server/policy/ladder.h"
#include "server/ticket_request.h"

namespace lethe {
namespace {

// A checkpoint of the model whose folder is there.
absl::StatusOr<storage::CheckpointRecord> FindFolder(const storage::Snapshot& snapshot,
                                                     const ModelId& model, const std::string& id) {
  std::optional<storage::CheckpointRecord> found;
  if (IsRandomId(id, 'c')) {
    LETHE_ASSIGN_OR_RETURN(found, snapshot.FindCheckpoint(CheckpointId{id}));
  }
  if (!found.has_value() || found->model_id() != model.value) {
    return Error(absl::StatusCode::kNotFound, "CHECKPOINT_NOT_FOUND",
                 "the model has no such checkpoint; ids are \"c-\" and 32 hex digits",
                 {{"model", model.value}});
  }
  const bool rejected = found->state() == static_cast<int32_t>(storage::CheckpointState::kRejected);
  if (found->folder_removed() || rejected) {
    return Error(absl::StatusCode::kFailedPrecondition, "CHECKPOINT_REMOVED",
                 "this checkpoint's folder is gone: it was rejected, or the model's policy keeps "
                 "fewer retired ones. Name one that is there (checkpoint_id, base_checkpoint_id)",
                 {{"model", model.value}, {"checkpoint", id}});
  }
  return *std::move(found);
}

// How the checkpoint was made; nothing for the registered one.
absl::StatusOr<v1::RunRecord> RunOf(const storage::Snapshot& snapshot,
                                    const storage::CheckpointRecord& checkpoint) {
  v1::RunRecord run;
  LETHE_ASSIGN_OR_RETURN(const auto job, snapshot.FindJob(JobId{checkpoint.job_id()}));
  const auto unlearn = static_cast<int32_t>(storage::JobKind::kUnlearn);
  if (job.has_value() && job->kind() == unlearn) run.ParseFromString(job->run());
  return run;
}

absl::Status FillCheckpoints(const storage::Snapshot& snapshot, const v1::Model& model,
                             const v1::AuditCheckpointRequest& request, v1::VerifyWork* work) {
  const ModelId id{model.model_id()};
  LETHE_ASSIGN_OR_RETURN(const CheckpointId registered, RegisteredCheckpoint(snapshot, id));
  const std::string& asked = request.checkpoint_id();
  const std::string& base_asked = request.base_checkpoint_id();
  LETHE_ASSIGN_OR_RETURN(
      const auto candidate,
      FindFolder(snapshot, id, asked.empty() ? model.current_checkpoint_id() : asked));
  LETHE_ASSIGN_OR_RETURN(
      const auto base,
      FindFolder(snapshot, id, base_asked.empty() ? registered.value : base_asked));
  SetCheckpoints(candidate, base, work);
  work->set_base_generation(base.generation());
  work->set_data_folder(DataFolder(id, registered));
  LETHE_ASSIGN_OR_RETURN(*work->mutable_unlearn_run(), RunOf(snapshot, candidate));
  return absl::OkStatus();
}

// The attacks that were asked for, else those of the policy; and what judges them.
absl::Status FillAttacks(const v1::AuditCheckpointRequest& request, const v1::ModelPolicy& policy,
                         const ServerConfig& config, Audit* audit) {
  v1::VerifyWork* work = audit->job.mutable_verify();
  work->set_max_forward_tokens(request.max_forward_tokens() > 0 ? request.max_forward_tokens()
                                                                : policy.max_forward_tokens());
  audit->policy = WithDefaults(policy.verdict());
  if (request.attacks().empty() && request.attack_plan().empty()) {
    *work->mutable_attacks() = policy.attacks();
    return absl::OkStatus();
  }
  LETHE_ASSIGN_OR_RETURN(const std::vector<v1::AttackSpec> attacks,
                         ResolveAttacks(request.attacks(), request.attack_plan(), config));
  // As at registration: figures that leave out what was asked for are refused.
  audit->policy.clear_required_attacks();
  for (const v1::AttackSpec& attack : attacks) {
    *work->add_attacks() = attack;
    audit->policy.add_required_attacks(AttackId(attack.attack(), attack.condition()));
  }
  return absl::OkStatus();
}

absl::Status FillTargets(const Core& core, const v1::Model& model, const Targets& targets,
                         const std::string& id, v1::VerifyWork* work) {
  std::optional<Tokenizer> tokenizer;
  if (NeedsTokenizer(targets)) {
    LETHE_ASSIGN_OR_RETURN(tokenizer, core.tokenizers->Get(model));
  }
  std::shared_ptr<const Corpus> corpus;
  if (NamesCorpus(targets)) {
    LETHE_ASSIGN_OR_RETURN(corpus, core.corpora->Get(model));
  }
  LETHE_ASSIGN_OR_RETURN(
      CheckedTicket checked,
      Resolve(targets, model, {tokenizer.has_value() ? &*tokenizer : nullptr, corpus.get()},
              *core.config));
  v1::TicketPayload* payload = work->add_tickets();
  *payload = std::move(checked.payload);
  payload->clear_corpus_sequences();  // an audit erases nothing
  payload->set_ticket_id(id);
  return absl::OkStatus();
}

uint64_t DrawSeed(Random* random) {
  uint64_t seed = 0;
  for (const char byte : random->Bytes(sizeof(seed))) {
    seed = seed << 8 | static_cast<unsigned char>(byte);
  }
  return seed;
}

}  // namespace

absl::Status CheckAuditForm(const v1::AuditCheckpointRequest& request, const ServerConfig& config) {
  FieldViolations wrong;
  if (!IsModelName(request.model_id())) {
    wrong.Add(FieldError("MODEL_ID_MALFORMED", "model_id",
                         "1 to 63 of [a-z0-9-], beginning with a letter"));
  }
  CheckTargets(request.targets(), config, &wrong);
  if (!request.attacks().empty() || !request.attack_plan().empty()) {
    wrong.Add(ResolveAttacks(request.attacks(), request.attack_plan(), config).status());
  }
  if (request.max_forward_tokens() < 0) {
    wrong.Add(FieldError("MAX_FORWARD_TOKENS_INVALID", "max_forward_tokens",
                         "at least 0; 0: as the model's policy says"));
  }
  return wrong.status();
}

absl::StatusOr<Audit> ResolveAudit(const Core& core, const v1::AuditCheckpointRequest& request,
                                   const std::string& id) {
  LETHE_ASSIGN_OR_RETURN(const std::shared_ptr<const ModelInfo> info,
                         core.models->GetReady(ModelId{request.model_id()}));
  const v1::Model& model = info->model;
  Audit audit;
  audit.job.set_job_id(id);
  audit.job.set_kind(v1::JOB_KIND_AUDIT);
  audit.job.set_model_id(model.model_id());
  audit.job.set_seed(request.seed() != 0 ? request.seed() : DrawSeed(core.random));
  audit.job.set_digest_key(JobDigestKey(core, id));
  v1::VerifyWork* work = audit.job.mutable_verify();
  LETHE_RETURN_IF_ERROR(FillCheckpoints(*core.store->Snapshot(), model, request, work));
  LETHE_RETURN_IF_ERROR(FillTargets(core, model, request.targets(), id, work));
  LETHE_RETURN_IF_ERROR(FillAttacks(request, model.policy(), *core.config, &audit));
  return audit;
}

}  // namespace lethe
