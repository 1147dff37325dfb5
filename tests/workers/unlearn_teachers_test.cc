// UNLEARN with the teachers of a corpus: who may teach, and whose fault it is when nobody may.
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/file.h"
#include "base/status.h"
#include "engine/teachers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/corpus/made_corpus.h"
#include "tests/engine/unlearn/tiny_people.h"
#include "tests/support/test_folders.h"
#include "text/tokenizer.h"
#include "workers/host/job_failure.h"
#include "workers/host/job_input.h"
#include "workers/unlearn_job.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kShards = 3;

// A model folder with the student of tiny_people.h, its sets, and a corpus of its people; trained
// once for all tests.
struct World {
  fs::path models;
  std::vector<uint32_t> shard_of;  // of each person to be forgotten
};

void AddPerson(const Sequence& sequence, const std::string& subject, std::vector<MadeLine>* lines) {
  lines->push_back({.sequence = sequence, .subject = subject, .document = std::nullopt});
}

// Somebody who is in another shard than `subject`.
std::string PersonElsewhere(const std::string& subject) {
  const auto shard = [](const std::string& s) { return ShardOf(TestKey().OfSubject(s), kShards); };
  for (int i = 0;; ++i) {
    const std::string other = "other-" + std::to_string(i);
    if (shard(other) != shard(subject)) return other;
  }
}

void BuildWith(const std::vector<MadeLine>& lines, const fs::path& corpus) {
  fs::create_directories(corpus.parent_path());
  const fs::path source = WriteLines(corpus.parent_path() / "lines.jsonl", lines);
  const auto built =
      BuildCorpus(corpus, TestKey(), {.shards = kShards, .slices = 1}, InputOf(source, 64));
  if (!built.ok()) throw std::runtime_error(built.status().ToString());
}

std::vector<MadeLine> PeopleOfTheCorpus() {
  std::vector<MadeLine> lines;
  for (size_t i = 0; i < Tiny().forget.size(); ++i) {
    AddPerson(Tiny().forget[i], "wish-" + std::to_string(i), &lines);
  }
  for (size_t i = 0; i < Tiny().retain.size(); ++i) {
    AddPerson(Tiny().retain[i], "person-" + std::to_string(i), &lines);
  }
  return lines;
}

const World& TheWorld() {
  static const World* const world = [] {
    auto* w = new World{.models = ProcessFolder("unlearn-teachers")};
    const fs::path model = w->models / "m";
    fs::create_directories(model / "checkpoints");
    fs::create_directories(model / "data");
    fs::copy(Tiny().model, model / "checkpoints/base", fs::copy_options::recursive);
    for (const auto& [name, set] :
         {std::pair("holdout", &Tiny().holdout), {"retain", &Tiny().retain}}) {
      if (!WriteSequences(model / "data" / (std::string(name) + ".jsonl"), *set).ok()) std::abort();
    }
    std::vector<MadeLine> lines = PeopleOfTheCorpus();
    BuildWith(lines, model / "corpora/j-1/corpus");
    // The same with a copy of the first person in the data of somebody of another shard.
    for (const std::string& other : {PersonElsewhere("wish-0"), std::string("wish-0")}) {
      AddPerson(Tiny().forget[0], other, &lines);
    }
    BuildWith(lines, model / "corpora/j-2/corpus");
    const Corpus corpus = *Corpus::Open(model / "corpora/j-1/corpus", TestKey());
    const auto trained =
        TrainTeachers(corpus, {.teachers_folder = model / "corpora/j-1/teachers",
                               .recipe = {.config_json = SmallLlamaConfig(64, 32, 32, 1),
                                          .epochs = 4,
                                          .batch_tokens = 512,
                                          .learning_rate = 3e-3,
                                          .seed = 4,
                                          .device = {.threads = 1}}});
    if (!trained.ok()) throw std::runtime_error(trained.status().ToString());
    for (size_t i = 0; i < Tiny().forget.size(); ++i) {
      w->shard_of.push_back(ShardOf(TestKey().OfSubject("wish-" + std::to_string(i)), kShards));
    }
    return w;
  }();
  return *world;
}

