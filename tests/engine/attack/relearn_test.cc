// Lessons, the step size that the base stands, and what comes back first.
#include "engine/attack/relearn.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/loss/sequence_loss.h"
#include "engine/model/decoder_io.h"
#include "engine/unlearn.h"
#include "tests/engine/random_models.h"
#include "tests/engine/unlearn/tiny_people.h"
#include "tests/support/temp_folder.h"

namespace lethe {
namespace {

AttackRequest Request() {
  return {.base_folder = Tiny().model,
          .candidate_folder = Tiny().model,
          .forgotten = Tiny().forget,
          .control = Tiny().holdout,
          .texts = {{"control", Tiny().holdout}, {"retain", Tiny().retain}},
          .seed = 3};
}

TEST(PlanRelearning, HalvesAreAttackedWhereTheyWereNotTaught) {
  const AttackRequest request = Request();
  const RelearnPlan plan = PlanRelearning(Relearned::kHalf, request);
  ASSERT_EQ(plan.lessons.size(), 2U);
  std::vector<size_t> forgotten, control;
  for (const Lesson& lesson : plan.lessons) {
    for (const size_t i : lesson.aim.forgotten) {
      EXPECT_EQ(std::count(lesson.taught.begin(), lesson.taught.end(), request.forgotten[i]), 0);
      forgotten.push_back(i);
    }
    for (const size_t i : lesson.aim.control) control.push_back(i);
    EXPECT_EQ(lesson.taught.size() + lesson.aim.forgotten.size(), 3U);
    EXPECT_EQ(lesson.aim.control.size(), 20U);
  }
  std::sort(forgotten.begin(), forgotten.end());
  std::sort(control.begin(), control.end());
  EXPECT_EQ(forgotten, WholeAim(request).forgotten);  // each once
  EXPECT_EQ(control, WholeAim(request).control);
  EXPECT_TRUE(plan.control_indexes.empty());

  AttackRequest one = Request();
  one.forgotten.resize(1);
  EXPECT_NE(PlanRelearning(Relearned::kHalf, one).not_applicable, "");
}

TEST(PlanRelearning, TheSameTextGoesWithAsManyControls) {
  const AttackRequest request = Request();
  const RelearnPlan plan = PlanRelearning(Relearned::kSame, request);
  ASSERT_EQ(plan.lessons.size(), 1U);
  EXPECT_EQ(plan.control_indexes, (std::vector<size_t>{0, 13, 26}));
  EXPECT_EQ(plan.lessons[0].aim.control, plan.control_indexes);
  const std::vector<Sequence> taught = {request.forgotten[0], request.control[0],
                                        request.forgotten[1], request.control[13],
                                        request.forgotten[2], request.control[26]};
  EXPECT_EQ(plan.lessons[0].taught, taught);
  EXPECT_EQ(plan.lessons[0].batch, 6U);
  AttackRequest few = Request();
  few.control.resize(2);
  EXPECT_TRUE(PlanRelearning(Relearned::kSame, few).control_indexes.empty());  // all there are
  EXPECT_EQ(PlanRelearning(Relearned::kSame, few).lessons[0].taught.size(), 5U);
}

TEST(PlanRelearning, OtherTextIsTakenWhereThereIsAny) {
  AttackRequest request = Request();
  const RelearnPlan related = PlanRelearning(Relearned::kRelated, request);
  ASSERT_EQ(related.lessons.size(), 1U);
  EXPECT_EQ(related.lessons[0].taught.size(), 400U);
  EXPECT_NE(related.lessons[0].taught, Tiny().retain);  // in an order of the seed
  EXPECT_TRUE(std::is_permutation(related.lessons[0].taught.begin(),
                                  related.lessons[0].taught.end(), Tiny().retain.begin(),
                                  [](const Sequence& a, const Sequence& b) { return a == b; }));
  EXPECT_EQ(related.lessons[0].batch, 4U);
  EXPECT_NE(PlanRelearning(Relearned::kUnrelated, request).not_applicable, "");
  request.texts.push_back({"news", {Tiny().holdout[0]}});
  EXPECT_EQ(PlanRelearning(Relearned::kUnrelated, request).lessons[0].taught.size(), 1U);
  request.texts.clear();
  EXPECT_NE(PlanRelearning(Relearned::kRelated, request).not_applicable, "");
}

// Kingma and Ba's algorithm written out, over autograd's gradients of the mean NLL.
TEST(Teach, IsAdamOnTheNextSequencesInTurn) {
  const Decoder start = RandomModel({.vocab = 64, .context = 64}, 3);
  const Lesson lesson = {.taught = {Tiny().retain.begin(), Tiny().retain.begin() + 5}, .batch = 2};
  constexpr double kRate = 1e-3;
  const Decoder pupil = start.Clone(), slow = start.Clone();
  std::vector<int> looked;
  std::vector<int64_t> tokens;
  const int stops[] = {1, 4};
  ASSERT_TRUE(Teach(
                  pupil, lesson, kRate, stops,
                  [&](int steps, int64_t count) {
                    looked.push_back(steps);
                    tokens.push_back(count);
                    return absl::OkStatus();
                  },
                  nullptr)
                  .ok());
  EXPECT_EQ(looked, (std::vector<int>{1, 4}));
  EXPECT_EQ(tokens, (std::vector<int64_t>{3 * 2 * 14, 3 * 3 * 2 * 14}));

  std::vector<at::Tensor> m, v;
  for (const at::Tensor& leaf : slow.Leaves()) {
    m.push_back(at::zeros_like(leaf).detach());
    v.push_back(at::zeros_like(leaf).detach());
  }
  for (int step = 1; step <= 4; ++step) {
    const size_t first = static_cast<size_t>(2 * (step - 1));
    const std::vector<Sequence> taken = {lesson.taught[first % 5], lesson.taught[(first + 1) % 5]};
    const auto batches = MakeBatches(slow, taken);
    ASSERT_EQ(batches->size(), 1U);
    ComputeTokenLosses(slow, batches->front()).nll.mean().backward();
    at::NoGradGuard no_grad;
    double squares = 0;
    for (const at::Tensor& leaf : slow.Leaves())
      squares += leaf.grad().square().sum().item<double>();
    const double clip = std::min(1.0, 1 / std::sqrt(squares));
    for (size_t i = 0; i < m.size(); ++i) {
      const at::Tensor g = slow.Leaves()[i].grad() * clip;
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.999 * v[i] + 0.001 * g * g;
      const at::Tensor mean = m[i] / (1 - std::pow(0.9, step));
      const at::Tensor variance = v[i] / (1 - std::pow(0.999, step));
      slow.Leaves()[i].sub_(kRate * mean / (variance.sqrt() + 1e-8));
    }
    slow.ZeroGradients();
  }
  // Where a gradient is as small as Adam's epsilon, its rounding shows: some 1e-5 of a step.
  for (size_t i = 0; i < m.size(); ++i) {
    EXPECT_TRUE(at::allclose(pupil.Leaves()[i], slow.Leaves()[i], 1e-4, 2e-6)) << i;
    EXPECT_FALSE(at::allclose(pupil.Leaves()[i], start.Leaves()[i], 1e-4, 2e-6)) << i;
  }
}

TEST(Teach, GivesTheSameBitsAgain) {
  const Decoder start = RandomModel({.vocab = 64, .context = 64}, 3);
  const Lesson lesson = PlanRelearning(Relearned::kRelated, Request()).lessons[0];
  const int stops[] = {5};
  const auto taught = [&] {
    const Decoder pupil = start.Clone();
    EXPECT_TRUE(
        Teach(
            pupil, lesson, 1e-3, stops, [](int, int64_t) { return absl::OkStatus(); }, nullptr)
            .ok());
    return pupil.Snapshot();
  };
  const auto once = taught(), again = taught();
  for (size_t i = 0; i < once.size(); ++i) EXPECT_TRUE(at::equal(once[i], again[i])) << i;
}

TEST(StepSizes, AreLargerForNarrowModels) {
  DecoderConfig config;
  config.hidden_size = 576;
  EXPECT_EQ(StepSizesFor(config).front(), 1e-4);
  config.hidden_size = 64;
  const std::vector<double> sizes = StepSizesFor(config);
  EXPECT_DOUBLE_EQ(sizes.front(), 8e-4);
  EXPECT_TRUE(std::is_sorted(sizes.rbegin(), sizes.rend()));
}

// The base keeps its memory under the chosen size and not under the next larger one, as its scores
// say.
TEST(ChooseStepSize, IsTheLargestThatTheBaseStands) {
  AttackRequest request = Request();
  request.plan = {{.attack = "loss"}};
  // Text that is far from what the model knows, so that learning it costs memory.
  SeededGenerator random(4);
  NamedText noise{"noise", {}};
  for (int i = 0; i < 40; ++i) {
    Sequence& s = noise.sequences.emplace_back();
    for (int t = 0; t < 20; ++t) s.ids.push_back(static_cast<int32_t>(random.Below(64)));
  }
  request.texts.push_back(noise);
  const auto audit = MakeAudit(request);
  ASSERT_TRUE(audit.ok()) << audit.status();
  const auto folder = CheckpointFolder::Open(Tiny().model);
  const auto base = Decoder::Load(*folder, Device{});
  const RelearnPlan plan = PlanRelearning(Relearned::kUnrelated, request);
  const int stops[] = {5, 20};
  const auto chosen = ChooseStepSize(*base, *audit, plan, stops, nullptr);
  ASSERT_TRUE(chosen.ok()) << chosen.status();
  ASSERT_GT(chosen->value, 0);
  EXPECT_GT(chosen->tokens, 3 * 20 * 8 * 20);
  const auto nll = [&](const Decoder& model) {
    const auto scores = ScoreSequences(model, request.forgotten, {.labels = Labels::kSensitive});
    double sum = 0;
    for (const SequenceScore& s : *scores) sum += s.MeanNll() / 3;
    return sum;
  };
  const double before = nll(*base);
  const auto worst_after = [&](double size) {
    const Decoder pupil = base->Clone();
    double worst = 0;
    EXPECT_TRUE(Teach(
                    pupil, plan.lessons[0], size, stops,
                    [&](int, int64_t) {
                      worst = std::max(worst, nll(pupil));
                      return absl::OkStatus();
                    },
                    nullptr)
                    .ok());
    return worst;
  };
  const std::vector<double> sizes = StepSizesFor(base->config());
  const auto place = std::find(sizes.begin(), sizes.end(), chosen->value);
  ASSERT_NE(place, sizes.end());
  ASSERT_NE(place, sizes.begin()) << "the noise must break the largest";
  const double allowed = before + std::max(0.05, 0.1 * before);
  EXPECT_LE(worst_after(*place), allowed);
  EXPECT_GT(worst_after(*(place - 1)), allowed);
}

AttackRequest Relearning(const std::filesystem::path& candidate) {
  AttackRequest request = Request();
  request.candidate_folder = candidate;
  for (const char* condition : {"relearned-same-1", "relearned-same-5", "relearned-same-20",
                                "relearned-half-5", "relearned-related-5"}) {
    request.plan.push_back({.attack = "loss", .condition = condition});
  }
  request.plan.push_back({.attack = "loss", .condition = "relearned-unrelated-1"});
  return request;
}

double Mean(const std::vector<double>& values) {
  double sum = 0;
  for (const double v : values) sum += v;
  return sum / static_cast<double>(values.size());
}

TEST(RunAttacks, AfterRelearning) {
  TempFolder folder;
  const auto unlearned = Unlearn({.base_folder = Tiny().model,
                                  .out_folder = folder.path() / "candidate",
                                  .forget = Tiny().forget,
                                  .retain = Tiny().retain,
                                  .thresholds = Tiny().thresholds,
                                  .seed = 4});
  ASSERT_TRUE(unlearned.ok()) << unlearned.status();
  const AttackRequest request = Relearning(folder.path() / "candidate");
  const auto report = RunAttacks(request);
  ASSERT_TRUE(report.ok()) << report.status();
  ASSERT_EQ(report->attacks.size(), 5U);
  ASSERT_EQ(report->left_out.size(), 1U);
  EXPECT_EQ(report->left_out[0].condition, "relearned-unrelated-1");
  EXPECT_EQ(report->left_out[0].reason, "there is no other text to teach");
  for (const AttackOutcome& a : report->attacks) {
    SCOPED_TRACE(a.condition);
    const bool same = a.condition.starts_with("relearned-same");
    EXPECT_EQ(a.forgotten.before.size(), 3U);
    EXPECT_EQ(a.forgotten.after.size(), 3U);
    EXPECT_EQ(a.control_indexes.size(), same ? 3U : 0U);
    EXPECT_EQ(a.control.before.size(), same ? 3U : 40U);
    EXPECT_EQ(a.control.after.size(), same ? 3U : 40U);
    EXPECT_GT(a.relearn_step_size, 0);
    EXPECT_EQ(a.reach, AttackReach::kDeeper);
    EXPECT_GT(a.forward_tokens, 0);
    // The base knows the text in every condition: its control is far below.
    EXPECT_GT(Mean(a.forgotten.before), Mean(a.control.before) + 1);
  }
  // Taught text gets likelier with each stop.
  EXPECT_LT(Mean(report->attacks[0].forgotten.after), Mean(report->attacks[1].forgotten.after));
  EXPECT_LT(Mean(report->attacks[1].forgotten.after), Mean(report->attacks[2].forgotten.after));
  EXPECT_LT(Mean(report->attacks[1].control.after), Mean(report->attacks[2].control.after));

  const auto again = RunAttacks(request);
  ASSERT_TRUE(again.ok());
  for (size_t i = 0; i < report->attacks.size(); ++i) {
    EXPECT_EQ(report->attacks[i].forgotten.after, again->attacks[i].forgotten.after);
    EXPECT_EQ(report->attacks[i].control.after, again->attacks[i].control.after);
    EXPECT_EQ(report->attacks[i].forward_tokens, again->attacks[i].forward_tokens);
  }
}

}  // namespace
}  // namespace lethe
