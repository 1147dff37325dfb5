// What PrepareModel measures of a model's costs, on the tiny model.
#include "engine/cost/measure_costs.h"

#include <ATen/ops/empty.h>
#include <gtest/gtest.h>

#include "engine/cost/tensor_memory.h"
#include "engine/model/model_folder.h"
#include "tests/engine/unlearn/tiny_people.h"

namespace lethe {
namespace {

TEST(TensorMemory, CountsWhatIsTakenAndGivenBack) {
  const at::Tensor before = at::empty({1000});
  TensorMemory memory;
  EXPECT_EQ(memory.bytes(), 0);
  at::Tensor one = at::empty({1000}), two = at::empty({500});
  EXPECT_EQ(memory.bytes(), 6000);
  one.reset();
  EXPECT_EQ(memory.bytes(), 2000);
  EXPECT_EQ(memory.peak_bytes(), 6000);
}

PrepareRequest TinyRequest() {
  return {.model_folder = Tiny().model,
          .holdout = Tiny().holdout,
          .retain = Tiny().retain,
          .el_n = {3, 5}};
}

TEST(MeasureCosts, PrepareMeasuresAll) {
  const auto prepared = PrepareModel(TinyRequest());
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  const ModelCosts& costs = prepared->costs;
  EXPECT_TRUE(Usable(costs));
  EXPECT_TRUE(costs.step_measured);
  EXPECT_EQ(costs.weight_bytes, 4.0 * static_cast<double>(prepared->facts.parameters));
  // Gradient, two moments, weights and moments from before the step, the best weights: seven times
  // the weights, and Adam's counters.
  EXPECT_NEAR(costs.step_bytes / costs.weight_bytes, 7, 0.05);
  // Each token keeps at least its hidden state in both layers: 2 x 64 floats.
  EXPECT_GT(costs.token_bytes, 2 * 64 * 4);
  EXPECT_GT(costs.evaluation_bytes, 0);
  EXPECT_GT(costs.memory_bytes, costs.weight_bytes);
  EXPECT_GT(costs.load_seconds, 0);
  EXPECT_GT(costs.step_seconds, 0);
  EXPECT_GT(costs.rollout_share, 0);
  EXPECT_LE(costs.rollout_share, 1);
  // A token of a step is read, too; the factor is for a machine that is busy.
  EXPECT_GT(5 * costs.train_token_seconds, costs.score_token_seconds);
}

TEST(MeasureCosts, OnlyWhereItIsAsked) {
  PrepareRequest request = TinyRequest();
  request.measure_costs = false;
  const auto prepared = PrepareModel(request);
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  EXPECT_FALSE(Usable(prepared->costs));
}

// The rule that every step of it keeps: nothing is learnt.
TEST(MeasureCosts, LeavesTheWeightsAsTheyWere) {
  const auto loaded = ModelFolder::Load(Tiny().model, {});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const Decoder& model = loaded->model;
  const std::vector<at::Tensor> before = model.Snapshot();
  EvaluateResult evaluated;
  evaluated.sequences.resize(Tiny().holdout.size());
  // Of an evaluation that said nothing, every figure is still there.
  const auto costs = MeasureCosts(model, Tiny().holdout, evaluated, {});
  ASSERT_TRUE(costs.ok()) << costs.status();
  EXPECT_TRUE(Usable(*costs));
  EXPECT_TRUE(costs->step_measured);
  for (size_t i = 0; i < before.size(); ++i) {
    EXPECT_TRUE(model.Leaves()[i].equal(before[i]));
    EXPECT_FALSE(model.Leaves()[i].grad().defined());
  }
}

TEST(MeasureCosts, StopsWhenItsCallerSaysSo) {
  const auto loaded = ModelFolder::Load(Tiny().model, {});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EvaluateResult evaluated;
  evaluated.sequences.resize(Tiny().holdout.size());
  const auto stopped = MeasureCosts(loaded->model, Tiny().holdout, evaluated, {},
                                    [](const EngineProgress&) { return false; });
  EXPECT_EQ(ErrorReason(stopped.status()), "STOPPED");
}

}  // namespace
}  // namespace lethe