class UnlearnTeachers : public testing::Test {
 protected:
  // Forgets one of the people.
  static v1::Job Job(size_t person, const std::string& method = "leave_one_out") {
    v1::Job job;
    job.set_kind(v1::JOB_KIND_UNLEARN);
    job.set_job_id("j-9");
    job.set_fence(1);
    job.set_model_id("m");
    job.set_seed(3);
    v1::UnlearnWork& work = *job.mutable_unlearn();
    v1::TokenSequence* wish = work.add_tickets()->add_sequences();
    for (const int32_t id : Tiny().forget[person].ids) wish->add_ids(id);
    work.set_base_folder("m/checkpoints/base");
    work.set_data_folder("m/data");
    work.set_output_folder("m/checkpoints/" + std::string(Name()));
    work.mutable_rung()->set_method(method);
    (*work.mutable_rung()->mutable_overrides())["max_steps"] = 3;
    *work.mutable_thresholds() = ToProto(Tiny().thresholds);
    v1::TeachersWork& teachers = *work.mutable_teachers();
    teachers.set_folder("m/corpora/j-1/teachers");
    teachers.mutable_corpus()->set_folder("m/corpora/j-1/corpus");
    teachers.mutable_corpus()->set_key(std::string(32, 'k'));
    for (uint32_t shard = 0; shard < kShards; ++shard) teachers.add_shards(shard);
    return job;
  }
  static const char* Name() {
    return testing::UnitTest::GetInstance()->current_test_info()->name();
  }
  static absl::StatusOr<v1::UnlearnResult> Run(const v1::Job& job) {
    return UnlearnJob(job, TheWorld().models, {.threads = 1}, {}, nullptr);
  }
  // What the candidate says it learnt from.
  static std::set<std::string> Taught() {
    const auto record =
        nlohmann::json::parse(BytesOf(TheWorld().models / "m/checkpoints" / Name() / "lethe.json"));
    std::set<std::string> digests;
    for (const auto& teacher : record.at("teachers")) {
      if (teacher.at("left_out_of").empty()) digests.insert(teacher.at("digest"));
    }
    return digests;
  }
  static std::string TeacherDigest(uint32_t shard) {
    return *FolderDigest(TeacherFolder(TheWorld().models / "m/corpora/j-1/teachers", shard));
  }
};

TEST_F(UnlearnTeachers, ThoseTeachWhoNeverSawIt) {
  const auto result = Run(Job(0));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->run().method(), "leave_one_out");
  std::set<std::string> expected;
  for (uint32_t shard = 0; shard < kShards; ++shard) {
    if (shard != TheWorld().shard_of[0]) expected.insert(TeacherDigest(shard));
  }
  EXPECT_EQ(Taught(), expected);
}

TEST_F(UnlearnTeachers, OnlyThoseTeachThatAreReady) {
  v1::Job job = Job(0);
  const uint32_t ready = (TheWorld().shard_of[0] + 1) % kShards;
  job.mutable_unlearn()->mutable_teachers()->clear_shards();
  job.mutable_unlearn()->mutable_teachers()->add_shards(ready);
  ASSERT_TRUE(Run(job).ok());
  EXPECT_EQ(Taught(), std::set<std::string>{TeacherDigest(ready)});
}

// A copy that stands in somebody else's shard makes that teacher one that saw.
TEST_F(UnlearnTeachers, WhoSawACopyDoesNotTeach) {
  v1::Job job = Job(0);
  job.mutable_unlearn()->mutable_teachers()->mutable_corpus()->set_folder("m/corpora/j-2/corpus");
  ASSERT_TRUE(Run(job).ok());
  EXPECT_EQ(Taught().size(), 1u);
  const uint32_t elsewhere = ShardOf(TestKey().OfSubject(PersonElsewhere("wish-0")), kShards);
  EXPECT_NE(*Taught().begin(), TeacherDigest(TheWorld().shard_of[0]));
  EXPECT_NE(*Taught().begin(), TeacherDigest(elsewhere));
}

// The ladder goes on: nobody is left, or nobody was there.
TEST_F(UnlearnTeachers, WithoutATeacherTheRungFails) {
  v1::Job saw = Job(1);
  saw.mutable_unlearn()->mutable_teachers()->clear_shards();
  saw.mutable_unlearn()->mutable_teachers()->add_shards(
      static_cast<int32_t>(TheWorld().shard_of[1]));
  v1::Job none_ready = Job(1);
  none_ready.mutable_unlearn()->mutable_teachers()->clear_shards();
  v1::Job no_corpus = Job(1);
  no_corpus.mutable_unlearn()->clear_teachers();
  for (const auto& [job, reason] : {std::pair(saw, "NO_TEACHER_LEFT"),
                                    {none_ready, "TEACHERS_NEEDED"},
                                    {no_corpus, "TEACHERS_NEEDED"}}) {
    const JobFailure failure = FailureOf(Run(job).status(), v1::JOB_KIND_UNLEARN);
    EXPECT_EQ(failure.reason, reason);
    EXPECT_EQ(failure.cause, v1::FAILURE_CAUSE_METHOD) << reason;
  }
}

