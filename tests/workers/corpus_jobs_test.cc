// INGEST, TRAIN and RETRAIN on folders: what they make, that each may be done again, and that
// nothing of the erased is left wherever one of them ends.
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "base/digest.h"
#include "base/file.h"
#include "base/status.h"
#include "corpus/corpus_folder.h"
#include "engine/teachers.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/corpus/made_corpus.h"
#include "tests/support/test_folders.h"
#include "text/tokenizer.h"
#include "workers/host/job_failure.h"
#include "workers/ingest_job.h"
#include "workers/retrain_job.h"
#include "workers/train_job.h"
#include "workers/worker_runner.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::Not;

constexpr int32_t kVocabulary = 300;  // of the tokenizer at most
constexpr char kCorpus[] = "m/corpora/j-1/corpus";
constexpr char kTeachers[] = "m/corpora/j-1/teachers";
constexpr char kTokenizer[] = "m/checkpoints/c-1";

class CorpusJobs : public testing::Test {
 protected:
  CorpusJobs() {
    fs::create_directories(models_ / kTokenizer);
    const std::vector<std::string> texts = {"one two three", "four five six"};
    const std::string tokenizer = *TrainBpe(texts, {.vocab_size = kVocabulary});
    EXPECT_TRUE(WriteFileAtomically(models_ / kTokenizer / "tokenizer.json", tokenizer).ok());
    LineMaker maker(5, 48, 12);
    lines_ = maker.Take(60);
  }

  v1::Job Ingest(const std::vector<fs::path>& sources) const {
    v1::Job job;
    job.set_kind(v1::JOB_KIND_INGEST);
    v1::IngestWork& work = *job.mutable_ingest();
    for (const fs::path& source : sources) work.add_source_paths(source);
    work.mutable_options()->set_shards(2);
    work.mutable_options()->set_slices(3);
    Fill(work.mutable_corpus());
    work.set_tokenizer_folder(kTokenizer);
    work.set_vocab_size(kVocabulary);
    work.set_max_tokens(64);
    return job;
  }
  v1::Job Train(int shard, const std::string& teachers = kTeachers) const {
    v1::Job job;
    job.set_kind(v1::JOB_KIND_TRAIN);
    FillTraining(job.mutable_train(), teachers);
    job.mutable_train()->set_shard(shard);
    return job;
  }
  v1::Job Retrain(const std::vector<SequenceId>& ids, const std::vector<uint32_t>& shards) const {
    v1::Job job;
    job.set_kind(v1::JOB_KIND_RETRAIN);
    FillTraining(job.mutable_retrain(), kTeachers);
    // Of two tickets, in turn.
    job.mutable_retrain()->add_tickets();
    job.mutable_retrain()->add_tickets();
    for (size_t i = 0; i < ids.size(); ++i) {
      job.mutable_retrain()->mutable_tickets(i % 2)->add_corpus_sequences(ids[i].value);
    }
    for (const uint32_t shard : shards) job.mutable_retrain()->add_shards(shard);
    return job;
  }

  absl::StatusOr<v1::IngestResult> Run(const v1::Job& job) const {
    return IngestJob(job, models_, nullptr);
  }
  void IngestLines() const {
    const auto read = Run(Ingest({WriteLines(folder_ / "lines.jsonl", lines_)}));
    ASSERT_TRUE(read.ok()) << read.status();
  }
  v1::TrainResult Trained(const v1::Job& job) const {
    const auto trained = TrainJob(job, models_, {.threads = 1}, nullptr);
    EXPECT_TRUE(trained.ok()) << trained.status();
    return trained.ok() ? *trained : v1::TrainResult();
  }
  v1::RetrainResult Retrained(const v1::Job& job) const {
    const auto trained = RetrainJob(job, models_, {.threads = 1}, nullptr);
    EXPECT_TRUE(trained.ok()) << trained.status();
    return trained.ok() ? *trained : v1::RetrainResult();
  }

