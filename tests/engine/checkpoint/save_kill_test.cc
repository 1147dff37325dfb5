// kill -9 during a save: what is visible afterwards is whole.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <random>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "engine/checkpoint/checkpoint_folder.h"
#include "tests/support/seeded_random.h"
#include "tests/support/testdata.h"

namespace lethe {
namespace {
namespace fs = std::filesystem;

constexpr int kTensors = 12;

fs::path MakeSource(const fs::path& folder) {
  NewCheckpoint checkpoint{.out = folder / "source", .config_json = "{}"};
  for (int i = 0; i < kTensors; ++i) {
    checkpoint.tensors.push_back({absl::StrCat("t", i), DType::kF32, {5'000}});
  }
  checkpoint.provider = [](const TensorInfo& tensor, const BytesSink& sink) {
    return sink(std::string(*TensorBytes(tensor.dtype, tensor.shape), tensor.name[1]));
  };
  EXPECT_TRUE(SaveNew(checkpoint).ok());
  return checkpoint.out;
}

// Saves one folder after the other until it is killed; a byte goes to the pipe at each tensor.
[[noreturn]] void SaveForEver(const fs::path& source, const fs::path& out, int pipe_end) {
  const CheckpointFolder model = *CheckpointFolder::Open(source);
  for (int n = 0;; ++n) {
    SaveOptions save{.out = out / std::to_string(n)};
    for (const TensorInfo& tensor : model.tensors()) {
      save.overrides[tensor.name] = [pipe_end](const TensorInfo& t, const BytesSink& sink) {
        if (write(pipe_end, ".", 1) != 1) _exit(2);
        return sink(std::string(t.bytes, 'n'));
      };
    }
    if (!SaveLike(model, save).ok()) _exit(3);
  }
}

TEST(SaveKill, LeavesNoVisibleHalfFolder) {
  const uint64_t seed = TestSeed(7);
  std::cout << "LETHE_TEST_SEED=" << seed << std::endl;
  std::mt19937_64 random(seed);
  const fs::path folder = FreshFolder();
  const fs::path source = MakeSource(folder);
  int whole = 0, hidden = 0;
  for (int round = 0; round < 40; ++round) {
    const fs::path out = folder / ("round-" + std::to_string(round));
    fs::create_directories(out);
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    const pid_t child = fork();
    if (child == 0) SaveForEver(source, out, ends[1]);
    close(ends[1]);
    // The moment: after so many tensors, and then some part of the time that syncs and renames
    // take.
    char byte;
    for (uint64_t left = 1 + random() % (2 * kTensors); left > 0; --left) {
      ASSERT_EQ(read(ends[0], &byte, 1), 1);
    }
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 8'000);
    while (std::chrono::steady_clock::now() < until) {
    }
    kill(child, SIGKILL);
    int code = 0;
    ASSERT_EQ(waitpid(child, &code, 0), child);
    ASSERT_TRUE(WIFSIGNALED(code)) << WEXITSTATUS(code);
    close(ends[0]);
    for (const auto& entry : fs::directory_iterator(out)) {
      const std::string name = entry.path().filename().string();
      if (IsUnfinishedSave(name)) {
        ++hidden;
        continue;
      }
      ++whole;
      EXPECT_TRUE(VerifySaved(entry.path()).ok()) << VerifySaved(entry.path()).status();
      auto model = CheckpointFolder::Open(entry.path());
      ASSERT_TRUE(model.ok()) << model.status();
      EXPECT_EQ(model->tensors().size(), static_cast<size_t>(kTensors));
    }
  }
  std::cout << whole << " whole folders, " << hidden << " hidden leftovers" << std::endl;
  EXPECT_GT(whole, 5);    // else it never got to the end
  EXPECT_GT(hidden, 10);  // else no kill hit a save
}

}  // namespace
}  // namespace lethe
