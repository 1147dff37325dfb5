// Folders whose config.json or weights are damaged, loaded as far as a decoder and asked something:
// a status or numbers each time, and no more memory than the files account for. What the torch-free
// half lets through is checkpoint_fuzz_test's; this is what the model makes of it. LETHE_TEST_SEED
// gives another sequence of damages.
#include <gtest/gtest.h>

#include <map>

#include "base/file.h"
#include "engine/loss/sequence_loss.h"
#include "engine/model/decoder_io.h"
#include "engine/model/generate.h"
#include "engine/model/model_folder.h"
#include "engine/train.h"
#include "tests/engine/checkpoint/fuzz_sources.h"
#include "tests/engine/checkpoint/mutator.h"
#include "tests/support/heap_watch.h"
#include "tests/support/seeded_random.h"
#include "tests/support/testdata.h"

namespace lethe {
namespace {
namespace fs = std::filesystem;

constexpr int kRounds = 4'000;
// Weights in fp32 while the file's type is half of that, one of them twice, and JSON; tables of
// positions are free up to 64 MiB (model_folder.cc), with what they are made from three times that.
constexpr int64_t kTimes = 64, kSlack = int64_t{192} << 20;

// Two tokens that every vocabulary has, scored and continued.
absl::Status Ask(const Decoder& model) {
  const std::vector<Sequence> sequences = {{.ids = {0, 0}}};
  absl::Status status = ScoreSequences(model, sequences).status();
  if (!status.ok()) return status;
  return GenerateContinuations(model, {{{0}}}, {.max_new_tokens = 1}).status();
}

TEST(ModelFuzz, FourThousandDamagedFolders) {
  const uint64_t seed = TestSeed(20261127);
  std::cout << "LETHE_TEST_SEED=" << seed << std::endl;
  const fs::path folder = FreshFolder();
  std::vector<FuzzSource> sources;
  ASSERT_NO_FATAL_FAILURE(MakeFuzzSources(folder, &sources));
  Mutator mutator(seed);
  std::map<std::string, int> outcomes;
  int64_t most = 0;
  for (int round = 0; round < kRounds; ++round) {
    FuzzSource& source = sources[mutator.Pick(sources.size())];
    SCOPED_TRACE("round " + std::to_string(round) + " " + source.name);
    PutQuickly(source.folder / "config.json", mutator.Json(source.config));
    int64_t bytes = static_cast<int64_t>(source.header_bytes);
    for (const std::string& weights : source.weights) bytes += static_cast<int64_t>(weights.size());
    const HeapWatch watch;
    absl::Status status;
    {
      const auto loaded = ModelFolder::Load(source.folder, {.threads = 1});
      status = loaded.status();
      if (loaded.ok()) status = Ask(loaded->model);
    }
    ASSERT_LE(watch.PeakBytes(), kTimes * bytes + kSlack);
    most = std::max(most, watch.PeakBytes());
    ++outcomes[status.ok() ? "answered" : ErrorReason(status)];
    if (!status.ok()) {
      ASSERT_NE(ErrorReason(status), "") << status;
      ASSERT_NE(ErrorReason(status), "TORCH_ERROR") << status;
    }
    PutQuickly(source.folder / "config.json", source.config);
  }
  for (const auto& [what, count] : outcomes) std::cout << what << " " << count << std::endl;
  std::cout << "at most " << most << " bytes of heap" << std::endl;
  EXPECT_GT(outcomes["answered"], kRounds / 50);
  fs::remove_all(folder);
}

// Sixteen million positions for a model of 100 kB: two tables of a gigabyte each.
TEST(ModelFuzz, AContextOutOfAllProportionIsRefused) {
  const fs::path folder = FreshFolder();
  for (const int64_t context : {int64_t{1} << 17, int64_t{1} << 24}) {
    const fs::path out = folder / std::to_string(context);
    const std::string config = SmallLlamaConfig(64, static_cast<int>(context), 64, 1);
    const auto model = Decoder::Init(*ParseDecoderConfig(SmallLlamaConfig(64, 32, 64, 1)), 1, {});
    ASSERT_TRUE(SaveNewDecoder(*model, {.out = out, .config_json = config}).ok());
    const HeapWatch watch;
    const absl::Status status = ModelFolder::Load(out, {}).status();
    EXPECT_LE(watch.PeakBytes(), int64_t{128} << 20);
    EXPECT_EQ(status.ok(), context == 1 << 17) << status;
    if (status.ok()) continue;
    EXPECT_EQ(ErrorReason(status), "BAD_CHECKPOINT");
    EXPECT_EQ(ErrorDetails(status).at("field"), "max_position_embeddings");
  }
}

// What F16 cannot hold is not written: the folder could not be loaded again.
TEST(ModelFuzz, AWeightTooLargeForTheFilesTypeIsNotSaved) {
  const fs::path folder = FreshFolder();
  std::vector<FuzzSource> sources;
  ASSERT_NO_FATAL_FAILURE(MakeFuzzSources(folder, &sources));
  const auto loaded = ModelFolder::Load(sources[0].folder, {});  // of F16
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ASSERT_TRUE(loaded->SaveAs(folder / "before", "{}").ok());
  loaded->model.Leaves().back().mutable_data_ptr<float>()[0] = 65'520;  // 65,504 is the largest
  const absl::Status status = loaded->SaveAs(folder / "after", "{}").status();
  EXPECT_EQ(ErrorReason(status), "METHOD_DIVERGED") << status;
  EXPECT_EQ(ErrorDetails(status).at("tensor"), "lm_head.weight");
  EXPECT_FALSE(fs::exists(folder / "after"));
}

}  // namespace
}  // namespace lethe
