// Training slice by slice: what is kept, what is gone on from, and that a deletion leaves what a
// training without the deleted would have made.
#include "engine/train_slices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "base/digest.h"
#include "base/file.h"
#include "engine/evaluate.h"
#include "engine/seeded_generator.h"
#include "engine/train.h"
#include "tests/support/test_folders.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using Slices = std::vector<std::vector<Sequence>>;

Sequence Row(SeededGenerator& random) {
  Sequence s;
  for (size_t i = 6 + random.Below(7); i > 0; --i) {
    s.ids.push_back(static_cast<int32_t>(random.Below(32)));
  }
  return s;
}

Slices RandomSlices(int count, int rows, uint64_t seed) {
  SeededGenerator random(seed);
  Slices slices(static_cast<size_t>(count));
  for (auto& slice : slices) {
    for (int i = 0; i < rows; ++i) slice.push_back(Row(random));
  }
  return slices;
}

std::string DigestOf(const std::vector<Sequence>& rows) {
  std::string bytes;
  for (const Sequence& row : rows) {
    for (const int32_t id : row.ids) bytes += std::to_string(id) + ",";
    bytes += "\n";
  }
  return Sha256Hex(bytes);
}

// A tiny Llama on these slices.
TrainSlicesRequest RequestOf(const Slices& slices, const fs::path& states) {
  TrainSlicesRequest request{.states_folder = states,
                             .config_json = SmallLlamaConfig(32, 32, 32, 1),
                             .epochs = 3,
                             .batch_tokens = 64,
                             .warmup_steps = 2,
                             .seed = 5,
                             .digest_key = "k",
                             .device = {.threads = 1}};
  for (const auto& rows : slices) {
    request.slices.push_back(
        {.digest = DigestOf(rows),
         .sequences = {.size = rows.size(), .read = [&rows](size_t i) { return rows[i]; }}});
  }
  return request;
}

// Weights and optimizer of the state, as one digest.
std::string BitsOf(const SliceStateInfo& state) {
  return *FolderDigest(state.model_folder) +
         *FileDigest(state.model_folder.parent_path() / "optimizer.safetensors");
}

std::vector<std::string> BitsOfAll(const TrainSlicesResult& result) {
  std::vector<std::string> bits;
  for (const SliceStateInfo& state : result.states) bits.push_back(BitsOf(state));
  return bits;
}

std::vector<bool> Trained(const TrainSlicesResult& result) {
  std::vector<bool> trained;
  for (const SliceStateInfo& state : result.states) trained.push_back(state.trained);
  return trained;
}

size_t Entries(const fs::path& folder) {
  size_t count = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    count += entry.path().filename() != "lock" && entry.path().filename() != "model";
  }
  return count;
}

class TrainSlicesTest : public testing::Test {
 protected:
  TrainSlicesResult Run(const Slices& slices, const char* states) {
    const auto result = TrainSlices(RequestOf(slices, folder_ / states));
    if (!result.ok()) throw std::runtime_error(std::string(result.status().message()));
    return *result;
  }
  const fs::path folder_ = FreshFolder();
};

TEST_F(TrainSlicesTest, ADeletionEqualsATrainingWithoutTheDeletedBitForBit) {
  const Slices all = RandomSlices(4, 12, 1);
  const TrainSlicesResult before = Run(all, "states");
  EXPECT_THAT(Trained(before), testing::Each(true));
  for (const size_t slice : {0, 2, 3}) {
    Slices without = all;
    without[slice].erase(without[slice].begin() + 5);
    const TrainSlicesResult after = Run(without, "states");
    // States before the slice are as they were, and not trained again.
    for (size_t i = 0; i < all.size(); ++i) {
      EXPECT_EQ(after.states[i].trained, i >= slice);
      EXPECT_EQ(after.states[i].key == before.states[i].key, i < slice);
    }
    const TrainSlicesResult never = Run(without, ("never-" + std::to_string(slice)).c_str());
    EXPECT_EQ(BitsOfAll(after), BitsOfAll(never));
    EXPECT_NE(BitsOf(after.states.back()), BitsOf(before.states.back()));
  }
}