  Corpus Open() const { return *Corpus::Open(models_ / kCorpus, TestKey()); }
  fs::path ShardFolder(uint32_t shard, const std::string& teachers = kTeachers) const {
    return TeacherFolder(models_ / teachers, shard).parent_path();
  }
  // Names of the states that are kept of a shard.
  std::set<std::string> States(uint32_t shard) const {
    std::set<std::string> states;
    for (const auto& entry : fs::directory_iterator(ShardFolder(shard))) {
      if (entry.is_directory() && !entry.is_symlink()) states.insert(entry.path().filename());
    }
    return states;
  }
  std::string ModelOf(uint32_t shard, const std::string& teachers = kTeachers) const {
    return *FolderDigest(TeacherFolder(models_ / teachers, shard));
  }

  const fs::path folder_ = FreshFolder();
  const fs::path models_ = folder_ / "models";
  std::vector<MadeLine> lines_;

 private:
  static void Fill(v1::CorpusPlace* place) {
    place->set_folder(kCorpus);
    place->set_key(std::string(32, 'k'));  // TestKey's
  }
  template <typename Work>
  static void FillTraining(Work* work, const std::string& teachers) {
    Fill(work->mutable_corpus());
    work->set_teachers_folder(teachers);
    work->set_tokenizer_folder(kTokenizer);
    v1::TeacherOptions& options = *work->mutable_teachers();
    options.set_hidden_size(32);
    options.set_layers(1);
    options.set_context_length(64);
    options.set_epochs(2);
    options.set_learning_rate(1e-3);
    options.set_batch_tokens(128);
    options.set_seed(9);
  }
};

// --- INGEST -------------------------------------------------------------------------------------

TEST_F(CorpusJobs, IngestReadsAllSourcesInTheirOrderOnce) {
  const std::vector<MadeLine> first(lines_.begin(), lines_.begin() + 20);
  const std::vector<MadeLine> second(lines_.begin() + 20, lines_.end());
  const v1::Job job =
      Ingest({WriteLines(folder_ / "a.jsonl", first), WriteLines(folder_ / "b.jsonl", second)});
  int64_t tokens = 0;
  for (const MadeLine& line : lines_) tokens += static_cast<int64_t>(line.sequence.ids.size());
  Expected expected;
  expected.Build(lines_, 2, 3);
  for (const char* attempt : {"first", "another"}) {
    const auto result = Run(job);
    ASSERT_TRUE(result.ok()) << attempt << ": " << result.status();
    EXPECT_EQ(result->sequences(), 60);
    EXPECT_EQ(result->tokens(), tokens);
    ExpectHolds(Open(), expected);
  }
}

// The checkpoint that was current then will be gone when the model is trained again.
TEST_F(CorpusJobs, IngestKeepsWhatStandsBesideWeights) {
  const fs::path checkpoint = models_ / kTokenizer;
  for (const char* name : {"config.json", "generation_config.json", "model.safetensors",
                           "model.safetensors.index.json", "lethe.json"}) {
    ASSERT_TRUE(WriteFileAtomically(checkpoint / name, name).ok());
  }
  v1::Job job = Ingest({WriteLines(folder_ / "a.jsonl", lines_)});
  job.mutable_ingest()->set_config_folder("m/corpora/j-1/config");
  for (const char* attempt : {"first", "another"}) {
    ASSERT_TRUE(Run(job).ok()) << attempt;
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(models_ / "m/corpora/j-1/config")) {
      names.insert(entry.path().filename());
    }
    EXPECT_THAT(names, ElementsAre("config.json", "generation_config.json", "tokenizer.json"));
  }
}

TEST_F(CorpusJobs, IngestReadsTextWithTheTokenizerOfTheModel) {
  const fs::path source = folder_ / "text.jsonl";
  std::ofstream(source) << R"({"text": "one two three", "subject": "p-1"})"
                        << "\n";
  ASSERT_TRUE(Run(Ingest({source})).ok());
  const Tokenizer tokenizer = *Tokenizer::Load(models_ / kTokenizer);
  EXPECT_EQ(Open().manifest().tokenizer_digest, tokenizer.Digest());
  EXPECT_EQ(Open().manifest().vocab_size, kVocabulary);
  EXPECT_EQ(Open().Get({0})->value().stored.sequence.ids,
            *tokenizer.Encode("one two three", false));
}

