// Training again without what is to be forgotten: the same bits as never having read it.
#include "engine/retrain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/digest.h"
#include "base/file.h"
#include "base/status.h"
#include "corpus/without.h"
#include "engine/train.h"
#include "tests/corpus/made_corpus.h"
#include "tests/support/test_folders.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr int32_t kVocabulary = 48;

class RetrainTest : public testing::Test {
 protected:
  RetrainTest() {
    LineMaker maker(5, kVocabulary, 12);
    const CorpusInput input{.files = {WriteLines(folder_ / "lines.jsonl", maker.Take(60))},
                            .limits = {.vocab_size = kVocabulary}};
    EXPECT_TRUE(BuildCorpus(folder_ / "corpus", TestKey(), {.shards = 2, .slices = 3}, input).ok());
  }
  Corpus Open() const { return *Corpus::Open(folder_ / "corpus", TestKey()); }

  RetrainRequest Request(const char* states, const char* out,
                         const std::vector<SequenceId>& without = {}) const {
    return {.states_folder = folder_ / states,
            .recipe = {.config_json = SmallLlamaConfig(kVocabulary, 64, 32, 1),
                       .epochs = 2,
                       .batch_tokens = 128,
                       .warmup_steps = 2,
                       .seed = 9,
                       .device = {.threads = 1}},
            .without = without,
            .out_folder = folder_ / out,
            .lineage = {{"job", "j-1"}}};
  }
  RetrainResult Retrain(const RetrainRequest& request) const {
    const auto made = RetrainWithout(Open(), request);
    EXPECT_TRUE(made.ok()) << made.status();
    return made.ok() ? *made : RetrainResult();
  }
  // Of somebody whose first sequence stands in that slice of their shard.
  std::vector<SequenceId> SomebodyFrom(uint32_t slice) const {
    const Corpus corpus = Open();
    for (int person = 0; person < 12; ++person) {
      const Touched touched = *corpus.Touches({.subjects = {"person-" + std::to_string(person)}});
      if (!touched.slices.empty() && touched.slices.front().slice == slice) {
        return touched.sequences;
      }
    }
    ADD_FAILURE() << "nobody begins in slice " << slice;
    return {};
  }
  void Erase(const std::vector<SequenceId>& ids) const {
    ASSERT_TRUE(EraseFromCorpus(folder_ / "corpus", TestKey(), {.sequences = ids}).ok());
  }
  int States(const char* states) const {
    int count = 0;
    for (const auto& entry : fs::directory_iterator(folder_ / states)) {
      count += entry.is_directory() && !entry.is_symlink();
    }
    return count;
  }

  const fs::path folder_ = FreshFolder();
};

TEST_F(RetrainTest, EqualsATrainingFromTheStartWithoutThemBitForBit) {
  Retrain(Request("states", "whole"));
  const std::vector<SequenceId> ids = SomebodyFrom(1);
  const RetrainResult without = Retrain(Request("states", "without", ids));
  EXPECT_EQ(without.stages, 3);
  EXPECT_EQ(without.trained_stages, 2) << "the first slice never held them";
  EXPECT_EQ(without.run.method, "retrain");
  EXPECT_EQ(without.out_digest, *FolderDigest(folder_ / "without"));
  EXPECT_NE(without.out_digest, *FolderDigest(folder_ / "whole"));

  Erase(ids);
  const RetrainResult fresh = Retrain(Request("fresh", "fresh-out"));
  EXPECT_EQ(fresh.trained_stages, 3);
  EXPECT_EQ(fresh.out_digest, without.out_digest);
}

TEST_F(RetrainTest, OnceErasedWhatWasTrainedWithoutThemIsWhatIsWanted) {
  Retrain(Request("states", "whole"));
  const std::vector<SequenceId> ids = SomebodyFrom(1);
  const RetrainResult without = Retrain(Request("states", "without", ids));
  EXPECT_EQ(States("states"), 5);  // of three with them, two without besides
  Erase(ids);
  const auto removed = RemoveStaleBaseStates(Open(), Request("states", ""));
  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_EQ(*removed, 2);
  const RetrainResult again = Retrain(Request("states", "again"));
  EXPECT_EQ(again.trained_stages, 0);
  EXPECT_EQ(again.out_digest, without.out_digest);
  EXPECT_EQ(again.run.stop_reason, "already_trained");
}

TEST_F(RetrainTest, AnApproximateWayLeavesNoStateThatSawThem) {
  Retrain(Request("states", "whole"));
  Erase(SomebodyFrom(0));
  const auto removed = RemoveStaleBaseStates(Open(), Request("states", ""));
  ASSERT_TRUE(removed.ok()) << removed.status();
  EXPECT_EQ(*removed, 3);
  EXPECT_EQ(States("states"), 0);
  EXPECT_EQ(*RemoveStaleBaseStates(Open(), Request("never", "")), 0);
}

TEST_F(RetrainTest, CompanionsOfTheCheckpointGoAlong) {
  fs::create_directories(folder_ / "deployed");
  ASSERT_TRUE(WriteFileAtomically(folder_ / "deployed/generation_config.json", "{}").ok());
  ASSERT_TRUE(WriteFileAtomically(folder_ / "deployed/model.safetensors", "old weights").ok());
  RetrainRequest request = Request("states", "out");
  request.companions_of = folder_ / "deployed";
  Retrain(request);
  EXPECT_TRUE(fs::exists(folder_ / "out/generation_config.json"));
  EXPECT_NE(*ReadFile(folder_ / "out/model.safetensors"), "old weights");
  EXPECT_THAT(*ReadFile(folder_ / "out/lethe.json"), HasSubstr("j-1"));
}

TEST_F(RetrainTest, AFolderThatIsThereIsNotWrittenTo) {
  fs::create_directories(folder_ / "out");
  const auto made = RetrainWithout(Open(), Request("states", "out"));
  EXPECT_EQ(ErrorReason(made.status()), "OUT_FOLDER_EXISTS");
  EXPECT_FALSE(fs::exists(folder_ / "states"));
}

// Against the erasure itself: every set of people, slice by slice.
TEST_F(RetrainTest, ASliceWithoutIsWhatErasingLeaves) {
  const Corpus before = Open();
  for (int person = 0; person < 12; person += 3) {
    const fs::path copy = folder_ / ("copy-" + std::to_string(person));
    ASSERT_TRUE(CopyFolder(folder_ / "corpus", copy).ok());
    std::vector<SequenceId> ids;
    for (int p = 0; p <= person; ++p) {
      const auto found = *before.FindSubject("person-" + std::to_string(p));
      ids.insert(ids.end(), found.begin(), found.end());
    }
    std::sort(ids.begin(), ids.end());
    ASSERT_TRUE(EraseFromCorpus(copy, TestKey(), {.sequences = ids}).ok());
    const Corpus after = *Corpus::Open(copy, TestKey());
    for (uint32_t shard = 0; shard < 2; ++shard) {
      for (uint32_t slice = 0; slice < 3; ++slice) {
        const SliceWithout without = *SliceWithout::Of(before, {shard, slice}, ids);
        ASSERT_EQ(without.size(), after.At({shard, slice}).sequences());
        EXPECT_EQ(without.digest(), after.SliceDigest({shard, slice}));
        for (uint64_t i = 0; i < without.size(); ++i) {
          EXPECT_EQ(*without.Read(i), after.At({shard, slice}).At(i)->sequence);
        }
      }
    }
  }
}

}  // namespace
}  // namespace lethe