TEST_F(TrainSlicesTest, WhatIsThereIsNotTrainedAgain) {
  const Slices slices = RandomSlices(3, 8, 2);
  const TrainSlicesResult once = Run(slices, "states");
  const TrainSlicesResult again = Run(slices, "states");
  EXPECT_THAT(Trained(again), testing::Each(false));
  EXPECT_EQ(again.run.steps, 0);
  EXPECT_EQ(BitsOfAll(once), BitsOfAll(again));
  // Late data in the last slice: the others stay.
  Slices more = slices;
  more.back().push_back(slices[0][0]);
  EXPECT_THAT(Trained(Run(more, "states")), testing::ElementsAre(false, false, true));
  // Anything else that the weights depend on makes another state.
  TrainSlicesRequest other = RequestOf(slices, folder_ / "states");
  const auto keys = *SliceStateKeys(other);
  other.learning_rate *= 1.0000001;
  EXPECT_NE((*SliceStateKeys(other))[0], keys[0]);
  other = RequestOf(slices, folder_ / "states");
  other.seed += 1;
  EXPECT_NE((*SliceStateKeys(other))[0], keys[0]);
  other = RequestOf(slices, folder_ / "states");
  other.digest_key = "another";
  EXPECT_NE((*SliceStateKeys(other))[0], keys[0]);
  other = RequestOf(slices, folder_ / "states");
  std::swap(other.slices[1], other.slices[2]);
  EXPECT_EQ((*SliceStateKeys(other))[0], keys[0]);
  EXPECT_NE((*SliceStateKeys(other))[1], keys[1]);
}

TEST_F(TrainSlicesTest, StatesThatSawTheDeletedGo) {
  const Slices all = RandomSlices(3, 8, 3);
  Run(all, "states");
  EXPECT_EQ(Entries(folder_ / "states"), 3U);
  Slices without = all;
  without[1].erase(without[1].begin());
  TrainSlicesRequest request = RequestOf(without, folder_ / "states");
  request.remove_others = true;
  const auto result = TrainSlices(request);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->removed, 2);
  EXPECT_EQ(Entries(folder_ / "states"), 3U);
  EXPECT_TRUE(fs::equivalent(folder_ / "states" / "model", result->states.back().model_folder));
  for (const SliceStateInfo& state : result->states) EXPECT_TRUE(fs::exists(state.model_folder));
}

TEST_F(TrainSlicesTest, ASliceOfWhichNothingIsLeftTrainsNothing) {
  Slices slices = RandomSlices(3, 8, 4);
  slices[0].clear();
  const TrainSlicesResult first_empty = Run(slices, "first");
  EXPECT_TRUE(std::isfinite(first_empty.states[2].last_loss));
  EXPECT_NE(BitsOf(first_empty.states[0]), BitsOf(first_empty.states[1]));
  for (auto& slice : slices) slice.clear();
  const TrainSlicesResult none = Run(slices, "none");
  EXPECT_EQ(none.run.steps, 0);
  EXPECT_EQ(BitsOf(none.states[0]), BitsOf(none.states[2]));
}

