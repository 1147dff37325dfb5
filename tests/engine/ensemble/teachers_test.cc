// Teachers of a corpus: what is trained when the corpus changes, and who has seen what.
#include "engine/teachers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/digest.h"
#include "engine/evaluate.h"
#include "engine/train.h"
#include "tests/corpus/made_corpus.h"
#include "tests/support/test_folders.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;

constexpr int32_t kVocabulary = 48;

class TeachersTest : public testing::Test {
 protected:
  TeachersTest() {
    LineMaker maker(5, kVocabulary, 12);
    Build(maker.Take(60));
  }

  void Build(const std::vector<MadeLine>& lines) {
    fs::remove_all(folder_ / "corpus");
    const CorpusInput input{.files = {WriteLines(folder_ / "lines.jsonl", lines)},
                            .limits = {.vocab_size = kVocabulary}};
    const auto built =
        BuildCorpus(folder_ / "corpus", TestKey(), {.shards = 2, .slices = 3}, input);
    ASSERT_TRUE(built.ok()) << built.status();
  }
  Corpus Open() const { return *Corpus::Open(folder_ / "corpus", TestKey()); }

  TrainTeachersRequest Request(const char* teachers) const {
    return {.teachers_folder = folder_ / teachers,
            .recipe = {.config_json = SmallLlamaConfig(kVocabulary, 64, 32, 1),
                       .epochs = 2,
                       .batch_tokens = 128,
                       .warmup_steps = 2,
                       .seed = 9,
                       .device = {.threads = 1}}};
  }
  std::vector<ShardTraining> Train(const TrainTeachersRequest& request) const {
    const auto trained = TrainTeachers(Open(), request);
    EXPECT_TRUE(trained.ok()) << trained.status();
    return *trained;
  }
  std::string ModelOf(const char* teachers, uint32_t shard) const {
    return *FolderDigest(TeacherFolder(folder_ / teachers, shard));
  }
  static std::vector<bool> Trained(const ShardTraining& shard) {
    std::vector<bool> trained;
    for (const SliceStateInfo& state : shard.result.states) trained.push_back(state.trained);
    return trained;
  }

  const fs::path folder_ = FreshFolder();
};

TEST_F(TeachersTest, AnErasureTrainsTheTouchedShardFromTheTouchedSliceOnToTheSameBits) {
  Train(Request("teachers"));
  const std::string before[] = {ModelOf("teachers", 0), ModelOf("teachers", 1)};
  const Touched touched = *Open().Touches({.subjects = {"person-3"}});
  ASSERT_EQ(touched.shards.size(), 1U);
  const uint32_t shard = touched.shards[0], other = 1 - shard;
  const uint32_t slice = touched.slices.front().slice;
  ASSERT_TRUE(EraseFromCorpus(folder_ / "corpus", TestKey(), {.subjects = {"person-3"}}).ok());

  TrainTeachersRequest request = Request("teachers");
  request.recipe.remove_others = true;
  const std::vector<ShardTraining> after = Train(request);
  EXPECT_THAT(Trained(after[other]), testing::Each(false));
  for (uint32_t r = 0; r < 3; ++r) EXPECT_EQ(Trained(after[shard])[r], r >= slice);
  EXPECT_EQ(after[shard].result.removed, 3 - static_cast<int>(slice));
  EXPECT_EQ(after[other].result.removed, 0);
  EXPECT_EQ(ModelOf("teachers", other), before[other]);
  EXPECT_NE(ModelOf("teachers", shard), before[shard]);

  // As if the person had never been there.
  Train(Request("never"));
  for (const uint32_t m : {0U, 1U}) EXPECT_EQ(ModelOf("teachers", m), ModelOf("never", m));
}

