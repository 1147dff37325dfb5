// The whole way with a decoder of every family: trained from its config.json, prepared, unlearned,
// attacked, continued. What each computes is held to transformers elsewhere; here every caller of
// the model meets every family.
#include <gtest/gtest.h>

#include "engine/attack.h"
#include "engine/generate.h"
#include "engine/prepare.h"
#include "engine/train.h"
#include "engine/unlearn.h"
#include "tests/engine/random_families.h"
#include "tests/engine/unlearn/tiny_people.h"

namespace lethe {
namespace {

std::vector<FamilyCase> Small() {
  return FamilyCases(64, {{"initializer_range", 0.05}, {"init_std", 0.05}});
}

class EveryFamily : public testing::TestWithParam<FamilyCase> {};

TEST_P(EveryFamily, GoesTheWholeWay) {
  const auto folder = FreshFolder();
  SeededGenerator random(7);
  const auto people = [&](int count) {
    std::vector<Sequence> list;
    for (int i = 0; i < count; ++i) list.push_back(TinyPerson(random));
    return list;
  };
  const std::vector<Sequence> forget = people(2), retain = people(40), holdout = people(16);
  TrainRequest training{.config_json = GetParam().config_json,
                        .out_folder = folder / "model",
                        .sequences = retain,
                        .steps = 60,
                        .batch_tokens = 256,
                        .learning_rate = 5e-3,
                        .seed = 5,
                        .device = {.threads = 1}};
  for (int i = 0; i < 20; ++i) {
    training.sequences.insert(training.sequences.end(), forget.begin(), forget.end());
  }
  const auto trained = Train(training);
  ASSERT_TRUE(trained.ok()) << trained.status();
  EXPECT_LT(trained->last_loss, 0.7 * trained->first_loss);

  const auto prepared =
      PrepareModel({.model_folder = folder / "model", .holdout = holdout, .el_n = {3}});
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  EXPECT_EQ(prepared->facts.parameters, trained->parameters);

  const auto unlearned = Unlearn({.base_folder = folder / "model",
                                  .out_folder = folder / "out",
                                  .forget = forget,
                                  .retain = retain,
                                  .watch = holdout,
                                  .overrides = {{"max_steps", 3}},
                                  .thresholds = prepared->thresholds,
                                  .seed = 3,
                                  .device = {.threads = 1}});
  ASSERT_TRUE(unlearned.ok()) << unlearned.status();
  for (size_t i = 0; i < forget.size(); ++i) {
    EXPECT_GT(unlearned->after[i].nll_per_token, unlearned->before[i].nll_per_token);
  }

  const auto attacked = RunAttacks({.base_folder = folder / "model",
                                    .candidate_folder = folder / "out",
                                    .forgotten = forget,
                                    .control = holdout,
                                    .texts = {{"retain", retain}},
                                    .plan = DefaultPlan(),
                                    .seed = 3,
                                    .device = {.threads = 1}});
  ASSERT_TRUE(attacked.ok()) << attacked.status();
  EXPECT_EQ(attacked->attacks.size() + attacked->left_out.size(), DefaultPlan().size());
  EXPECT_NEAR(attacked->utility[0].nll_after, unlearned->retain_nll_after, 1e-6);

  const auto said = Generate({.model_folder = folder / "out",
                              .prompts = {{3, 10}, {3, 11, 12}},
                              .max_new_tokens = 8,
                              .device = {.threads = 1}});
  ASSERT_TRUE(said.ok()) << said.status();
  EXPECT_EQ((*said)[1].size(), 8u);
}

INSTANTIATE_TEST_SUITE_P(Families, EveryFamily, testing::ValuesIn(Small()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace lethe