TEST_F(TrainSlicesTest, KilledAnywhereItEndsInTheSameBits) {
  const Slices slices = RandomSlices(3, 8, 6);
  const TrainSlicesResult undisturbed = Run(slices, "undisturbed");
  const int64_t steps = undisturbed.run.steps;
  ASSERT_GT(steps, 6);
  // Killed in each step and at each saving, one after the other, on the same folder.
  for (int64_t calls = 1; calls <= steps + 10; ++calls) {
    const pid_t child = fork();
    if (child == 0) {
      int64_t left = calls;
      const auto request = RequestOf(slices, folder_ / "killed");
      const auto result = TrainSlices(request, [&](const EngineProgress&) {
        if (--left == 0) std::raise(SIGKILL);
        return true;
      });
      _exit(result.ok() ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    if (WIFEXITED(status)) {
      ASSERT_EQ(WEXITSTATUS(status), 0);
      break;
    }
  }
  // Cut off in the middle of writing a state, or of removing one.
  const fs::path half = folder_ / "killed" / (".new-" + undisturbed.states[2].key.substr(0, 16));
  fs::create_directories(half / "model");
  std::ofstream(half / "model" / "config.json") << "{";
  fs::rename(folder_ / "killed" / undisturbed.states[2].key, folder_ / "killed" / ".new-gone-2");
  const TrainSlicesResult last = Run(slices, "killed");
  EXPECT_THAT(Trained(last), testing::ElementsAre(false, false, true));
  const TrainSlicesResult after = Run(slices, "killed");
  EXPECT_THAT(Trained(after), testing::Each(false));
  EXPECT_EQ(BitsOfAll(after), BitsOfAll(undisturbed));
  EXPECT_EQ(Entries(folder_ / "killed"), 3U);  // nothing half-written
}

TEST_F(TrainSlicesTest, StoppedItKeepsWhatWasDone) {
  const Slices slices = RandomSlices(3, 8, 7);
  const auto stopped =
      TrainSlices(RequestOf(slices, folder_ / "states"), [](const EngineProgress& p) {
        const auto slice = p.figures.find("slice");
        return slice == p.figures.end() || slice->second < 2;
      });
  EXPECT_EQ(ErrorReason(stopped.status()), "STOPPED");
  EXPECT_THAT(Trained(Run(slices, "states")), testing::ElementsAre(false, true, true));
}

TEST_F(TrainSlicesTest, ADamagedStateIsMadeAgain) {
  const Slices slices = RandomSlices(3, 8, 8);
  const TrainSlicesResult first = Run(slices, "states");
  const auto bits = BitsOfAll(first);
  for (const char* file : {"model/model.safetensors", "optimizer.safetensors", "state.json"}) {
    const fs::path path = first.states[2].model_folder.parent_path() / file;
    std::string content = *ReadFile(path);
    content[content.size() / 2] = static_cast<char>(content[content.size() / 2] ^ 1);
    std::ofstream(path, std::ios::binary) << content;
    const TrainSlicesResult again = Run(slices, "states");
    EXPECT_EQ(again.damaged, 1) << file;
    EXPECT_THAT(Trained(again), testing::ElementsAre(false, false, true)) << file;
    EXPECT_EQ(BitsOfAll(again), bits) << file;
  }
  fs::remove(first.states[2].model_folder / "config.json");
  EXPECT_EQ(Run(slices, "states").damaged, 1);
}

TEST_F(TrainSlicesTest, TwoAtOnceAreNotLetIn) {
  const Slices slices = RandomSlices(2, 8, 9);
  const auto outer = TrainSlices(RequestOf(slices, folder_ / "states"), [&](const auto& p) {
    if (p.phase == "training") {
      const auto inner = TrainSlices(RequestOf(slices, folder_ / "states"));
      EXPECT_EQ(ErrorReason(inner.status()), "STATES_IN_USE");
    }
    return true;
  });
  EXPECT_TRUE(outer.ok()) << outer.status();
}

TEST_F(TrainSlicesTest, WhatIsWrongIsSaidAndNothingIsWritten) {
  const Slices slices = RandomSlices(2, 4, 10);
  const auto reason = [&](const auto& change) {
    TrainSlicesRequest request = RequestOf(slices, folder_ / "bad");
    change(request);
    return ErrorReason(TrainSlices(request).status());
  };
  EXPECT_EQ(reason([](auto& r) { r.slices.clear(); }), "NO_SLICES");
  EXPECT_EQ(reason([](auto& r) { r.slices[1].digest.clear(); }), "DIGEST_MISSING");
  EXPECT_EQ(reason([](auto& r) { r.epochs = 0; }), "BAD_PARAMETER");
  EXPECT_EQ(reason([](auto& r) { r.learning_rate = std::nan(""); }), "BAD_PARAMETER");
  EXPECT_EQ(reason([](auto& r) { r.precision = "fp64"; }), "BAD_PARAMETER");
  EXPECT_FALSE(fs::exists(folder_ / "bad"));
  Slices wrong = slices;
  wrong[1][2].ids[0] = 32;
  const auto result = TrainSlices(RequestOf(wrong, folder_ / "bad"));
  EXPECT_EQ(ErrorReason(result.status()), "TOKEN_OUT_OF_VOCABULARY");
  EXPECT_EQ(ErrorDetails(result.status())["slice"], "1");
  EXPECT_EQ(ErrorDetails(result.status())["index"], "2");
}

}  // namespace
}  // namespace lethe
