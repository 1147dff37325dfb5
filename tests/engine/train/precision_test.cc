// bf16 beside fp32: the same losses and gradients up to rounding; fp32 gradients; copies of the
// weights as new as the weights; recomputation bit for bit; updates too small for bf16.
#include "engine/precision.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>

#include "engine/cost/tensor_memory.h"
#include "engine/loss/sequence_loss.h"
#include "engine/train/adam.h"
#include "engine/train/rounded_adam.h"
#include "tests/engine/random_families.h"
#include "tests/engine/random_models.h"

namespace lethe {
namespace {

std::vector<Sequence> Texts(int64_t vocab) {
  std::mt19937_64 random(7);
  std::vector<Sequence> texts;
  for (const int64_t tokens : {20, 33, 40})
    texts.push_back({.ids = RandomIds(random, tokens, vocab)});
  return texts;
}

// The mean loss a token; gradients are on the leaves.
double Backward(const Decoder& model) {
  model.ZeroGradients();
  const auto batches = MakeBatches(model, Texts(model.config().vocab_size));
  if (!batches.ok()) throw std::runtime_error(batches.status().ToString());
  const at::Tensor loss = ComputeTokenLosses(model, batches->front()).nll.mean();
  loss.backward();
  return loss.item<double>();
}

std::vector<at::Tensor> Gradients(const Decoder& model) {
  std::vector<at::Tensor> gradients;
  for (const at::Tensor& leaf : model.Leaves()) gradients.push_back(leaf.grad().clone());
  return gradients;
}

double Cosine(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.reshape({-1}).to(at::kDouble), y = b.reshape({-1}).to(at::kDouble);
  return (at::dot(x, y) / (x.norm() * y.norm())).item<double>();
}

// With moderate weights: the wide ones of the other tests make a network that doubles each rounding
// a layer.
std::vector<FamilyCase> Families() {
  return FamilyCases(50, {{"initializer_range", 0.1}, {"init_std", 0.1}});
}

TEST(Bf16, LossAndGradientsOfEveryFamilyAreThoseOfFp32) {
  for (const FamilyCase& c : Families()) {
    SCOPED_TRACE(c.name);
    const Decoder model = RandomDecoder(c.config, 5);
    const double loss = Backward(model);
    const std::vector<at::Tensor> exact = Gradients(model);
    const double rounded = Backward(model.In(Precision::kBf16));
    EXPECT_NE(rounded, loss);
    EXPECT_NEAR(rounded, loss, 0.01 * loss);  // a bf16 has a step of 2^-8
    for (size_t i = 0; i < exact.size(); ++i) {
      const at::Tensor gradient = model.Leaves()[i].grad();
      EXPECT_EQ(gradient.scalar_type(), at::kFloat);
      if (exact[i].abs().max().item<double>() < 1e-6) continue;  // nothing but rounding
      EXPECT_GE(Cosine(gradient, exact[i]), 0.98) << "leaf " << i;
    }
  }
}

TEST(Bf16, ScoringStaysInFp32) {
  const Decoder model = RandomModel({}, 1);
  const auto texts = Texts(model.config().vocab_size);
  const auto before = ScoreSequences(model, texts).value();
  Backward(model.In(Precision::kBf16));
  const auto after = ScoreSequences(model, texts).value();
  for (size_t i = 0; i < before.size(); ++i) EXPECT_EQ(before[i].nll, after[i].nll);
}

TEST(Bf16, CopiesFollowAStepAndARestore) {
  const Decoder model = RandomModel({}, 1), training = model.In(Precision::kBf16);
  const auto fresh = [&] { return Backward(model.In(Precision::kBf16)); };
  const std::vector<at::Tensor> weights = model.Snapshot();
  const double first = Backward(training);
  Adam adam(model.Leaves(), {});
  adam.Step(0.05);
  const double second = Backward(training);
  EXPECT_NE(second, first);
  EXPECT_EQ(second, fresh());
  model.Restore(weights);
  EXPECT_EQ(Backward(training), first);
}

TEST(Recompute, GivesTheSameGradientsBitForBit) {
  for (const FamilyCase& c : Families()) {
    SCOPED_TRACE(c.name);
    for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
      const Decoder model = RandomDecoder(c.config, 5), training = model.In(precision);
      const double loss = Backward(training);
      const std::vector<at::Tensor> wanted = Gradients(model);
      EXPECT_EQ(Backward(training.Recomputing()), loss);
      const std::vector<at::Tensor> got = Gradients(model);
      for (size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(at::equal(got[i], wanted[i])) << i;
    }
  }
}

// An update of 5e-5 of a weight around 1, where neighbours of bf16 lie 2^-8 and 2^-7 apart.
class SmallUpdates : public testing::Test {
 protected:
  static constexpr double kRate = 5e-5;
  static constexpr int kSteps = 20;
  static constexpr int64_t kCount = 1 << 18;

