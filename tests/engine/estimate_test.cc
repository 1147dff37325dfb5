// The estimate against sums made by hand, and what must hold for any: more work never takes less
// time, and no input makes a figure that cannot be.
#include "engine/estimate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <random>

namespace lethe {
namespace {

const ModelCosts kCosts = {.score_token_seconds = 1,
                           .train_token_seconds = 10,
                           .rollout_token_seconds = 2,
                           .generate_token_seconds = 3,
                           .step_seconds = 100,
                           .load_seconds = 5,
                           .save_seconds = 7,
                           .rollout_share = 0.5,
                           .weight_bytes = 1000,
                           .step_bytes = 7000,
                           .token_bytes = 50,
                           .evaluation_bytes = 300,
                           .step_measured = true};

// One text of 10 tokens is forgotten, two of 20 are kept, one of 20 was never seen.
Workload SmallWork() {
  const Sequence ten{.ids = std::vector<int32_t>(10)}, twenty{.ids = std::vector<int32_t>(20)};
  return {.forget = SizeOf(std::vector<Sequence>{ten}),
          .retain = SizeOf(std::vector<Sequence>{twenty, twenty}),
          .holdout = SizeOf(std::vector<Sequence>{twenty}),
          .parameters = {{"bounded", 1},
                         {"retain_weight", 80},
                         {"retain_batch", 16},
                         {"micro_batch_tokens", 4096}},
          .steps = {2, 3, 4}};
}

// A step: (10 pushed + 40 held) x 10, 100 for itself, and the judge reads 10 + 40 + 20.
constexpr double kStep = 500 + 100 + 70;

TEST(Estimate, UnlearningByHand) {
  const Estimate estimate = EstimateWork(kCosts, SmallWork());
  EXPECT_DOUBLE_EQ(estimate.step_seconds, kStep);
  // Load and save 12; retain, probes and forget read before the first step 40 + 60 + 10.
  const double ends = 12 + 110;
  // Measured: all read 70, EL reads 10 and rolls out 2 x .5 x 10^2/2 = 50 of unseen text, of which
  // known text needs none, a tenth or all.
  const double after = 70 + 10 + 50, asked = 10 + 50;
  EXPECT_DOUBLE_EQ(estimate.unlearn.low, .6 * (ends + 80 + after + 2 * kStep + asked));
  EXPECT_DOUBLE_EQ(estimate.unlearn.typical, ends + 85 + after + 3 * kStep + 2 * asked);
  EXPECT_DOUBLE_EQ(estimate.unlearn.high, 1.6 * (ends + 130 + after + 4 * kStep + 30 * asked));
  // Weights, what a step holds, and the larger micro-batch, of the 40 tokens held.
  EXPECT_DOUBLE_EQ(estimate.device_bytes, 1000 + 7000 + 40 * 50);
}

TEST(Estimate, PlainAscentHoldsNothingAndKeepsNoCopies) {
  Workload work = SmallWork();
  work.parameters = {{"bounded", 0}, {"retain_weight", 0}};
  const Estimate estimate = EstimateWork(kCosts, work);
  EXPECT_DOUBLE_EQ(estimate.step_seconds, 10 * 10 + 100 + 10);
  EXPECT_DOUBLE_EQ(estimate.device_bytes, 1000 + 3000 + 10 * 50);  // gradients and moments: 3 of 7
}

TEST(Estimate, VerificationByHand) {
  Workload work = SmallWork();
  // Two loads; forgotten and control 30, control 20 and retain 40, read for both models.
  const double base = 2 * 5 + 2 * (30 + 20 + 40);
  EXPECT_DOUBLE_EQ(EstimateWork(kCosts, work).verify.typical, base);
  // It reads the pass that gives the likelihoods, too.
  work.attacks = {{"memorisation_accuracy", {}}};
  EXPECT_DOUBLE_EQ(EstimateWork(kCosts, work).verify.typical, base);
  // The same of rounded models is a pass of its own.
  work.attacks.push_back({"loss", {}, "int4"});
  EXPECT_DOUBLE_EQ(EstimateWork(kCosts, work).verify.typical, base + 2 * 30);
  // 5 steps on the retain text, 40 tokens each, of both models and twice more of the base; there
  // the memory of the forgotten text is read before and at the end of the two choices.
  work.attacks = {{"loss", {}, "relearned-related-5"}};
  EXPECT_DOUBLE_EQ(EstimateWork(kCosts, work).verify.typical,
                   base + 2 * 30 + 4 * 5 * (40 * 10 + 100) + 3 * 10);
  // Two texts of 15 on the mean: 7.5 tokens are drawn 4 times, rounded up by 1.4, and the prefixes
  // are read; the chance of the suffix comes from the shared pass.
  work.attacks = {
      {"sampled_extraction", {{"samples", 4}, {"prefix_share", .5}, {"max_suffix_tokens", 64}}}};
  EXPECT_DOUBLE_EQ(EstimateWork(kCosts, work).verify.typical,
                   base + 2 * (2 * 7.5 + 3 * 4 * 2 * 7.5 * 1.4));
  // Control rolls out twice, the forgotten a tenth before and all of it after.
  work.attacks = {{"extraction_likelihood", {{"n", 10}}}};
  EXPECT_DOUBLE_EQ(EstimateWork(kCosts, work).verify.typical,
                   base + 2 * 30 + 2 * .5 * (1.1 * 100 / 2 + 2 * 400 / 2));
  work.attacks = {{"of a later version", {}}};
  EXPECT_DOUBLE_EQ(EstimateWork(kCosts, work).verify.typical, base);
}

TEST(Estimate, SpansAreWhatIsDrawnWhereAllHaveThem) {
  Workload work = SmallWork();
  work.attacks = {{"sampled_extraction", {{"samples", 4}, {"max_suffix_tokens", 64}}}};
  const double whole = EstimateWork(kCosts, work).verify.typical;
  work.forget.spans = work.forget.span_sequences = 1;
  work.forget.span_tokens = 2;
  EXPECT_DOUBLE_EQ(EstimateWork(kCosts, work).verify.typical, whole);  // control has none
  work.holdout.spans = work.holdout.span_sequences = 1;
  work.holdout.span_tokens = 3;
  const double read = 2 * 15, drawn = 4 * 1.4 * 5;
  EXPECT_DOUBLE_EQ(EstimateWork(kCosts, work).verify.typical,
                   2 * 5 + 2 * 90 + 2 * (read + 3 * drawn));
}

TEST(Estimate, ChunksStepOneAfterTheOther) {
  const PresetEntry preset{.name = "p", .what = "", .values = {}, .steps = {50, 100, 200, 0.5}};
  const ParameterValues at_once = {{"max_steps", 150}},
                        by_two = {{"max_steps", 150}, {"chunk_size", 2}};
  EXPECT_DOUBLE_EQ(ExpectedSteps(preset, at_once, 1, {}).typical, 100);
  EXPECT_DOUBLE_EQ(ExpectedSteps(preset, at_once, 1, {}).high, 150);  // max_steps
  EXPECT_DOUBLE_EQ(ExpectedSteps(preset, at_once, 4, {}).low, 100);   // 50 x sqrt(4)
  EXPECT_DOUBLE_EQ(ExpectedSteps(preset, at_once, 4, {}).typical, 150);
  EXPECT_DOUBLE_EQ(ExpectedSteps(preset, by_two, 4, {}).high, 300);  // of two chunks
}

TEST(Estimate, StepsComeFromPastRunsWhereThereAreAny) {
  const PresetEntry preset{.name = "p", .what = "", .values = {}, .steps = {50, 100, 400, 0.5}};
  // One run says as little of the next as the preset does.
  const Range one = ExpectedSteps(preset, {}, 1, std::vector<PastRun>{{60, 1}});
  EXPECT_DOUBLE_EQ(one.low, 30);
  EXPECT_DOUBLE_EQ(one.typical, 60);
  EXPECT_DOUBLE_EQ(one.high, 240);
  // Four: their middle, and what was seen, widened by the fourth root of the preset's range.
  const Range four =
      ExpectedSteps(preset, {}, 1, std::vector<PastRun>{{90, 1}, {60, 1}, {70, 1}, {80, 1}});
  EXPECT_DOUBLE_EQ(four.typical, 80);
  EXPECT_DOUBLE_EQ(four.low, 60);
  EXPECT_DOUBLE_EQ(four.high, 80 * std::pow(4, .25));
  // A run over four texts took 120; one of them takes half of that.
  EXPECT_DOUBLE_EQ(ExpectedSteps(preset, {}, 1, std::vector<PastRun>{{120, 4}}).typical, 60);
}

// Every figure of an estimate.
std::vector<double> Figures(const Estimate& e) {
  return {e.unlearn.low,    e.unlearn.typical, e.unlearn.high, e.verify.low,
          e.verify.typical, e.verify.high,     e.step_seconds, e.device_bytes};
}

TEST(Estimate, MoreNeverTakesLess) {
  std::mt19937_64 random(20261126);
  const auto number = [&](double most) {
    return std::uniform_real_distribution<double>(0, most)(random);
  };
  const std::vector<std::function<void(Workload&, ModelCosts&, double)>> more = {
      [](Workload& w, ModelCosts&, double x) {
        w.forget.tokens += x, w.forget.square_tokens += x * x;
      },
      [](Workload& w, ModelCosts&, double x) {
        w.retain.tokens += x, w.retain.square_tokens += x * x;
      },
      [](Workload& w, ModelCosts&, double x) {
        w.holdout.tokens += x, w.holdout.square_tokens += x * x;
      },
      [](Workload& w, ModelCosts&, double x) { w.others.tokens += x; },
      [](Workload& w, ModelCosts&, double x) {
        w.steps += {x, x, x};
      },
      [](Workload& w, ModelCosts&, double) { w.attacks.push_back(DefaultAttacks().front()); },
      [](Workload& w, ModelCosts&, double x) {
        w.attacks.push_back({"loss", {}, "relearned-same-" + std::to_string(1 + int(x) % 1000)});
      },
      [](Workload&, ModelCosts& c, double x) { c.score_token_seconds += x; },
      [](Workload&, ModelCosts& c, double x) { c.train_token_seconds += x; },
      [](Workload&, ModelCosts& c, double x) { c.rollout_token_seconds += x; },
      [](Workload&, ModelCosts& c, double x) { c.generate_token_seconds += x; },
      [](Workload&, ModelCosts& c, double x) { c.step_seconds += x; },
      [](Workload&, ModelCosts& c, double x) { c.step_bytes += x; },
      [](Workload&, ModelCosts& c, double x) { c.token_bytes += x; }};
  for (int round = 0; round < 1000; ++round) {
    Workload work{.parameters = {{"bounded", std::floor(number(2))},
                                 {"retain_weight", std::floor(number(2))},
                                 {"chunk_size", std::floor(number(4))}},
                  .steps = {1, 2, 3},
                  .attacks = DefaultAttacks()};
    for (TextSize* size : {&work.forget, &work.retain, &work.holdout, &work.others}) {
      size->sequences = std::ceil(number(600));
      size->tokens = size->sequences * (2 + number(400));
      size->square_tokens = size->tokens * size->tokens / size->sequences;
    }
    ModelCosts costs = kCosts;
    const std::vector<double> before = Figures(EstimateWork(costs, work));
    const auto& change = more[static_cast<size_t>(round) % more.size()];
    change(work, costs, number(1000));
    const std::vector<double> after = Figures(EstimateWork(costs, work));
    for (size_t i = 0; i < before.size(); ++i) {
      EXPECT_GE(after[i], before[i] * (1 - 1e-12)) << "round " << round << ", figure " << i;
    }
  }
}

TEST(Estimate, LowIsNotAboveTypicalNorTypicalAboveHigh) {
  const Estimate e = EstimateWork(kCosts, SmallWork());
  EXPECT_LE(e.unlearn.low, e.unlearn.typical);
  EXPECT_LE(e.unlearn.typical, e.unlearn.high);
  EXPECT_LE(e.verify.low, e.verify.typical);
  EXPECT_LE(e.verify.typical, e.verify.high);
}

TEST(Estimate, NothingAndTooMuchAreFiguresToo) {
  for (const double figure : Figures(EstimateWork(kCosts, {}))) {
    EXPECT_TRUE(figure >= 0 && std::isfinite(figure)) << figure;
  }
  for (const double huge : {1e18, 1e300, std::numeric_limits<double>::max()}) {
    Workload work = SmallWork();
    for (TextSize* size : {&work.forget, &work.retain, &work.holdout}) {
      size->tokens = size->square_tokens = huge;
    }
    work.attacks = DefaultAttacks();
    const Estimate estimate = EstimateWork(kCosts, work);
    EXPECT_DOUBLE_EQ(estimate.unlearn.typical, kLongest);
    for (const double figure : Figures(estimate)) EXPECT_LE(figure, 1e18);
  }
}

TEST(Estimate, CostsThatCannotBeAreNotUsable) {
  EXPECT_TRUE(Usable(kCosts));
  EXPECT_FALSE(Usable({}));  // a model of an older version
  const double kNan = std::numeric_limits<double>::quiet_NaN();
  for (const double bad : {kNan, -1.0, std::numeric_limits<double>::infinity()}) {
    for (double ModelCosts::*field :
         {&ModelCosts::score_token_seconds, &ModelCosts::train_token_seconds,
          &ModelCosts::rollout_token_seconds, &ModelCosts::generate_token_seconds,
          &ModelCosts::step_seconds, &ModelCosts::load_seconds, &ModelCosts::save_seconds,
          &ModelCosts::rollout_share, &ModelCosts::weight_bytes, &ModelCosts::step_bytes,
          &ModelCosts::token_bytes, &ModelCosts::evaluation_bytes, &ModelCosts::memory_bytes}) {
      ModelCosts costs = kCosts;
      costs.*field = bad;
      EXPECT_FALSE(Usable(costs)) << bad;
    }
  }
}

TEST(Estimate, SizesAreCounted) {
  const std::vector<Sequence> texts = {{.ids = {1, 2, 3}},
                                       {.ids = {1, 2, 3, 4}, .sensitive = {{1, 2}, {3, 4}}}};
  const TextSize size = SizeOf(texts);
  EXPECT_EQ(size.sequences, 2);
  EXPECT_EQ(size.tokens, 7);
  EXPECT_EQ(size.square_tokens, 9 + 16);
  EXPECT_EQ(size.spans, 2);
  EXPECT_EQ(size.span_tokens, 2);
  EXPECT_EQ(size.span_sequences, 1);
  EXPECT_EQ(AtMost(size, 5).tokens, 7);
  EXPECT_EQ(AtMost(size, 1).tokens, 3.5);
  EXPECT_EQ(AtMost({}, 1).tokens, 0);
}

}  // namespace
}  // namespace lethe
