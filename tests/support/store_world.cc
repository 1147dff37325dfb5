#include "tests/support/store_world.h"

#include <gtest/gtest.h>

#include "base/digest.h"
#include "lethe/v1/model.pb.h"
#include "lethe/v1/ticket.pb.h"
#include "storage/command/decide.h"
#include "storage/fsck.h"

namespace lethe::storage {

namespace v1 = lethe::v1;

absl::StatusOr<v1::Verdict> JudgeForTest(const v1::Measurements& m, const v1::VerdictPolicy&) {
  v1::Verdict verdict;
  std::map<std::string, v1::Outcome> tickets;
  for (int i = 0; i < m.forgotten_size(); ++i) {
    v1::Outcome& outcome =
        tickets.try_emplace(m.forgotten(i).ticket_id(), v1::OUTCOME_PASS).first->second;
    if (m.forgotten_nll().after(i) < 1.0) outcome = v1::OUTCOME_NOT_FORGOTTEN;
  }
  verdict.set_outcome(v1::OUTCOME_PASS);
  for (const auto& [id, outcome] : tickets) {
    v1::TicketOutcome* t = verdict.add_tickets();
    t->set_ticket_id(id);
    t->set_outcome(outcome);
    if (outcome != v1::OUTCOME_PASS) verdict.set_outcome(outcome);
  }
  for (const v1::TextUtility& u : m.utility()) {
    if (u.nll_after() > u.nll_before()) verdict.set_outcome(v1::OUTCOME_DESTROYED);
  }
  return verdict;
}

World::World(TicketStore* store, const Vault* vault, FakeClock* clock, uint64_t seed)
    : store_(store), vault_(vault), clock_(clock), random_(seed) {}

Receipt World::Must(Command command) {
  absl::StatusOr<Receipt> receipt = store_->Commit(std::move(command));
  EXPECT_TRUE(receipt.ok()) << receipt.status();
  return receipt.ok() ? *receipt : Receipt{};
}

v1::ModelPolicy World::Policy(int rungs, int max_tickets) {
  v1::ModelPolicy policy;
  policy.set_max_tickets_per_job(max_tickets);
  for (int i = 0; i < rungs; ++i) {
    v1::Rung* rung = policy.add_ladder();
    rung->set_method("gradient_ascent");
    rung->set_preset("rung" + std::to_string(i));
  }
  return policy;
}

ModelId World::ReadyModel(const std::string& name, const v1::ModelPolicy& policy) {
  const ModelId model{name};
  Receipt registered = Must(RegisterModel{.actor = "ops",
                                          .model = model,
                                          .job = JobId{NewId(&random_, 'j')},
                                          .policy = policy.SerializeAsString()});
  if (!registered.job.has_value()) return model;
  const JobRecord job = Lease(*registered.job);
  v1::ModelFacts facts;
  facts.set_architecture("LlamaForCausalLM");
  v1::Thresholds thresholds;
  thresholds.set_ma(0.25);
  Must(CompletePrepare{.actor = "worker",
                       .job = JobId{job.job_id()},
                       .fence = Fence{job.fence()},
                       .facts = facts.SerializeAsString(),
                       .thresholds = thresholds.SerializeAsString(),
                       .digest = Sha256Hex(name)});
  return model;
}

RegisterCorpus World::CorpusCommand(const ModelId& model, int shards) {
  v1::CorpusOptions options;
  options.set_shards(shards);
  options.set_slices(2);
  return RegisterCorpus{.actor = "ops",
                        .model = model,
                        .job = JobId{NewId(&random_, 'j')},
                        .seed = 5,
                        .source_paths = {"/lines.jsonl"},
                        .options = options.SerializeAsString()};
}

CompleteIngest World::IngestCommand(const JobRecord& leased, int shards) {
  CompleteIngest done{.actor = "worker",
                      .job = JobId{leased.job_id()},
                      .fence = Fence{leased.fence()},
                      .sequences = 100,
                      .tokens = 1000};
  for (int i = 0; i < shards; ++i) done.train_jobs.push_back(JobId{NewId(&random_, 'j')});
  return done;
}

CompleteTrain World::TrainCommand(const JobRecord& leased) {
  v1::RunRecord run;
  run.set_seconds(2);
  return CompleteTrain{.actor = "worker",
                       .job = JobId{leased.job_id()},
                       .fence = Fence{leased.fence()},
                       .teacher = {.shard = leased.shards(0),
                                   .state_key = Sha256Hex(leased.job_id()),
                                   .model_digest = Sha256Hex("teacher " + leased.job_id())},
                       .trained_tokens = 500,
                       .run = run.SerializeAsString()};
}

CompleteRetrain World::RetrainCommand(const JobRecord& leased) {
  CompleteRetrain done{.actor = "worker",
                       .job = JobId{leased.job_id()},
                       .fence = Fence{leased.fence()},
                       .erased = 2,
                       .trained_tokens = 100};
  for (const int32_t shard : leased.shards()) {
    done.teachers.push_back({.shard = shard,
                             .state_key = Sha256Hex("again " + leased.job_id()),
                             .model_digest = Sha256Hex("teacher " + leased.job_id())});
  }
  return done;
}

void World::ReadyCorpus(const ModelId& model, int shards) {
  const JobRecord ingest = Lease(Must(CorpusCommand(model, shards)).job.value_or(JobRecord()));
  Must(IngestCommand(ingest, shards));
  const CorpusRecord corpus = Model(model).corpus();
  for (const TeacherRecord& teacher : corpus.shards()) {
    Must(TrainCommand(Lease(Job(teacher.job_id()))));
  }
}

TicketId World::FileInCorpus(const ModelId& model, const std::vector<int32_t>& shards) {
  NewTicket ticket = Draft(model, NewId(&random_, 'r'), "of a person");
  ticket.corpus_sequences = 3;
  ticket.corpus_shards = shards;
  const TicketId id = ticket.id;
  Must(CreateTickets{.actor = "officer", .tickets = {std::move(ticket)}});
  return id;
}

NewTicket World::Draft(const ModelId& model, const std::string& request_id,
                       const std::string& text) {
  NewTicket ticket;
  ticket.id = TicketId{NewId(&random_, 't')};
  ticket.model = model;
  ticket.regulation = v1::REGULATION_GDPR;
  ticket.request_time = clock_->Now();
  ticket.due_time = AddMonthsClamped(clock_->Now(), 1);
  ticket.sequences = 2;
  ticket.tokens = static_cast<int64_t>(text.size());
  ticket.request_key = RequestKey(request_id);
  ticket.request_digest = vault_->BodyDigest(text);
  absl::StatusOr<Sealed> sealed = vault_->Seal(&random_, ticket.id, text);
  EXPECT_TRUE(sealed.ok()) << sealed.status();
  ticket.payload = sealed->payload;
  ticket.key = sealed->key;
  ticket.payload_commitment = sealed->commitment;
  return ticket;
}

TicketId World::File(const ModelId& model, const std::string& text) {
  NewTicket ticket = Draft(model, NewId(&random_, 'r'), text);
  const TicketId id = ticket.id;
  Must(CreateTickets{.actor = "officer", .tickets = {std::move(ticket)}});
  return id;
}

FormUnlearnJob World::FormCommand(const ModelId& model, const std::vector<TicketId>& tickets,
                                  int rung) {
  return FormUnlearnJob{.actor = "server",
                        .job = JobId{NewId(&random_, 'j')},
                        .seed = 7,
                        .model = model,
                        .tickets = tickets,
                        .rung = rung,
                        .method = "gradient_ascent",
                        .preset = "rung" + std::to_string(rung),
                        .expected_generation = Generation{Model(model).generation()}};
}

JobRecord World::Form(const ModelId& model, const std::vector<TicketId>& tickets, int rung) {
  return Must(FormCommand(model, tickets, rung)).job.value_or(JobRecord());
}

JobRecord World::Lease(const JobRecord& job, absl::Duration ttl) {
  return Must(LeaseJob{.actor = "worker", .job = JobId{job.job_id()}, .worker = "w1", .ttl = ttl})
      .job.value_or(JobRecord());
}

CompleteUnlearn World::UnlearnCommand(const JobRecord& leased) {
  v1::RunRecord run;
  run.set_method(leased.method());
  return CompleteUnlearn{.actor = "worker",
                         .job = JobId{leased.job_id()},
                         .fence = Fence{leased.fence()},
                         .digest = Sha256Hex(leased.candidate_checkpoint_id()),
                         .run = run.SerializeAsString(),
                         .verify_job = JobId{NewId(&random_, 'j')}};
}

JobRecord World::Unlearn(const JobRecord& leased) {
  return Must(UnlearnCommand(leased)).job.value_or(JobRecord());
}

CompleteVerify World::VerifyCommand(const JobRecord& leased, const Finds& found) {
  v1::Measurements m;
  m.set_model_id(leased.model_id());
  m.set_job_id(leased.job_id());
  m.set_fence(leased.fence());
  m.set_candidate_checkpoint_id(leased.candidate_checkpoint_id());
  m.set_candidate_digest(Checkpoint(leased.candidate_checkpoint_id()).digest());
  m.set_base_checkpoint_id(leased.base_checkpoint_id());
  m.set_base_digest(Checkpoint(leased.base_checkpoint_id()).digest());
  m.set_base_generation(leased.base_generation());
  m.mutable_unlearn_run()->set_method(leased.method());
  for (const std::string& ticket : leased.ticket_ids()) {
    for (int i = 0; i < Ticket(TicketId{ticket}).sequences(); ++i) {
      v1::ForgottenSequence* f = m.add_forgotten();
      f->set_ticket_id(ticket);
      f->set_index(i);
      m.mutable_forgotten_nll()->add_before(0.1);
      m.mutable_forgotten_nll()->add_after(found.not_forgotten.contains(TicketId{ticket}) ? 0.1
                                                                                          : 3.0);
    }
  }
  v1::TextUtility* retain = m.add_utility();
  retain->set_nll_before(2.0);
  retain->set_nll_after(found.collateral ? 4.0 : 2.0);
  return CompleteVerify{.actor = "verifier",
                        .job = JobId{leased.job_id()},
                        .fence = Fence{leased.fence()},
                        .measurements = m.SerializeAsString(),
                        .retrain_job = JobId{NewId(&random_, 'j')}};
}

Receipt World::Verify(const JobRecord& leased, const Finds& found) {
  return Must(VerifyCommand(leased, found));
}

TicketRecord World::Ticket(const TicketId& id) {
  return store_->Snapshot()->GetTicket(id).value_or(TicketRecord());
}
TicketState World::State(const TicketId& id) {
  return static_cast<TicketState>(Ticket(id).state());
}
JobRecord World::Job(const std::string& id) {
  return store_->Snapshot()->GetJob(JobId{id}).value_or(JobRecord());
}
ModelRecord World::Model(const ModelId& id) {
  return store_->Snapshot()->GetModel(id).value_or(ModelRecord());
}
CheckpointRecord World::Checkpoint(const std::string& id) {
  return store_->Snapshot()->GetCheckpoint(CheckpointId{id}).value_or(CheckpointRecord());
}

std::string World::Fsck() {
  absl::StatusOr<FsckReport> report = FsckSnapshot(*store_->Snapshot());
  return report.ok() ? report->Text() : report.status().ToString();
}

}  // namespace lethe::storage
