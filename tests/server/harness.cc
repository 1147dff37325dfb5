#include "tests/server/harness.h"

#include <google/rpc/error_details.pb.h>
#include <google/rpc/status.pb.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/model_layout.h"
#include "engine/catalog.h"
#include "storage/snapshot.h"
#include "text/tokenizer.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

void Write(const fs::path& path, const std::string& content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

// Text of one kind; `n` makes each different.
std::string Sentence(int n) {
  static const char* const kNames[] = {"anna", "boris", "clara", "dmitri", "elena", "farid"};
  static const char* const kPlaces[] = {"harbour", "market", "library", "station"};
  return absl::StrCat(kNames[n % 6], " met ", kNames[(n / 6 + 1) % 6], " at the ", kPlaces[n % 4],
                      " on day ", n);
}

std::string Lines(int from, int count) {
  std::string lines;
  for (int i = 0; i < count; ++i)
    absl::StrAppend(&lines, "{\"text\": \"", Sentence(from + i), "\"}\n");
  return lines;
}

// One spread of figures for the forgotten and for control: nothing tells them apart.
double Spread(int i, int count, double mean, double width) {
  return mean + width * (count == 1 ? 0 : (static_cast<double>(i) / (count - 1) - 0.5));
}

void FillPair(v1::BeforeAfter* pair, int count, double before, double after, double width) {
  for (int i = 0; i < count; ++i) {
    pair->add_before(Spread(i, count, before, width));
    pair->add_after(Spread(i, count, after, width));
  }
}

void AddAttack(const AttackEntry& entry, int forgotten, int control, bool gone,
               v1::Measurements* m) {
  v1::AttackResult* attack = m->add_attacks();
  attack->set_attack(std::string(entry.name));
  const bool membership = entry.family == AttackFamily::kMembership;
  attack->set_family(membership                                  ? v1::ATTACK_FAMILY_MEMBERSHIP
                     : entry.family == AttackFamily::kExtraction ? v1::ATTACK_FAMILY_EXTRACTION
                                                                 : v1::ATTACK_FAMILY_MEMORISATION);
  const double unseen = membership ? -3.0 : 0.1;
  const double seen = membership ? -0.2 : 0.95;
  FillPair(attack->mutable_forgotten(), forgotten, seen, gone ? unseen : seen, 0.02);
  FillPair(attack->mutable_control(), control, unseen, unseen, 0.1);
}

}  // namespace

CallError ErrorOf(const grpc::Status& status) {
  CallError out{.code = status.error_code()};
  google::rpc::Status details;
  details.ParseFromString(status.error_details());
  for (const auto& any : details.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::BadRequest bad;
    if (any.UnpackTo(&info)) {
      EXPECT_EQ(info.domain(), "lethe");
      out.reason = info.reason();
      out.metadata.insert(info.metadata().begin(), info.metadata().end());
    } else if (any.UnpackTo(&bad)) {
      out.field = bad.field_violations(0).field();
      for (const auto& violation : bad.field_violations()) {
        EXPECT_FALSE(violation.description().empty());
        EXPECT_FALSE(violation.reason().empty());
        out.fields.push_back(violation.field());
      }
    }
    out.has_retry = out.has_retry || any.Is<google::rpc::RetryInfo>();
  }
  return out;
}

Harness::Harness(Change change, ServerWorld world) : world_(world) {
  config.listen_address = "127.0.0.1:0";
  config.metrics_address =
      "";  // closing the exposer takes two seconds; Metrics() asks the server itself
  config.data_folder = (root() / "data").string();
  config.model_folder = (root() / "models").string();
  config.key_file = (root() / "key").string();
  config.log_level = "off";
  if (change) change(config);
  if (world_.clock == nullptr) world_.clock = &clock;
  Start();
}

Harness::~Harness() = default;

void Harness::Start() {
  absl::StatusOr<std::unique_ptr<Server>> started = Server::Start(config, world_);
  ASSERT_TRUE(started.ok()) << started.status();
  server = *std::move(started);

  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  channel = grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", server->port()),
                                      grpc::InsecureChannelCredentials(), arguments);
  deletion = v1::DeletionService::NewStub(channel);
  models = v1::ModelService::NewStub(channel);
  work = v1::WorkService::NewStub(channel);
  verifier = v1::VerifierService::NewStub(channel);
}

void Harness::Stop() { server.reset(); }

void Harness::Restart() {
  Stop();
  Start();
}