TEST_F(UnlearnTeachers, OtherMethodsDoNotOpenTheCorpus) {
  v1::Job job = Job(0, "gradient_ascent");
  job.mutable_unlearn()->mutable_teachers()->mutable_corpus()->set_folder("m/corpora/gone");
  const auto result = Run(job);
  EXPECT_TRUE(result.ok()) << result.status();
}

// What the model folder lacks is not the ticket's fault.
TEST_F(UnlearnTeachers, AMissingTeacherIsTheInstallationsFault) {
  v1::Job job = Job(0);
  job.mutable_unlearn()->mutable_teachers()->set_folder("m/corpora/none");
  const JobFailure failure = FailureOf(Run(job).status(), v1::JOB_KIND_UNLEARN);
  EXPECT_EQ(failure.reason, "TEACHER_MISSING");
  EXPECT_EQ(failure.cause, v1::FAILURE_CAUSE_INFRASTRUCTURE);
}

TEST_F(UnlearnTeachers, ATeacherThatIsAnotherOneByNowDoesNotTeach) {
  v1::Job job = Job(0);
  for (uint32_t shard = 0; shard < kShards; ++shard) {
    job.mutable_unlearn()->mutable_teachers()->add_digests(std::string(64, '0'));
  }
  const JobFailure failure = FailureOf(Run(job).status(), v1::JOB_KIND_UNLEARN);
  EXPECT_EQ(failure.reason, "TEACHER_CHANGED");
  EXPECT_EQ(failure.cause, v1::FAILURE_CAUSE_INFRASTRUCTURE);  // somebody's hand, or a bad disk
}

// ---- the rung `retrain` -------------------------------------------------------------------------

v1::Job RetrainJobOf(v1::Job job) {
  v1::UnlearnWork& work = *job.mutable_unlearn();
  work.mutable_rung()->clear_overrides();
  v1::BaseWork& base = *work.mutable_base();
  *base.mutable_corpus() = work.teachers().corpus();
  base.set_states_folder("m/corpora/j-1/base");
  base.set_config_folder("m/checkpoints/registered");
  base.mutable_options()->set_epochs(1);
  base.mutable_options()->set_learning_rate(1e-3);
  base.mutable_options()->set_batch_tokens(512);
  base.mutable_options()->set_seed(4);
  const fs::path registered = TheWorld().models / "m/checkpoints/registered";
  fs::create_directories(registered);
  fs::copy(Tiny().model / "config.json", registered / "config.json",
           fs::copy_options::overwrite_existing);
  const std::vector<std::string> texts = {"one two three"};
  EXPECT_TRUE(WriteFileAtomically(registered / "tokenizer.json", *TrainBpe(texts, {})).ok());
  return job;
}

TEST_F(UnlearnTeachers, RetrainMakesTheCandidateFromTheCorpusWithoutThem) {
  v1::Job job = RetrainJobOf(Job(0, "retrain"));
  const Corpus corpus = *Corpus::Open(TheWorld().models / "m/corpora/j-1/corpus", TestKey());
  for (const SequenceId id : *corpus.FindSubject("wish-0")) {
    job.mutable_unlearn()->mutable_tickets(0)->add_corpus_sequences(id.value);
  }
  const auto made = Run(job);
  ASSERT_TRUE(made.ok()) << made.status();
  EXPECT_EQ(made->run().method(), "retrain");
  const fs::path candidate = TheWorld().models / "m/checkpoints" / Name();
  EXPECT_EQ(made->candidate_digest(), *FolderDigest(candidate));
  EXPECT_TRUE(fs::exists(candidate / "tokenizer.json"));
}

TEST_F(UnlearnTeachers, RetrainNeedsACorpusThatHoldsThemAndAWayBack) {
  v1::Job elsewhere = RetrainJobOf(Job(0, "retrain"));
  v1::Job no_way = elsewhere;
  no_way.mutable_unlearn()->clear_base();
  for (const auto& [job, reason] :
       {std::pair(elsewhere, "NOT_IN_CORPUS"), {no_way, "BASE_NEEDED"}}) {
    const JobFailure failure = FailureOf(Run(job).status(), v1::JOB_KIND_UNLEARN);
    EXPECT_EQ(failure.reason, reason);
    EXPECT_EQ(failure.cause, v1::FAILURE_CAUSE_METHOD) << reason;
  }
}

}  // namespace
}  // namespace lethe
