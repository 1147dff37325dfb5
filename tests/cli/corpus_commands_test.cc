// lethe corpus register, and the corpus of a model that is shown.
#include "gmock/gmock.h"
#include "nlohmann/json.hpp"
#include "tests/cli/cli_harness.h"

namespace lethe {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class CorpusCommands : public CliHarness {
 protected:
  CorpusCommands() {
    models_.model.set_model_id("chat");
    models_.model.set_state(v1::MODEL_STATE_READY);
    *models_.model.mutable_corpus() = Corpus(v1::CORPUS_STATE_READING);
  }

  static v1::Corpus Corpus(v1::CorpusState state) {
    v1::Corpus corpus;
    corpus.set_state(state);
    corpus.mutable_options()->set_shards(4);
    corpus.mutable_options()->set_slices(3);
    v1::TeacherOptions& teachers = *corpus.mutable_teachers();
    teachers.set_hidden_size(64);
    teachers.set_layers(2);
    teachers.set_context_length(128);
    teachers.set_epochs(2.5);
    teachers.set_learning_rate(1e-3);
    teachers.set_batch_tokens(4096);
    teachers.set_seed(7);
    return corpus;
  }
  // With two of four teachers trained.
  v1::Corpus Training() {
    v1::Corpus corpus = Corpus(v1::CORPUS_STATE_TRAINING);
    corpus.set_sequences(1234);
    corpus.set_tokens(56'789);
    for (int shard = 0; shard < 4; ++shard) {
      v1::TeacherStatus& teacher = *corpus.add_shards();
      teacher.set_shard(shard);
      teacher.set_state(shard < 2 ? v1::TEACHER_STATE_READY : v1::TEACHER_STATE_WAITING);
      teacher.mutable_update_time()->set_seconds(absl::ToUnixSeconds(clock_.Now()));
    }
    return corpus;
  }
  const std::vector<std::string> register_ = {"corpus",   "register",     "--model",  "chat",
                                              "--source", "data/a.jsonl", "--source", "/b.jsonl"};
};

TEST_F(CorpusCommands, RegisterSendsAbsolutePathsAndWhatWasChosen) {
  std::vector<std::string> command = register_;
  command.insert(command.end(), {"--shards",
                                 "4",
                                 "--slices",
                                 "3",
                                 "--document-parts",
                                 "--teacher-hidden",
                                 "64",
                                 "--teacher-layers",
                                 "2",
                                 "--teacher-context",
                                 "128",
                                 "--teacher-epochs",
                                 "2.5",
                                 "--teacher-learning-rate",
                                 "0.002",
                                 "--teacher-batch-tokens",
                                 "512",
                                 "--teacher-seed",
                                 "7",
                                 "--base-epochs",
                                 "1.5",
                                 "--validate-only"});
  EXPECT_EQ(Lethe(command), 0) << err_;
  const v1::RegisterCorpusRequest& request = models_.corpus;
  EXPECT_EQ(request.model_id(), "chat");
  ASSERT_EQ(request.source_paths_size(), 2);
  EXPECT_EQ(request.source_paths(0), (std::filesystem::current_path() / "data/a.jsonl").string());
  EXPECT_EQ(request.source_paths(1), "/b.jsonl");
  EXPECT_EQ(request.options().shards(), 4);
  EXPECT_EQ(request.options().slices(), 3);
  EXPECT_TRUE(request.options().document_parts());
  EXPECT_EQ(request.teachers().hidden_size(), 64);
  EXPECT_EQ(request.teachers().layers(), 2);
  EXPECT_EQ(request.teachers().context_length(), 128);
  EXPECT_EQ(request.teachers().epochs(), 2.5);
  EXPECT_EQ(request.teachers().learning_rate(), 0.002);
  EXPECT_EQ(request.teachers().batch_tokens(), 512);
  EXPECT_EQ(request.teachers().seed(), 7u);
  EXPECT_EQ(request.base().epochs(), 1.5);
  EXPECT_TRUE(request.validate_only());

  // What was not chosen is the server's to choose.
  EXPECT_EQ(Lethe(register_), 0);
  v1::CorpusOptions defaults;
  v1::TeacherOptions recipe;
  EXPECT_EQ(models_.corpus.options().SerializeAsString(), defaults.SerializeAsString());
  EXPECT_EQ(models_.corpus.teachers().SerializeAsString(), recipe.SerializeAsString());
  EXPECT_FALSE(models_.corpus.validate_only());
  EXPECT_FALSE(models_.corpus.has_base());
  EXPECT_THAT(out_, HasSubstr("corpus:      READING\n"));
}

TEST_F(CorpusCommands, MistakesAreFoundBeforeAnythingIsSent) {
  for (const std::vector<std::string>& more :
       std::vector<std::vector<std::string>>{{"--shards", "0"},
                                             {"--slices", "x"},
                                             {"--teacher-hidden", "-1"},
                                             {"--teacher-epochs", "0"},
                                             {"--teacher-learning-rate", "fast"}}) {
    std::vector<std::string> command = register_;
    command.insert(command.end(), more.begin(), more.end());
    EXPECT_EQ(Lethe(command), 2) << more[0];
  }
  EXPECT_EQ(Lethe({"corpus", "register", "--model", "chat"}), 2);  // nothing to read
  EXPECT_EQ(Lethe({"corpus", "register", "--source", "a"}), 2);    // of which model?
  EXPECT_EQ(models_.corpus.model_id(), "");
}

TEST_F(CorpusCommands, RegisterWaitsUntilTheTeachersAreTrained) {
  v1::Corpus ready = Training();
  ready.set_state(v1::CORPUS_STATE_READY);
  for (v1::TeacherStatus& teacher : *ready.mutable_shards()) {
    teacher.set_state(v1::TEACHER_STATE_READY);
  }
  models_.corpora = {Corpus(v1::CORPUS_STATE_READING), Training(), ready};
  std::vector<std::string> command = register_;
  command.push_back("--wait");
  EXPECT_EQ(Lethe(command), 0);
  EXPECT_EQ(err_,
            "READING\n"
            "TRAINING, 2 of 4 teachers are ready\n"
            "READY\n");
  EXPECT_THAT(out_, HasSubstr("corpus:      READY\n"
                              "holds:       1,234 sequences, 56,789 tokens; 4 shards of 3 slices\n"
                              "teachers:    2 layers of 64, context 128; 2.5 epochs, 4,096 tokens "
                              "a step, learning rate 0.001, seed 7\n"));
}

TEST_F(CorpusCommands, AFailureNamesFileAndLine) {
  v1::Corpus failed = Corpus(v1::CORPUS_STATE_FAILED);
  failed.set_failure_reason("SUBJECT_MISSING");
  failed.set_failure_line(1700);
  failed.set_failure_source(1);
  failed.add_source_paths("/data/a.jsonl");
  failed.add_source_paths("/b.jsonl");
  models_.corpora = {failed};
  std::vector<std::string> command = register_;
  command.push_back("--wait");
  EXPECT_EQ(Lethe(command), 1);
  EXPECT_THAT(err_, HasSubstr("FAILED, SUBJECT_MISSING: /b.jsonl:1700\n"));
  EXPECT_EQ(Lethe({"model", "get", "chat"}), 0);
  EXPECT_THAT(out_, HasSubstr("corpus:      FAILED, SUBJECT_MISSING: /b.jsonl:1700\n"));
  EXPECT_EQ(Lethe({"model", "get", "chat", "--output", "json"}), 0);
  const auto corpus = nlohmann::json::parse(out_)["corpus"];
  EXPECT_EQ(corpus["failure_line"], "1700");
  EXPECT_EQ(corpus["failure_source"], 1);

  models_.corpora[0].clear_failure_line();
  EXPECT_EQ(Lethe({"model", "get", "chat"}), 0);
  EXPECT_THAT(out_, HasSubstr("corpus:      FAILED, SUBJECT_MISSING\n"));
}

TEST_F(CorpusCommands, AModelShowsEachTeacher) {
  v1::Corpus corpus = Training();
  corpus.set_state(v1::CORPUS_STATE_READY);
  corpus.mutable_shards(2)->set_state(v1::TEACHER_STATE_STALE);
  corpus.mutable_shards(2)->set_job_id("j-7");
  v1::Progress& progress = *corpus.mutable_shards(2)->mutable_progress();
  progress.set_phase("training");
  progress.set_step(5);
  progress.set_max_steps(10);
  (*progress.mutable_figures())["slice"] = 2;
  corpus.mutable_shards(3)->set_state(v1::TEACHER_STATE_FAILED);
  corpus.mutable_shards(3)->set_failure_reason("METHOD_DIVERGED");
  models_.corpora = {corpus};
  EXPECT_EQ(Lethe({"model", "get", "chat"}), 0);
  EXPECT_THAT(out_,
              HasSubstr("\n"
                        "SHARD  TEACHER                  JOB  CHANGED                  PROGRESS\n"
                        "0      READY                         2026-09-21 14:13:20 UTC\n"
                        "1      READY                         2026-09-21 14:13:20 UTC\n"
                        "2      STALE                    j-7  2026-09-21 14:13:20 UTC  training "
                        "[##########..........] 5/10  slice 2\n"
                        "3      FAILED, METHOD_DIVERGED       2026-09-21 14:13:20 UTC\n"));
  models_.corpora.clear();
  models_.model.clear_corpus();
  EXPECT_EQ(Lethe({"model", "get", "chat"}), 0);
  EXPECT_THAT(out_, Not(HasSubstr("corpus")));
}

TEST_F(CorpusCommands, ErrorsSayWhatToDo) {
  models_.answer = WireError(grpc::StatusCode::ALREADY_EXISTS, "CORPUS_EXISTS", "there is one");
  EXPECT_EQ(Lethe(register_), 1);
  EXPECT_THAT(err_, HasSubstr("what to do: `lethe model get NAME` shows the corpus"));
  tickets_.answer = WireError(grpc::StatusCode::NOT_FOUND, "SUBJECT_UNKNOWN", "nobody");
  EXPECT_EQ(Lethe({"ticket", "create", "--model", "chat", "--subject", "p"}), 1);
  EXPECT_THAT(err_, HasSubstr("what to do: keys are compared byte by byte"));
}

}  // namespace
}  // namespace lethe