void Harness::Prepare(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
}

v1::RegisterModelRequest Harness::ModelRequest(const std::string& model_id) {
  if (tokenizer_json_.empty()) {
    std::vector<std::string> texts;
    for (int i = 0; i < 100; ++i) texts.push_back(Sentence(i));
    const auto trained = TrainBpe(texts, {.vocab_size = 300, .special_tokens = {"<s>"}});
    EXPECT_TRUE(trained.ok()) << trained.status();
    if (trained.ok()) tokenizer_json_ = *trained;
    Write(root() / "source/tokenizer.json", tokenizer_json_);
    Write(root() / "source/config.json", "{\"architectures\": [\"LlamaForCausalLM\"]}");
    Write(root() / "source/model.safetensors", "weights");
    Write(root() / "retain.jsonl", Lines(0, 40));
    Write(root() / "holdout.jsonl", Lines(40, 20));
    Write(root() / "other.jsonl", Lines(60, 5));
  }
  v1::RegisterModelRequest request;
  request.set_model_id(model_id);
  request.set_source_path((root() / "source").string());
  request.set_retain_path((root() / "retain.jsonl").string());
  request.set_holdout_path((root() / "holdout.jsonl").string());
  (*request.mutable_other_paths())["news"] = (root() / "other.jsonl").string();
  return request;
}

v1::Model Harness::RegisterReadyModel(const std::string& model_id, const v1::ModelPolicy& policy) {
  v1::RegisterModelRequest request = ModelRequest(model_id);
  *request.mutable_policy() = policy;
  v1::Model model;
  grpc::ClientContext context;
  Prepare(context);
  const grpc::Status status = models->RegisterModel(&context, request, &model);
  EXPECT_TRUE(status.ok()) << status.error_message();
  const v1::Job job = Acquire(v1::JOB_KIND_PREPARE);
  EXPECT_EQ(job.model_id(), model_id);
  const grpc::Status done = CompletePrepare(job);
  EXPECT_TRUE(done.ok()) << done.error_message();
  v1::GetModelRequest get;
  get.set_model_id(model_id);
  grpc::ClientContext again;
  Prepare(again);
  EXPECT_TRUE(models->GetModel(&again, get, &model).ok());
  EXPECT_EQ(model.state(), v1::MODEL_STATE_READY);
  return model;
}

v1::CreateTicketRequest Harness::TicketRequest(const std::string& request_id,
                                               const std::string& model_id,
                                               const std::vector<int32_t>& ids) {
  v1::CreateTicketRequest request;
  request.set_request_id(request_id);
  request.set_model_id(model_id);
  request.add_targets()->mutable_ids()->mutable_ids()->Add(ids.begin(), ids.end());
  return request;
}

v1::Ticket Harness::File(const std::string& request_id, const std::string& model_id,
                         const std::vector<int32_t>& ids) {
  v1::Ticket ticket;
  grpc::ClientContext context;
  Prepare(context);
  const grpc::Status status =
      deletion->CreateTicket(&context, TicketRequest(request_id, model_id, ids), &ticket);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return ticket;
}

v1::Ticket Harness::Get(const std::string& ticket_id) {
  v1::GetTicketRequest request;
  request.set_ticket_id(ticket_id);
  v1::Ticket ticket;
  grpc::ClientContext context;
  Prepare(context);
  const grpc::Status status = deletion->GetTicket(&context, request, &ticket);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return ticket;
}

