// Messages as the engine's structs and back: no field gets lost, and no path leads out of the model
// folder.
#include "workers/host/job_input.h"

#include <atomic>
#include <set>
#include <vector>

#include "base/status.h"
#include "base/version.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/text_serializer.h"

namespace lethe {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(JobInput, FoldersStayInsideTheModels) {
  EXPECT_EQ(*UnderModels("/models", "m/checkpoints/c-1"), "/models/m/checkpoints/c-1");
  EXPECT_EQ(*UnderModels("/models", "m/./x/../checkpoints"), "/models/m/checkpoints");
  for (const char* outside :
       {"", ".", "..", "../m", "m/../..", "m/../../etc", "/etc/passwd", "/", "./..", "m/.."}) {
    const absl::StatusOr<std::filesystem::path> path = UnderModels("/models", outside);
    EXPECT_EQ(path.status().code(), absl::StatusCode::kInvalidArgument) << outside;
    EXPECT_EQ(ErrorReason(path.status()), "PATH_OUTSIDE") << outside;
  }
}

TEST(JobInput, SequencesKeepTheirOrderPromptsAndSpans) {
  v1::UnlearnWork work;
  v1::TokenSequence* first = work.add_tickets()->add_sequences();
  for (int id : {5, 6, 7, 8}) first->add_ids(id);
  first->set_prompt_tokens(1);
  v1::Span* span = first->add_sensitive();
  span->set_begin(2);
  span->set_end(3);
  work.mutable_tickets(0)->add_sequences()->add_ids(9);
  work.add_tickets();  // a ticket may hold none
  work.add_tickets()->add_sequences()->add_ids(10);
  const std::vector<Sequence> sequences = SequencesOf(work.tickets());
  EXPECT_THAT(sequences,
              ElementsAre(Sequence{.ids = {5, 6, 7, 8}, .prompt_tokens = 1, .sensitive = {{2, 3}}},
                          Sequence{.ids = {9}}, Sequence{.ids = {10}}));
  EXPECT_EQ(TokenCount(sequences), 6);
  EXPECT_EQ(TokenCount({}), 0);
}

TEST(JobInput, ThinningIsEvenAndKeepsTheOrder) {
  std::vector<Sequence> all;
  for (int i = 0; i < 10; ++i) all.push_back({.ids = {i}});
  const auto firsts = [&](size_t count) {
    std::vector<int> ids;
    for (const Sequence& sequence : Thinned(all, count)) ids.push_back(sequence.ids[0]);
    return ids;
  };
  EXPECT_THAT(firsts(5), ElementsAre(0, 2, 4, 6, 8));
  EXPECT_THAT(firsts(3), ElementsAre(0, 3, 6));
  EXPECT_THAT(firsts(1), ElementsAre(0));
  EXPECT_EQ(firsts(10).size(), 10u);
  EXPECT_EQ(firsts(99).size(), 10u);
}

TEST(JobInput, ADigestKeyIsTheJobsOrOneThatNobodyKnows) {
  v1::Job job;
  job.set_digest_key("key of the job");
  EXPECT_EQ(DigestKey(job), "key of the job");
  job.clear_digest_key();
  EXPECT_EQ(DigestKey(job).size(), 32u);
  EXPECT_NE(DigestKey(job), DigestKey(job));
}

// Every field of a message, by its number: a field that the mapping forgets is not set.
std::set<int> SetFields(const google::protobuf::Message& message) {
  std::vector<const google::protobuf::FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  std::set<int> numbers;
  for (const auto* field : fields) numbers.insert(field->number());
  return numbers;
}
std::set<int> AllFields(const google::protobuf::Message& message) {
  std::set<int> numbers;
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    numbers.insert(message.GetDescriptor()->field(i)->number());
  }
  return numbers;
}