// The teachers together as the model: one person's erasure changes one member, and what comes out is
// the ensemble of who never had them, to the last bit.
TEST_F(TeachersTest, AnEnsembleForgetsExactly) {
  Train(Request("teachers"));
  const auto ensemble_of = [&](const TrainTeachersRequest& request) {
    const auto made = EnsembleOfTeachers(Open(), request);
    EXPECT_TRUE(made.ok()) << made.status();
    return *made;
  };
  const EnsembleInfo before = ensemble_of(Request("teachers"));
  EXPECT_EQ(before.digest, *ModelDigest(folder_ / "teachers"));
  const Touched touched = *Open().Touches({.subjects = {"person-3"}});
  const uint32_t shard = touched.shards.at(0);
  const std::vector<Sequence> theirs = {(*Open().Get(touched.sequences[0]))->stored.sequence};
  ASSERT_TRUE(EraseFromCorpus(folder_ / "corpus", TestKey(), {.subjects = {"person-3"}}).ok());

  // Until the shard is trained again, the ensemble is what it was: whole, and still knowing.
  const auto stale = EnsembleOfTeachers(Open(), Request("teachers"));
  EXPECT_EQ(ErrorReason(stale.status()), "TEACHER_STALE") << stale.status();
  EXPECT_EQ(ErrorDetails(stale.status())["shard"], std::to_string(shard));
  EXPECT_EQ(*ModelDigest(folder_ / "teachers"), before.digest);

  TrainTeachersRequest request = Request("teachers");
  request.recipe.remove_others = true;
  Train(request);
  // The states that knew are gone; nobody reads the old ensemble as something else.
  const auto gone = Evaluate({.model_folder = folder_ / "teachers", .sequences = theirs});
  EXPECT_EQ(ErrorReason(gone.status()), "ENSEMBLE_MEMBER_MISSING");
  EXPECT_EQ(ErrorDetails(gone.status())["member"], std::to_string(shard));
  const EnsembleInfo after = ensemble_of(request);
  for (const uint32_t m : {0U, 1U}) EXPECT_EQ(after.members[m] == before.members[m], m != shard);

  Train(Request("never"));
  const EnsembleInfo never = ensemble_of(Request("never"));
  EXPECT_EQ(after.digest, never.digest);
  EXPECT_EQ(after.members, never.members);
  const auto scores = [&](const char* teachers) {
    const auto result = Evaluate({.model_folder = folder_ / teachers,
                                  .sequences = theirs,
                                  .token_log_probs = true,
                                  .device = {.threads = 1}});
    EXPECT_TRUE(result.ok()) << result.status();
    return result->sequences[0].log_probs;
  };
  EXPECT_EQ(scores("teachers"), scores("never"));
}

TEST_F(TeachersTest, AnEnsembleIsOfAllShardsByOneRecipe) {
  TrainTeachersRequest request = Request("teachers");
  request.shards = {0};
  Train(request);
  EXPECT_EQ(ErrorDetails(EnsembleOfTeachers(Open(), request).status())["shard"], "1");
  EXPECT_FALSE(fs::exists(folder_ / "teachers" / "ensemble.json"));
  request.shards = {1};
  Train(request);
  EXPECT_TRUE(EnsembleOfTeachers(Open(), request).ok());
  request.recipe.epochs = 3;
  EXPECT_EQ(ErrorReason(EnsembleOfTeachers(Open(), request).status()), "TEACHER_STALE");
}

TEST_F(TeachersTest, ShardsAreTrainedAloneAndDiffer) {
  TrainTeachersRequest request = Request("teachers");
  request.shards = {1};
  EXPECT_EQ(Train(request).size(), 1U);
  EXPECT_FALSE(fs::exists(folder_ / "teachers" / "shard-0"));
  request.shards = {0};
  Train(request);
  EXPECT_NE(ModelOf("teachers", 0), ModelOf("teachers", 1));
  // Both as when all are trained in one call.
  Train(Request("at-once"));
  for (const uint32_t m : {0U, 1U}) EXPECT_EQ(ModelOf("teachers", m), ModelOf("at-once", m));
}

TEST_F(TeachersTest, LateDataTrainsTheLastSliceAlone) {
  Train(Request("teachers"));
  LineMaker maker(77, kVocabulary, 12);
  std::vector<MadeLine> late = maker.Take(8);
  for (MadeLine& line : late) line.document.reset();
  const CorpusInput input{.files = {WriteLines(folder_ / "late.jsonl", late)},
                          .limits = {.vocab_size = kVocabulary}};
  ASSERT_TRUE(AppendToCorpus(folder_ / "corpus", TestKey(), input).ok());
  for (const ShardTraining& shard : Train(Request("teachers"))) {
    EXPECT_THAT(Trained(shard), ElementsAre(false, false, true));
  }
}

// What saw the erased is gone before anything is trained, and training goes on from what is left.
TEST_F(TeachersTest, StaleStatesGoBeforeTraining) {
  Train(Request("teachers"));
  const Touched touched = *Open().Touches({.subjects = {"person-3"}});
  const SlicePlace first = touched.slices.front();
  ASSERT_TRUE(EraseFromCorpus(folder_ / "corpus", TestKey(), {.subjects = {"person-3"}}).ok());
  const auto states = [&](uint32_t shard) {
    int folders = 0;
    const fs::path folder = TeacherFolder(folder_ / "teachers", shard).parent_path();
    for (const auto& entry : fs::directory_iterator(folder)) {
      folders += entry.is_directory() && !entry.is_symlink();
    }
    return folders;
  };
  const TrainTeachersRequest request = Request("teachers");
  EXPECT_EQ(*RemoveStaleStates(Open(), request), 3 - static_cast<int>(first.slice));
  EXPECT_EQ(*RemoveStaleStates(Open(), request), 0);  // again
  EXPECT_EQ(states(first.shard), static_cast<int>(first.slice));
  EXPECT_EQ(states(1 - first.shard), 3);
  // No link that leads nowhere, and the other teacher is as it was.
  EXPECT_FALSE(fs::exists(fs::symlink_status(TeacherFolder(folder_ / "teachers", first.shard))));
  EXPECT_TRUE(fs::exists(TeacherFolder(folder_ / "teachers", 1 - first.shard)));

  const std::vector<ShardTraining> after = Train(request);
  for (uint32_t r = 0; r < 3; ++r) EXPECT_EQ(Trained(after[first.shard])[r], r >= first.slice);
  Train(Request("never"));
  EXPECT_EQ(ModelOf("teachers", first.shard), ModelOf("never", first.shard));
}