v1::Job Harness::Acquire(v1::JobKind kind, absl::Duration wait, const std::string& worker) {
  v1::AcquireJobRequest request;
  request.set_worker_id(worker);
  request.add_kinds(kind);
  // A wait of zero would race the look for work; a second is never waited out when there is work.
  const absl::Duration span = wait == absl::ZeroDuration() ? absl::Seconds(5) : wait;
  request.mutable_wait()->set_seconds(absl::ToInt64Seconds(span));
  request.mutable_wait()->set_nanos(static_cast<int32_t>(
      absl::ToInt64Nanoseconds(span - absl::Seconds(absl::ToInt64Seconds(span)))));
  v1::AcquireJobResponse response;
  grpc::ClientContext context;
  Prepare(context);
  const grpc::Status status = work->AcquireJob(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return response.job();
}

v1::ModelCosts Harness::SomeCosts() {
  v1::ModelCosts costs;
  costs.set_score_token_seconds(0.001);
  costs.set_train_token_seconds(0.003);
  costs.set_rollout_token_seconds(0.001);
  costs.set_generate_token_seconds(0.001);
  costs.set_step_seconds(0.01);
  costs.set_rollout_share(0.5);
  costs.set_weight_bytes(4000);
  costs.set_step_bytes(28000);
  costs.set_token_bytes(1000);
  costs.set_memory_bytes(1 << 30);
  costs.set_step_measured(true);
  for (const char* name : {"retain", "holdout", "other-news"}) {
    v1::TextSize& size = (*costs.mutable_texts())[name];
    size.set_sequences(20);
    size.set_tokens(200);
    size.set_square_tokens(2000);
  }
  return costs;
}

grpc::Status Harness::CompletePrepare(const v1::Job& job) {
  const fs::path models_folder(config.model_folder);
  const fs::path folder = models_folder / job.prepare().output_folder();
  for (const char* name : {"config.json", "tokenizer.json", "model.safetensors"}) {
    const auto content = ReadFile(root() / "source" / name);
    EXPECT_TRUE(content.ok());
    Write(folder / name, *content);
  }
  for (const char* name : {"retain.jsonl", "holdout.jsonl", "other-news.jsonl"}) {
    Write(models_folder / job.prepare().data_folder() / name, "{\"ids\": [1, 2, 3]}\n");
  }
  v1::CompleteJobRequest request;
  request.set_job_id(job.job_id());
  request.set_fence(job.fence());
  v1::ModelFacts* facts = request.mutable_prepare()->mutable_facts();
  facts->set_architecture("LlamaForCausalLM");
  facts->set_parameters(1000);
  facts->set_vocab_size(kVocabulary);
  facts->set_context_length(kContext);
  facts->set_dtype("float32");
  facts->set_tokenizer_digest(Sha256Hex(tokenizer_json_));
  facts->set_folder_digest(FolderDigest(folder).value_or(""));
  if (costs.has_value()) *facts->mutable_costs() = *costs;
  v1::Thresholds* thresholds = request.mutable_prepare()->mutable_thresholds();
  for (const int n : job.prepare().el_n()) (*thresholds->mutable_el())[n] = 0.1;
  thresholds->set_ma(0.3);
  thresholds->set_nll_mean(3);
  thresholds->set_nll_sd(0.5);
  thresholds->set_sequences(20);
  request.mutable_prepare()->mutable_run()->set_method("prepare");
  v1::CompleteJobResponse response;
  grpc::ClientContext context;
  Prepare(context);
  return work->CompleteJob(&context, request, &response);
}

grpc::Status Harness::CompleteUnlearn(const v1::Job& job, bool write_folder) {
  const fs::path folder = fs::path(config.model_folder) / job.unlearn().output_folder();
  if (write_folder) {
    Write(folder / "config.json", "{}");
    Write(folder / "tokenizer.json", tokenizer_json_);
    Write(folder / "model.safetensors",
          absl::StrCat("weights of ", job.job_id(), " ", job.fence()));
  }
  v1::CompleteJobRequest request;
  request.set_job_id(job.job_id());
  request.set_fence(job.fence());
  request.mutable_unlearn()->set_candidate_digest(
      FolderDigest(folder).value_or(std::string(64, '0')));
  v1::RunRecord* run = request.mutable_unlearn()->mutable_run();
  run->set_method(job.unlearn().rung().method());
  run->set_preset(job.unlearn().rung().preset());
  run->set_steps(12);
  (*run->mutable_hyperparameters())["learning_rate"] = 1e-4;
  (*run->mutable_hyperparameters())["max_steps"] = 20;
  (*run->mutable_libraries())["torch"] = "2";
  v1::CompleteJobResponse response;
  grpc::ClientContext context;
  Prepare(context);
  return work->CompleteJob(&context, request, &response);
}

v1::Measurements Harness::Measure(const v1::Job& job, Score score) const {
  constexpr int kControl = 20;
  const v1::VerifyWork& verify = job.verify();
  v1::Measurements m;
  m.set_model_id(job.model_id());
  m.set_job_id(job.job_id());
  m.set_fence(job.fence());
  m.set_candidate_checkpoint_id(verify.candidate_checkpoint_id());
  m.set_candidate_digest(verify.candidate_digest());
  m.set_base_checkpoint_id(verify.base_checkpoint_id());
  m.set_base_digest(verify.base_digest());
  m.set_base_generation(verify.base_generation());
  for (const v1::TicketPayload& ticket : verify.tickets()) {
    for (int i = 0; i < ticket.sequences_size(); ++i) {
      v1::ForgottenSequence* forgotten = m.add_forgotten();
      forgotten->set_ticket_id(ticket.ticket_id());
      forgotten->set_index(i);
      forgotten->set_tokens(ticket.sequences(i).ids_size());
    }
  }
  for (int i = 0; i < kControl; ++i) m.add_control_tokens(12);
  const bool gone = score == kForgotten;
  for (const AttackEntry& entry : Attacks())
    AddAttack(entry, m.forgotten_size(), kControl, gone, &m);
  // What the job asks for beside that: the same attacks on models in a condition.
  for (const v1::AttackSpec& spec : verify.attacks()) {
    const AttackEntry* entry = FindAttack(spec.attack());
    if (entry == nullptr || spec.condition().empty()) continue;
    AddAttack(*entry, m.forgotten_size(), kControl, gone, &m);
    v1::AttackResult* attack = m.mutable_attacks(m.attacks_size() - 1);
    attack->set_condition(spec.condition());
    attack->set_report_only(spec.report_only());
  }
  FillPair(m.mutable_forgotten_nll(), m.forgotten_size(), 0.2, gone ? 3.0 : 0.2, 0.1);
  FillPair(m.mutable_control_nll(), kControl, 3.0, 3.0, 0.8);
  v1::TextUtility* retain = m.add_utility();
  retain->set_name("retain");
  retain->set_role(v1::TEXT_ROLE_RETAIN);
  retain->set_sequences(40);
  retain->set_tokens(400);
  retain->set_nll_before(1.0);
  retain->set_nll_after(1.01);
  m.mutable_unlearn_run()->set_method("gradient_ascent");
  m.mutable_verify_run()->set_method("attacks");
  return m;
}

grpc::Status Harness::CompleteVerify(const v1::Job& job, Score score) {
  v1::CompleteJobRequest request;
  request.set_job_id(job.job_id());
  request.set_fence(job.fence());
  request.mutable_verify()->set_measurements(Measure(job, score).SerializeAsString());
  v1::CompleteJobResponse response;
  grpc::ClientContext context;
  Prepare(context);
  const grpc::Status status = work->CompleteJob(&context, request, &response);
  server->WaitForFolders();
  return status;
}

grpc::Status Harness::Fail(const v1::Job& job, v1::FailureCause cause, const std::string& reason) {
  v1::FailJobRequest request;
  request.set_job_id(job.job_id());
  request.set_fence(job.fence());
  request.set_cause(cause);
  request.set_reason(reason);
  v1::FailJobResponse response;
  grpc::ClientContext context;
  Prepare(context);
  return work->FailJob(&context, request, &response);
}

std::string Harness::Dump() {
  const auto snapshot = server->store()->Snapshot();
  std::string dump;
  const auto add = [&](const char* kind) {
    return [&dump, kind](const std::string& key, const auto& record) {
      absl::StrAppend(&dump, kind, " ", key, ": ", record.DebugString(), "\n");
      return absl::OkStatus();
    };
  };
  absl::Status status = snapshot->ForEachTicket(add("ticket"));
  status.Update(snapshot->ForEachJob(add("job")));
  status.Update(snapshot->ForEachModel(add("model")));
  status.Update(snapshot->ForEachCheckpoint(add("checkpoint")));
  status.Update(snapshot->ForEachReport(add("report")));
  status.Update(snapshot->ForEachRequest(add("request")));
  status.Update(snapshot->ForEachPayload(add("payload")));
  status.Update(snapshot->ForEachKey(add("key")));
  EXPECT_TRUE(status.ok()) << status;
  const auto counters = snapshot->Counters();
  if (counters.ok()) absl::StrAppend(&dump, counters->DebugString());
  return dump;
}

std::string Harness::Metrics() { return server->MetricsText(); }

std::string Harness::Metric(const std::string& series) {
  const std::vector<std::string> lines = absl::StrSplit(Metrics(), '\n');
  for (const std::string& line : lines) {
    if (line.rfind(series + " ", 0) == 0) return line.substr(series.size() + 1);
  }
  return "";
}

std::string Harness::Current(const std::string& model_id) {
  server->WaitForFolders();  // the link follows the commit
  std::error_code ec;
  const fs::path link = fs::path(config.model_folder) / CurrentLink(ModelId{model_id});
  return fs::read_symlink(link, ec).string();
}

}  // namespace lethe