  // Adam moves each weight by its rate while the gradient is constant.
  static at::Tensor Moved(uint64_t seed) {
    const at::Tensor weight = at::full({512, kCount / 512}, 1.0, at::kBFloat16);
    weight.requires_grad_(true);
    Adam adam({weight}, {.seed = seed});
    for (int step = 0; step < kSteps; ++step) {
      weight.mutable_grad() = at::full_like(weight, -0.25).detach();
      adam.Step(kRate);
    }
    return weight.detach();
  }
};

TEST_F(SmallUpdates, AreLostByRoundingToTheNearest) {
  at::Tensor weight = at::ones({kCount}, at::kBFloat16);
  for (int step = 0; step < kSteps; ++step) {
    weight = (weight.to(at::kFloat) + kRate).to(at::kBFloat16);
  }
  EXPECT_TRUE(at::equal(weight, at::ones({kCount}, at::kBFloat16)));
}

TEST_F(SmallUpdates, ArriveInTheMeanByStochasticRounding) {
  const at::Tensor moved = Moved(3).to(at::kDouble);
  const double error = moved.std().item<double>() / std::sqrt(static_cast<double>(kCount));
  EXPECT_GT(error, 0);
  EXPECT_NEAR(moved.mean().item<double>(), 1 + kSteps * kRate, 4 * error);
}

TEST_F(SmallUpdates, AreTheSameAgainOnAnyNumberOfThreads) {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const at::Tensor one = Moved(3);
  at::set_num_threads(2);
  const at::Tensor two = Moved(3), other = Moved(4);
  at::set_num_threads(threads);
  EXPECT_TRUE(at::equal(one, two));
  EXPECT_FALSE(at::equal(one, other));
}

// The second moment forgets a thousandth of itself a step, a quarter of what would move a bf16 that
// is rounded to the nearest.
TEST(Bf16Pure, MomentsForgetAsThoseOfFp32) {
  constexpr int64_t kNumbers = 1 << 14;
  constexpr int kSteps = 400;
  const double wanted = std::pow(0.999, kSteps);
  at::Tensor nearest = at::ones({1}, at::kBFloat16);
  for (int step = 0; step < kSteps; ++step) {
    nearest = (nearest.to(at::kFloat) * 0.999).to(at::kBFloat16);
  }
  EXPECT_EQ(nearest.item<double>(), 1);

  const auto bf16 = at::TensorOptions(at::kBFloat16);
  const auto leaf = [&] {
    return RoundedLeaf{at::zeros({kNumbers}, bf16), at::zeros({kNumbers}, bf16),
                       at::ones({kNumbers}, bf16), at::ones({kNumbers}, bf16)};
  };
  const auto expect = [&](const RoundedLeaf& stepped) {
    const at::Tensor second = stepped.second.to(at::kDouble);
    const double spread = second.std().item<double>();
    EXPECT_NEAR(second.mean().item<double>(), wanted, 5 * spread / std::sqrt(kNumbers));
    EXPECT_LE(spread, 0.05 * wanted);  // what one weight's step size is off by: half of it
    EXPECT_LE(stepped.first.abs().max().item<double>(), 1e-12);  // 0.9^400
  };
  const RoundedLeaf on_host = leaf(), on_device = leaf();
  auto random = at::globalContext().defaultGenerator(at::kCPU).clone();
  const auto number = [](double value) { return at::full({}, value, at::kFloat); };
  for (int step = 1; step <= kSteps; ++step) {
    StepRoundedLeaf(on_host, {}, 1e-3, step, static_cast<uint64_t>(step) << 40);
    StepRoundedLeafOnDevice(
        on_device, {}, {.rate = number(1e-3), .step = number(step), .stays = number(0)}, random);
  }
  expect(on_host);
  expect(on_device);
  EXPECT_NEAR(on_host.weight.to(at::kDouble).mean().item<double>(),
              on_device.weight.to(at::kDouble).mean().item<double>(), 1e-5);
}

// Weight, gradient and two moments: eight bytes. What Adam takes beside them is bounded by a slice.
TEST(Bf16Pure, TakesEightBytesAWeight) {
  RandomShape shape{.vocab = 500, .hidden = 96, .layers = 3, .heads = 4, .kv_heads = 4};
  shape.head_dim = 24;
  shape.mlp = 300;
  Decoder model = RandomModel(shape, 1);
  const Decoder training = ForTraining(model, Precision::kBf16Pure, /*recompute=*/true);
  double weights = 0, largest = 0;
  for (const at::Tensor& leaf : model.Leaves()) {
    weights += static_cast<double>(leaf.nbytes());
    largest = std::max(largest, static_cast<double>(leaf.numel()));
  }
  const auto parameters = static_cast<double>(model.ParameterCount());
  EXPECT_NEAR(weights, 2 * parameters, 0.02 * parameters);  // norms are fp32
  const TensorMemory taken;
  Backward(training);
  Adam adam(model.Leaves(), {});
  EXPECT_NEAR(static_cast<double>(taken.bytes()), 6 * parameters, 0.06 * parameters);
  const TensorMemory stepping;
  const at::Tensor rate = at::full({}, 1e-3, at::kFloat);
  adam.StepOnDevice(adam.NormOnDevice(), 1, rate);
  EXPECT_LE(static_cast<double>(stepping.peak_bytes()), 8 * 4 * largest + 10'000);
}

TEST(Bf16Pure, TrainsWithoutMasters) {
  RandomShape shape;
  shape.tied = true;
  Decoder model = RandomModel(shape, 1);
  const Decoder training = ForTraining(model, Precision::kBf16Pure, /*recompute=*/false);
  Adam adam(model.Leaves(), {});
  const double first = Backward(training);
  double last = first;
  for (int step = 0; step < 20; ++step) {
    adam.Step(0.01);
    last = Backward(training);
  }
  EXPECT_LT(last, 0.8 * first);
  EXPECT_EQ(model.OutputWeight().scalar_type(), at::kBFloat16);
  const auto scores = ScoreSequences(model, Texts(model.config().vocab_size)).value();
  EXPECT_TRUE(std::isfinite(scores[0].total_nll));
}

TEST(ChoosePrecision, BySizeAndMemory) {
  const PrecisionDevice gpu{.memory_bytes = 80e9, .computes_bf16 = true, .is_gpu = true};
  const PrecisionDevice cpu{.memory_bytes = 16e9, .computes_bf16 = true};
  EXPECT_EQ(AutomaticPrecision(260'000, gpu), Precision::kFp32);
  EXPECT_EQ(AutomaticPrecision(135'000'000, gpu), Precision::kBf16);
  EXPECT_EQ(AutomaticPrecision(135'000'000, cpu), Precision::kFp32);
  EXPECT_EQ(AutomaticPrecision(7'000'000'000, gpu), Precision::kBf16Pure);
  EXPECT_EQ(AutomaticPrecision(7'000'000'000, cpu), Precision::kBf16Pure);
  EXPECT_EQ(AutomaticPrecision(7'000'000'000, {.memory_bytes = 16e9}), Precision::kFp32);
  EXPECT_EQ(ChoosePrecision("bf16_pure", 1, Device{}).value(), Precision::kBf16Pure);
  EXPECT_EQ(ErrorReason(ChoosePrecision("fp8", 1, Device{}).status()), "BAD_PARAMETER");
}

}  // namespace
}  // namespace lethe