TEST(JobInput, ThresholdsGoThereAndBack) {
  ModelThresholds thresholds;
  thresholds.el = {{3, 0.25}, {10, 0.5}};
  thresholds.ma = 0.75;
  thresholds.nll_mean = 2.5;
  thresholds.nll_sd = 0.125;
  thresholds.span_nll_mean = 3.5;
  thresholds.span_nll_sd = 0.375;
  thresholds.span_ma = 0.625;
  thresholds.sequences = 40;
  const v1::Thresholds message = ToProto(thresholds);
  EXPECT_EQ(SetFields(message), AllFields(message));
  const ModelThresholds back = FromProto(message);
  EXPECT_EQ(back.el, thresholds.el);
  EXPECT_EQ(back.ma, 0.75);
  EXPECT_EQ(back.nll_mean, 2.5);
  EXPECT_EQ(back.nll_sd, 0.125);
  EXPECT_EQ(back.span_nll_mean, 3.5);
  EXPECT_EQ(back.span_nll_sd, 0.375);
  EXPECT_EQ(back.span_ma, 0.625);
  EXPECT_EQ(back.sequences, 40);
}

TEST(JobInput, FactsLoseNothing) {
  v1::ModelFacts message = ToProto(ModelFacts{.architecture = "LlamaForCausalLM",
                                              .parameters = 3'000'000'000,
                                              .vocab_size = 320,
                                              .context_length = 64,
                                              .dtype = "bfloat16",
                                              .tokenizer_digest = "aa",
                                              .folder_digest = "bb"});
  message.mutable_costs();  // by the prepare job, which measures them
  EXPECT_EQ(SetFields(message), AllFields(message));
  EXPECT_EQ(message.architecture(), "LlamaForCausalLM");
  EXPECT_EQ(message.parameters(), 3'000'000'000);
  EXPECT_EQ(message.vocab_size(), 320);
  EXPECT_EQ(message.context_length(), 64);
  EXPECT_EQ(message.dtype(), "bfloat16");
  EXPECT_EQ(message.tokenizer_digest(), "aa");
  EXPECT_EQ(message.folder_digest(), "bb");
}

TEST(JobInput, CostsLoseNothing) {
  v1::ModelCosts message = ToProto(ModelCosts{.score_token_seconds = 1,
                                              .train_token_seconds = 2,
                                              .rollout_token_seconds = 3,
                                              .generate_token_seconds = 4,
                                              .step_seconds = 5,
                                              .load_seconds = 6,
                                              .save_seconds = 7,
                                              .rollout_share = 8,
                                              .weight_bytes = 9e12,
                                              .step_bytes = 10,
                                              .token_bytes = 11,
                                              .evaluation_bytes = 12,
                                              .memory_bytes = 13,
                                              .step_measured = true},
                                   RunRecord{.device = "cpu", .threads = 2});
  (*message.mutable_texts())["holdout"] = ToProto(TextSize{.sequences = 1});
  EXPECT_EQ(SetFields(message), AllFields(message));
  EXPECT_EQ(message.generate_token_seconds(), 4);
  EXPECT_EQ(message.rollout_share(), 8);
  EXPECT_EQ(message.weight_bytes(), 9'000'000'000'000);
  EXPECT_EQ(message.evaluation_bytes(), 12);
  EXPECT_EQ(message.memory_bytes(), 13);
  EXPECT_EQ(message.threads(), 2);
}

TEST(JobInput, ARunLosesNothing) {
  const v1::RunRecord message = ToProto(RunRecord{.method = "gradient_ascent",
                                                  .preset = "careful",
                                                  .hyperparameters = {{"learning_rate", 5e-5}},
                                                  .precision = "fp32",
                                                  .seed = 7,
                                                  .data_digest = "cc",
                                                  .device = "cpu",
                                                  .threads = 2,
                                                  .libraries = {{"torch", "2.11"}},
                                                  .stop_reason = "targets_reached",
                                                  .steps = 12,
                                                  .seconds = 1.5});
  EXPECT_EQ(SetFields(message), AllFields(message));
  EXPECT_EQ(message.hyperparameters().at("learning_rate"), 5e-5);
  EXPECT_EQ(message.seed(), 7u);
  EXPECT_EQ(message.libraries().at("torch"), "2.11");
  EXPECT_EQ(message.stop_reason(), "targets_reached");
  EXPECT_EQ(message.steps(), 12);
  EXPECT_EQ(message.lethe_version(), LetheVersion());
}

class FakeControl : public JobControl {
 public:
  const std::atomic<bool>& cancelled() const override { return cancelled_; }
  void Report(const v1::Progress& progress) override { reports.push_back(progress); }
  std::atomic<bool> cancelled_ = false;
  std::vector<v1::Progress> reports;
};

TEST(ProgressBridge, CarriesProgressAndTheEndOfTheLease) {
  FakeControl control;
  HostMetrics metrics("lethe-worker", {v1::JOB_KIND_UNLEARN});
  ProgressBridge bridge(&control, &metrics);
  const ProgressCallback report = bridge.callback();
  EXPECT_TRUE(report({.phase = "loading"}));
  EXPECT_TRUE(report({.phase = "unlearning", .step = 1, .max_steps = 9, .figures = {{"ma", 0.5}}}));
  EXPECT_TRUE(report({.phase = "unlearning", .step = 3, .max_steps = 9}));
  control.cancelled_ = true;
  EXPECT_FALSE(report({.phase = "unlearning", .step = 4, .max_steps = 9}));
  ASSERT_EQ(control.reports.size(), 4u);
  EXPECT_EQ(control.reports[1].phase(), "unlearning");
  EXPECT_EQ(control.reports[1].step(), 1);
  EXPECT_EQ(control.reports[1].max_steps(), 9);
  EXPECT_EQ(control.reports[1].figures().at("ma"), 0.5);
  // Two of the reports came after earlier ones of their phase: two steps' times are known.
  EXPECT_THAT(prometheus::TextSerializer().Serialize(metrics.registry()->Collect()),
              HasSubstr("lethe_worker_step_seconds_count 2\n"));
}

TEST(HostMetrics, AllSeriesExistFromTheStartAndNoneNamesAJob) {
  HostMetrics metrics("lethe-worker", {v1::JOB_KIND_PREPARE, v1::JOB_KIND_UNLEARN});
  const auto text = [&] {
    return prometheus::TextSerializer().Serialize(metrics.registry()->Collect());
  };
  EXPECT_THAT(text(), HasSubstr("lethe_worker_jobs_total{end=\"lost\",kind=\"unlearn\"} 0\n"));
  EXPECT_THAT(text(), HasSubstr("lethe_worker_busy 0\n"));
  v1::Job job;
  job.set_job_id("j-1");
  job.set_kind(v1::JOB_KIND_UNLEARN);
  metrics.OnAcquired(job);
  EXPECT_THAT(text(), HasSubstr("lethe_worker_busy 1\n"));
  metrics.OnHeartbeat(job, absl::OkStatus());
  metrics.OnHeartbeat(job, absl::UnavailableError(""));
  metrics.OnAcquireFailed(absl::UnavailableError(""));
  metrics.TokensTaken(12);
  metrics.OnEnd(job, LeaseEnd::kCompleted, absl::Seconds(3));
  EXPECT_THAT(text(), HasSubstr("lethe_worker_jobs_total{end=\"completed\",kind=\"unlearn\"} 1\n"));
  EXPECT_THAT(text(), HasSubstr("lethe_worker_job_seconds_sum{kind=\"unlearn\"} 3\n"));
  EXPECT_THAT(text(), HasSubstr("lethe_worker_heartbeat_failures_total 1\n"));
  EXPECT_THAT(text(), HasSubstr("lethe_worker_acquire_failures_total 1\n"));
  EXPECT_THAT(text(), HasSubstr("lethe_worker_tokens_total 12\n"));
  EXPECT_THAT(text(), HasSubstr("lethe_worker_busy 0\n"));
  EXPECT_THAT(text(), Not(HasSubstr("j-1")));
  EXPECT_EQ(KindName(v1::JOB_KIND_PREPARE), "prepare");
  EXPECT_EQ(KindName(static_cast<v1::JobKind>(99)), "unknown");
}

}  // namespace
}  // namespace lethe
