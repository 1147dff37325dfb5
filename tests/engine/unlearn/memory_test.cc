// A whole run on a device that is too small for its micro-batch.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "engine/unlearn.h"
#include "tests/engine/failing_memory.h"
#include "tests/engine/unlearn/tiny_people.h"

namespace lethe {
namespace {

class UnlearnShortOfMemory : public testing::Test {
 protected:
  UnlearnShortOfMemory() { Tiny(); }

  absl::StatusOr<UnlearnResult> Run(const std::string& name,
                                    const ParameterValues& overrides = {}) {
    figure_ = 0;
    return Unlearn({.base_folder = Tiny().model,
                    .out_folder = folder_ / name,
                    .forget = Tiny().forget,
                    .retain = Tiny().retain,
                    .watch = Tiny().holdout,
                    .overrides = overrides,
                    .thresholds = Tiny().thresholds,
                    .seed = 3,
                    .device = {.threads = 1}},
                   [&](const EngineProgress& p) {
                     const auto found = p.figures.find("micro_batch_tokens");
                     if (found != p.figures.end()) figure_ = found->second;
                     return true;
                   });
  }

  // Most bytes of tensors that a run holds.
  int64_t Peak(const std::string& name, const ParameterValues& overrides) {
    memory_.LimitTo(0);
    const auto result = Run(name, overrides);
    EXPECT_TRUE(result.ok()) << result.status();
    return memory_.peak_bytes();
  }

  FailingMemory memory_;
  const std::filesystem::path folder_ = FreshFolder();
  double figure_ = 0;
};

TEST_F(UnlearnShortOfMemory, GoesOnWithLessAtATimeAndRecordsIt) {
  const int64_t most = Peak("ample", {}), least = Peak("least", {{"micro_batch_tokens", 14}});
  ASSERT_LT(least, most);
  memory_.LimitTo((least + most) / 2);
  const auto result = Run("short");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(memory_.failed());
  const double tokens = result->run.hyperparameters.at("micro_batch_tokens");
  EXPECT_LT(tokens, 4096);
  EXPECT_GE(tokens, 14);
  EXPECT_EQ(figure_, tokens);
  EXPECT_EQ(result->run.stop_reason, "thresholds_reached");
  const auto json = nlohmann::json::parse(ReadFile(folder_ / "short/lethe.json").value());
  EXPECT_EQ(json["hyperparameters"]["micro_batch_tokens"], tokens);
  std::cout << "at most " << most << " bytes of tensors, at least " << least << "; with "
            << (least + most) / 2 << " a micro-batch of " << tokens << " tokens" << std::endl;

  // What was recorded makes the run again, without a shortage this time.
  memory_.LimitTo(0);
  const auto again = Run("again", {{"micro_batch_tokens", tokens}});
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_FALSE(memory_.failed());
  EXPECT_EQ(again->run.hyperparameters, result->run.hyperparameters);
}

TEST_F(UnlearnShortOfMemory, WhatNeverFitsLeavesNothing) {
  const int64_t least = Peak("least", {{"micro_batch_tokens", 14}});
  std::filesystem::remove_all(folder_ / "least");
  for (const double share : {0.2, 0.5, 0.8, 0.9, 0.99}) {
    memory_.LimitTo(static_cast<int64_t>(share * static_cast<double>(least)));
    const auto result = Run("short");
    if (result.ok() && share > 0.5) {  // measuring, too, goes on with fewer sequences at a time
      std::filesystem::remove_all(folder_ / "short");
      continue;
    }
    EXPECT_EQ(result.status().code(), absl::StatusCode::kResourceExhausted) << share;
    EXPECT_EQ(ErrorReason(result.status()), "OUT_OF_MEMORY") << share;
    EXPECT_TRUE(std::filesystem::is_empty(folder_)) << share;
  }
}

}  // namespace
}  // namespace lethe