// A shard that nobody trained yet has no states to remove, and none are made for it.
TEST_F(TeachersTest, WithoutStatesNothingIsStale) {
  EXPECT_EQ(*RemoveStaleStates(Open(), Request("none")), 0);
  EXPECT_FALSE(fs::exists(folder_ / "none"));
}

// A copy in another person's data, and one with a few tokens changed, make their shards ones that saw.
TEST_F(TeachersTest, AShardWithACopySawToo) {
  std::mt19937_64 random(3);
  std::vector<MadeLine> lines;
  for (int i = 0; i < 40; ++i) {
    MadeLine line;
    for (int t = 0; t < 40; ++t) line.sequence.ids.push_back(static_cast<int32_t>(random() % 48));
    line.subject = "person-" + std::to_string(i);
    lines.push_back(line);
  }
  const CorpusKey key = TestKey();
  const auto shard_of = [&](const MadeLine& line) {
    return ShardOf(key.OfSubject(line.subject), 2);
  };
  const auto other = std::find_if(lines.begin() + 1, lines.end(), [&](const MadeLine& line) {
    return shard_of(line) != shard_of(lines[0]);
  });
  ASSERT_NE(other, lines.end());
  MadeLine copy = *other;
  copy.sequence = lines[0].sequence;
  lines.push_back(copy);
  MadeLine near = *other;
  near.sequence = lines[1].sequence;
  near.sequence.ids[35] = (near.sequence.ids[35] + 1) % 48;
  lines.push_back(near);
  Build(lines);

  const std::vector<Sequence> forget = {lines[0].sequence, lines[1].sequence, lines[2].sequence,
                                        Sequence{.ids = std::vector<int32_t>(30, 7)}};
  const ShardsThatSaw saw = *WhoSaw(Open(), forget);
  ASSERT_EQ(saw.sequences.size(), 2U);
  for (uint32_t m = 0; m < 2; ++m) {
    const std::vector<size_t>& list = saw.sequences[m];
    const auto has = [&](size_t i) { return std::count(list.begin(), list.end(), i) == 1; };
    EXPECT_TRUE(has(0));  // once as it is, once as a copy
    EXPECT_EQ(has(1), m == shard_of(lines[1]) || m == shard_of(*other));
    EXPECT_EQ(has(2), m == shard_of(lines[2]));
    EXPECT_FALSE(has(3));
  }
}

TEST_F(TeachersTest, TeachersComeWithWhatTheySaw) {
  TrainTeachersRequest request = Request("teachers");
  request.shards = {0};
  Train(request);
  const Corpus corpus = Open();
  const std::vector<Sequence> forget = {corpus.At({1, 0}).At(0)->sequence,
                                        corpus.At({0, 2}).At(0)->sequence};
  const auto missing = TeachersFor(corpus, folder_ / "teachers", forget);
  EXPECT_EQ(ErrorReason(missing.status()), "TEACHER_MISSING");
  EXPECT_EQ(ErrorDetails(missing.status())["shard"], "1");
  request.shards = {1};
  Train(request);
  const std::vector<Teacher> teachers = *TeachersFor(corpus, folder_ / "teachers", forget);
  ASSERT_EQ(teachers.size(), 2U);
  EXPECT_EQ(teachers[0].folder, TeacherFolder(folder_ / "teachers", 0));
  EXPECT_THAT(teachers[0].saw, ElementsAre(1));
  EXPECT_THAT(teachers[1].saw, ElementsAre(0));
}

TEST_F(TeachersTest, WhatIsWrongIsSaid) {
  TrainTeachersRequest request = Request("bad");
  request.shards = {2};
  EXPECT_EQ(ErrorReason(TrainTeachers(Open(), request).status()), "SHARD_UNKNOWN");
  EXPECT_FALSE(fs::exists(folder_ / "bad"));
  request = Request("bad");
  request.recipe.config_json = SmallLlamaConfig(kVocabulary / 2, 64, 32, 1);
  const absl::Status status = TrainTeachers(Open(), request).status();
  EXPECT_EQ(ErrorReason(status), "TOKEN_OUT_OF_VOCABULARY");
  EXPECT_EQ(ErrorDetails(status)["shard"], "0");
}

// A slice whose file was damaged is not trained on.
TEST_F(TeachersTest, ADamagedCorpusTrainsNothing) {
  const Corpus corpus = Open();
  const fs::path file = folder_ / "corpus" / corpus.manifest().At({0, 1}).file;
  std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
  bytes.seekp(200);
  const int was = bytes.peek();
  bytes.put(static_cast<char>(was ^ 4));
  bytes.close();
  const absl::Status status = TrainTeachers(Open(), Request("teachers")).status();
  EXPECT_EQ(ErrorReason(status), "CORPUS_DAMAGED") << status;
}

}  // namespace
}  // namespace lethe