TEST_F(CorpusJobs, IngestTellsHowFarItIs) {
  LineMaker maker(6, 48, 50);
  const fs::path source = WriteLines(folder_ / "many.jsonl", maker.Take(2100));
  std::vector<std::string> phases;
  double sequences = 0, bytes = 0;
  const auto result = IngestJob(Ingest({source}), models_, [&](const EngineProgress& progress) {
    phases.push_back(progress.phase);
    if (progress.phase == "reading") {
      sequences = progress.figures.at("sequences");
      bytes = progress.figures.at("bytes");
      EXPECT_EQ(progress.figures.at("of_bytes"), static_cast<double>(fs::file_size(source)));
    }
    return true;
  });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_THAT(phases, ElementsAre("loading", "reading", "reading", "writing", "writing"));
  EXPECT_EQ(sequences, 2048);
  EXPECT_GT(bytes, 0);
}

TEST_F(CorpusJobs, ALineThatCannotBeReadIsNamedWithItsFile) {
  const fs::path good = WriteLines(folder_ / "good.jsonl", lines_);
  const fs::path bad = folder_ / "bad.jsonl";
  std::ofstream(bad) << R"({"ids": [1, 2], "subject": "p"})"
                     << "\n\n"
                     << R"({"ids": [3, 4], "document": "d"})"
                     << "\n";
  const absl::Status status = Run(Ingest({good, bad})).status();
  const JobFailure failure = FailureOf(status, v1::JOB_KIND_INGEST);
  EXPECT_EQ(failure.cause, v1::FAILURE_CAUSE_INPUT);
  EXPECT_EQ(failure.reason, "SUBJECT_MISSING");
  EXPECT_EQ(failure.line, 3);
  EXPECT_EQ(failure.source, 1);
  EXPECT_FALSE(fs::exists(models_ / kCorpus));  // nothing half-registered
  // Mended, the same job reads it.
  EXPECT_EQ(Run(Ingest({good}))->sequences(), 60);
}

TEST_F(CorpusJobs, IngestThatIsStoppedLeavesNothing) {
  const fs::path source = WriteLines(folder_ / "lines.jsonl", LineMaker(6, 48, 50).Take(1100));
  const auto stopped = IngestJob(Ingest({source}), models_, [](const EngineProgress& progress) {
    return progress.phase == "loading";
  });
  EXPECT_EQ(stopped.status().code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(fs::exists(models_ / kCorpus));
}

// Two leases of one job overlap: the later one is to come again.
TEST_F(CorpusJobs, ACorpusThatSomebodyWritesIsNobodysFault) {
  const v1::Job job = Ingest({WriteLines(folder_ / "lines.jsonl", lines_)});
  fs::create_directories(models_ / kCorpus);
  const FolderLock lock = *LockCorpus(models_ / kCorpus);
  const JobFailure failure = FailureOf(Run(job).status(), v1::JOB_KIND_INGEST);
  EXPECT_EQ(failure.reason, "CORPUS_BUSY");
  EXPECT_EQ(failure.cause, v1::FAILURE_CAUSE_INFRASTRUCTURE);
}

// --- TRAIN --------------------------------------------------------------------------------------

TEST_F(CorpusJobs, TrainMakesTheTeacherOfItsShardOnce) {
  IngestLines();
  std::set<std::string> keys;
  for (const int shard : {0, 1}) {
    const v1::TrainResult made = Trained(Train(shard));
    EXPECT_EQ(made.teacher().shard(), shard);
    EXPECT_EQ(made.teacher().model_digest(), ModelOf(shard));
    EXPECT_GT(made.run().steps(), 0);
    EXPECT_EQ(made.teacher().trained_tokens(), made.run().steps() * 128);
    EXPECT_EQ(made.run().seed(), 9u);
    keys.insert(made.teacher().state_key());
    const std::string tokenizer = BytesOf(models_ / kTokenizer / "tokenizer.json");
    EXPECT_EQ(BytesOf(TeacherFolder(models_ / kTeachers, shard) / "tokenizer.json"), tokenizer);

    const v1::TrainResult again = Trained(Train(shard));
    EXPECT_EQ(again.teacher().trained_tokens(), 0);
    EXPECT_EQ(again.teacher().state_key(), made.teacher().state_key());
    EXPECT_EQ(again.teacher().model_digest(), made.teacher().model_digest());
  }
  EXPECT_EQ(keys.size(), 2u);
}

TEST_F(CorpusJobs, WhoComesSecondToAShardComesAgain) {
  IngestLines();
  fs::create_directories(ShardFolder(0));
  const FolderLock lock = *FolderLock::Take(ShardFolder(0), "STATES_IN_USE");
  const absl::Status status = TrainJob(Train(0), models_, {.threads = 1}, nullptr).status();
  EXPECT_EQ(FailureOf(status, v1::JOB_KIND_TRAIN).reason, "STATES_IN_USE");
  EXPECT_EQ(FailureOf(status, v1::JOB_KIND_TRAIN).cause, v1::FAILURE_CAUSE_INFRASTRUCTURE);
}

TEST_F(CorpusJobs, ASequenceThatDoesNotFitTheTeachersIsTheInputsFault) {
  IngestLines();
  v1::Job job = Train(0);
  job.mutable_train()->mutable_teachers()->set_context_length(8);
  const absl::Status status = TrainJob(job, models_, {.threads = 1}, nullptr).status();
  EXPECT_EQ(FailureOf(status, v1::JOB_KIND_TRAIN).cause, v1::FAILURE_CAUSE_INPUT) << status;
}

// --- RETRAIN ------------------------------------------------------------------------------------

class RetrainJobs : public CorpusJobs {
 protected:
  RetrainJobs() {
    IngestLines();
    for (const int shard : {0, 1}) Trained(Train(shard));
    touched_ = *Open().Touches({.subjects = {"person-3"}});
    EXPECT_EQ(touched_.shards.size(), 1u);
    EXPECT_GE(touched_.sequences.size(), 2u);
    shard_ = touched_.shards.at(0);
  }
  v1::Job Job() const { return Retrain(touched_.sequences, touched_.shards); }

  Touched touched_;
  uint32_t shard_ = 0;
};

TEST_F(RetrainJobs, ATeacherIsAsIfItHadNeverSeenTheErased) {
  const std::string before = ModelOf(shard_), other = ModelOf(1 - shard_);
  const v1::RetrainResult result = Retrained(Job());
  EXPECT_EQ(result.erased(), static_cast<int64_t>(touched_.sequences.size()));
  ASSERT_EQ(result.teachers_size(), 1);
  EXPECT_EQ(result.teachers(0).shard(), static_cast<int>(shard_));
  EXPECT_EQ(result.teachers(0).model_digest(), ModelOf(shard_));
  EXPECT_GT(result.teachers(0).trained_tokens(), 0);
  EXPECT_EQ(ModelOf(1 - shard_), other);
  EXPECT_NE(ModelOf(shard_), before);
  EXPECT_EQ(Open().Touches({.subjects = {"person-3"}})->sequences.size(), 0u);

  const v1::TrainResult never = Trained(Train(static_cast<int>(shard_), "m/corpora/j-1/never"));
  EXPECT_EQ(result.teachers(0).model_digest(), never.teacher().model_digest());
  EXPECT_EQ(result.teachers(0).state_key(), never.teacher().state_key());

  const std::set<std::string> states = States(shard_);
  const v1::RetrainResult again = Retrained(Job());
  EXPECT_EQ(again.erased(), 0);
  EXPECT_EQ(again.teachers(0).trained_tokens(), 0);
  EXPECT_EQ(again.teachers(0).model_digest(), result.teachers(0).model_digest());
  EXPECT_EQ(States(shard_), states);
}

// Whatever becomes of the training: what saw the erased does not outlive it.
TEST_F(RetrainJobs, StatesThatSawTheErasedAreGoneBeforeTraining) {
  const std::set<std::string> before = States(shard_);
  std::vector<std::string> phases;
  const auto stopped = RetrainJob(Job(), models_, {.threads = 1}, [&](const EngineProgress& p) {
    phases.push_back(p.phase);
    if (p.phase == "erasing") return true;
    EXPECT_EQ(p.figures.at("shard"), shard_);
    return false;
  });
  EXPECT_EQ(ErrorReason(stopped.status()), "STOPPED");
  EXPECT_EQ(phases.front(), "erasing");
  const std::set<std::string> left = States(shard_);
  EXPECT_EQ(left.size(), touched_.slices.front().slice);  // those of the slices before
  for (const std::string& state : left) EXPECT_THAT(before, Contains(state));
  EXPECT_FALSE(fs::exists(fs::symlink_status(TeacherFolder(models_ / kTeachers, shard_))));

  // Another lease ends what the first began.
  const v1::RetrainResult result = Retrained(Job());
  EXPECT_EQ(result.erased(), 0);
  const v1::TrainResult never = Trained(Train(static_cast<int>(shard_), "m/corpora/j-1/never"));
  EXPECT_EQ(ModelOf(shard_), never.teacher().model_digest());
}

TEST_F(RetrainJobs, AStopBeforeTheErasureChangesNothing) {
  const std::string before = ModelOf(shard_);
  const auto stopped =
      RetrainJob(Job(), models_, {.threads = 1}, [](const EngineProgress&) { return false; });
  EXPECT_EQ(ErrorReason(stopped.status()), "STOPPED");
  EXPECT_EQ(ModelOf(shard_), before);
  EXPECT_EQ(Open().sequences(), 60u);
}

TEST_F(RetrainJobs, AShardOfWhichNothingIsLeftHasNoModelToSpeakOf) {
  std::vector<SequenceId> all;
  for (uint32_t r = 0; r < 3; ++r) {
    ASSERT_TRUE(Open()
                    .ForEach({shard_, r},
                             [&](const StoredSequence& stored) {
                               all.push_back(stored.id);
                               return absl::OkStatus();
                             })
                    .ok());
  }
  const v1::RetrainResult result = Retrained(Retrain(all, {shard_}));
  EXPECT_EQ(result.erased(), static_cast<int64_t>(all.size()));
  EXPECT_EQ(result.teachers(0).model_digest(), "");
  EXPECT_EQ(result.teachers(0).trained_tokens(), 0);
  EXPECT_NE(result.teachers(0).state_key(), "");
}

TEST_F(RetrainJobs, ANumberThatTheCorpusNeverGaveIsRefused) {
  const absl::Status status =
      RetrainJob(Retrain({{60}}, {0}), models_, {.threads = 1}, nullptr).status();
  EXPECT_EQ(FailureOf(status, v1::JOB_KIND_RETRAIN).reason, "SEQUENCE_UNKNOWN");
  EXPECT_EQ(FailureOf(status, v1::JOB_KIND_RETRAIN).cause, v1::FAILURE_CAUSE_INPUT);
  EXPECT_EQ(ErrorReason(RetrainJob(Retrain({}, {}), models_, {}, nullptr).status()), "NO_SHARDS");
}

// --- the runner ---------------------------------------------------------------------------------

class Free : public JobControl {
 public:
  const std::atomic<bool>& cancelled() const override { return cancelled_; }
  void Report(const v1::Progress& progress) override { phases.insert(progress.phase()); }
  std::set<std::string> phases;

 private:
  std::atomic<bool> cancelled_{false};
};

TEST_F(CorpusJobs, TheRunnerRunsEachKindAndDiscardsNothingOfACorpus) {
  HostMetrics metrics("test", {});
  WorkerRunner runner(models_, {.threads = 1}, {}, &metrics);
  Free control;
  const auto run = [&](const v1::Job& job) {
    const JobOutcome outcome = runner.Run(job, &control);
    runner.Discard(job);
    EXPECT_TRUE(std::holds_alternative<JobResult>(outcome));
    return std::holds_alternative<JobResult>(outcome) ? std::get<JobResult>(outcome) : JobResult();
  };
  const fs::path source = WriteLines(folder_ / "lines.jsonl", lines_);
  EXPECT_EQ(std::get<v1::IngestResult>(run(Ingest({source}))).sequences(), 60);
  const Touched touched = *Open().Touches({.subjects = {"person-3"}});
  const int shard = static_cast<int>(touched.shards.at(0));
  EXPECT_EQ(std::get<v1::TrainResult>(run(Train(shard))).teacher().shard(), shard);
  EXPECT_EQ(std::get<v1::RetrainResult>(run(Retrain(touched.sequences, touched.shards))).erased(),
            static_cast<int64_t>(touched.sequences.size()));
  EXPECT_THAT(control.phases, Contains("erasing"));
  EXPECT_THAT(control.phases, Contains("training"));
  ExpectSound(models_ / kCorpus);
  EXPECT_TRUE(fs::exists(TeacherFolder(models_ / kTeachers, touched.shards.at(0))));
}

}  // namespace
}  // namespace lethe
