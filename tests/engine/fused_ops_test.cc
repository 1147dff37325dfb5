// Our fp32 loops against the same formulas in ATen in double precision, values and gradients, over
// shapes that do not divide by 16.
#include "engine/model/fused_ops.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <vector>

#include "engine/model/attention.h"
#include "engine/model/cpu_kernels.h"
#include "engine/model/linear.h"
#include "tests/support/seeded_random.h"

namespace lethe {
namespace {

using Inputs = std::vector<at::Tensor>;

// Largest difference, relative to the largest value; NaN anywhere makes it NaN, and `<=` then
// fails.
double Gap(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.to(at::kDouble), y = b.to(at::kDouble);
  return ((x - y).abs().max() / y.abs().max().clamp_min(1e-3)).item<double>();
}

// Runs `op` in fp32 (our loops) and in double (ATen) and compares the result and each input's
// gradient.
void ExpectSame(const Inputs& inputs, const std::function<at::Tensor(const Inputs&)>& op,
                double tolerance = 2e-6) {
  Inputs single, twice;
  for (const at::Tensor& x : inputs) {
    single.push_back(x.detach().clone().requires_grad_(true));
    twice.push_back(x.detach().to(at::kDouble).requires_grad_(true));
  }
  // An operation may take over its input's memory: hand it a product, as a layer does.
  const auto run = [&](const Inputs& leaves) {
    Inputs handed;
    for (const at::Tensor& leaf : leaves) handed.push_back(leaf * 1.0);
    return op(handed);
  };
  const at::Tensor a = run(single), b = run(twice);
  EXPECT_EQ(a.scalar_type(), at::kFloat);
  EXPECT_EQ(b.scalar_type(), at::kDouble);
  EXPECT_LE(Gap(a, b), tolerance);
  const at::Tensor weights = at::randn(b.sizes(), at::kDouble);
  (a * weights.to(at::kFloat)).sum().backward();
  (b * weights).sum().backward();
  for (size_t i = 0; i < inputs.size(); ++i) {
    EXPECT_LE(Gap(single[i].grad(), twice[i].grad()), 2 * tolerance) << "gradient of input " << i;
  }
}

class FusedOps : public testing::Test {
 protected:
  void SetUp() override { at::manual_seed(1); }
};

TEST_F(FusedOps, RmsNorm) {
  for (const auto& [rows, width] :
       std::vector<std::pair<int, int>>{{1, 1}, {3, 5}, {7, 16}, {300, 48}, {2, 100}}) {
    SCOPED_TRACE(testing::Message() << rows << " x " << width);
    ExpectSame({at::randn({rows, width}) * 3, at::randn({width})},
               [](const Inputs& x) { return RmsNorm(x[0], x[1], 1e-5); });
  }
}

TEST_F(FusedOps, SwiGlu) {
  for (const auto& [rows, width] :
       std::vector<std::pair<int, int>>{{1, 1}, {3, 5}, {5, 16}, {300, 20}, {2, 172}}) {
    SCOPED_TRACE(testing::Message() << rows << " x " << width);
    ExpectSame({at::randn({rows, 2 * width}) * 4}, [](const Inputs& x) { return SwiGlu(x[0]); });
  }
}

TEST_F(FusedOps, LayerNorm) {
  for (const auto& [rows, width] :
       std::vector<std::pair<int, int>>{{1, 3}, {3, 5}, {7, 16}, {300, 48}, {2, 100}}) {
    SCOPED_TRACE(testing::Message() << rows << " x " << width);
    ExpectSame(
        {at::randn({rows, width}) * 3 + 2, at::randn({width}), at::randn({width})},
        [](const Inputs& x) { return LayerNorm(x[0], x[1], x[2], 1e-5); }, 4e-6);
  }
}

TEST_F(FusedOps, LayerNormWithoutWeights) {
  ExpectSame({at::randn({9, 21})},
             [](const Inputs& x) { return LayerNorm(x[0], at::Tensor(), at::Tensor(), 1e-5); });
}

// A mean of 1000 and a deviation of 1: the sum of squares less the square of the sum would lose it.
TEST_F(FusedOps, LayerNormFarFromZero) {
  ExpectSame(
      {at::randn({5, 64}) + 1000, at::randn({64}), at::randn({64})},
      [](const Inputs& x) { return LayerNorm(x[0], x[1], x[2], 1e-5); }, 2e-4);
}

TEST_F(FusedOps, GeluTanh) {
  for (const auto& [rows, width] :
       std::vector<std::pair<int, int>>{{1, 1}, {3, 5}, {5, 16}, {300, 20}, {2, 172}}) {
    SCOPED_TRACE(testing::Message() << rows << " x " << width);
    ExpectSame({at::randn({rows, width}) * 4}, [](const Inputs& x) { return GeluTanh(x[0]); });
  }
}

// Far out the exponential would overflow; gelu is x there, or 0.
TEST_F(FusedOps, GeluTanhOfLargeNumbers) {
  at::Tensor x = at::tensor({-1e4f, -40.0f, 0.0f, 40.0f, 1e4f}).unsqueeze(0).requires_grad_(true);
  const at::Tensor y = GeluTanh(x);
  EXPECT_LE((y - at::tensor({0.0f, 0.0f, 0.0f, 40.0f, 1e4f})).abs().max().item<double>(), 1e-30);
  y.sum().backward();
  const at::Tensor slope = at::tensor({0.0f, 0.0f, 0.5f, 1.0f, 1.0f});
  EXPECT_LE((x.grad() - slope).abs().max().item<double>(), 1e-6);
}

TEST_F(FusedOps, NormHeads) {
  for (const AttentionShape& shape :
       std::vector<AttentionShape>{{1, 1, 2}, {4, 2, 6}, {3, 3, 16}, {6, 2, 20}}) {
    SCOPED_TRACE(testing::Message() << "heads " << shape.heads << "/" << shape.kv_heads);
    const int64_t width = (shape.heads + 2 * shape.kv_heads) * shape.head_dim;
    ExpectSame(
        {at::randn({150, width}) * 3, at::randn({shape.head_dim}), at::randn({shape.head_dim})},
        [&](const Inputs& x) { return NormHeads(x[0], x[1], x[2], 1e-5, shape); }, 4e-6);
  }
}

struct Attention {
  int64_t batch, tokens;
  AttentionShape shape;
};

TEST_F(FusedOps, RotateAndAttend) {
  for (const Attention& c : std::vector<Attention>{{1, 1, {1, 1, 2}},
                                                   {2, 7, {4, 2, 6}},
                                                   {3, 8, {2, 2, 8}},
                                                   {2, 17, {8, 4, 8}},
                                                   {1, 33, {6, 2, 16}},
                                                   {2, 50, {4, 1, 20}},
                                                   {1, 130, {2, 1, 64}}}) {
    SCOPED_TRACE(testing::Message() << c.batch << " x " << c.tokens << ", heads " << c.shape.heads
                                    << "/" << c.shape.kv_heads << " of " << c.shape.head_dim);
    const at::Tensor angles =
        at::outer(at::arange(c.tokens + 3, at::kFloat), at::rand({c.shape.head_dim / 2}));
    const at::Tensor cos = angles.cos(), sin = angles.sin();
    const int64_t width = (c.shape.heads + 2 * c.shape.kv_heads) * c.shape.head_dim;
    ExpectSame(
        {at::randn({c.batch * c.tokens, width}) * 1.5},
        [&](const Inputs& x) { return RotateAndAttend(x[0], cos, sin, c.shape, c.batch); }, 5e-6);
  }
}

// Each token sees itself and the few before it; windows begin within sixteens and across them.
TEST_F(FusedOps, WindowedAttention) {
  for (const int64_t window : {1, 2, 5, 16, 17, 33, 49, 60}) {
    for (const AttentionShape& shape :
         std::vector<AttentionShape>{{4, 2, 6, 0, window}, {2, 2, 20, 1.0, window}}) {
      SCOPED_TRACE(testing::Message() << "window " << window << ", heads of " << shape.head_dim);
      const at::Tensor angles =
          at::outer(at::arange(50, at::kFloat), at::rand({shape.head_dim / 2}));
      const int64_t width = (shape.heads + 2 * shape.kv_heads) * shape.head_dim;
      ExpectSame(
          {at::randn({2 * 50, width}) * 0.8},
          [&](const Inputs& x) {
            return RotateAndAttend(x[0], angles.cos(), angles.sin(), shape, 2);
          },
          1e-5);
    }
  }
}

// By hand: with a window of one every token attends to itself alone.
TEST_F(FusedOps, AWindowOfOneGivesTheValues) {
  const at::Tensor none = at::empty({9, 0}), qkv = at::randn({9, 3 * 8});
  const at::Tensor out = RotateAndAttend(qkv.clone(), none, none, {1, 1, 8, 0, 1}, 1);
  EXPECT_LE((out - qkv.narrow(1, 16, 8)).abs().max().item<double>(), 1e-6);
}

// Of each head only the first values turn, or none.
TEST_F(FusedOps, PartialRotation) {
  for (const int64_t half : {0, 1, 4, 5}) {
    const at::Tensor angles = at::outer(at::arange(23, at::kFloat), at::rand({half}));
    const AttentionShape shape{4, 2, 14, 0.7};
    ExpectSame(
        {at::randn({2 * 23, (4 + 2 * 2) * 14})},
        [&](const Inputs& x) {
          return RotateAndAttend(x[0], angles.cos() * 1.3, angles.sin() * 1.3, shape, 2);
        },
        1e-5);
  }
}

// Scores of +-400: a softmax without its largest subtracted would overflow.
TEST_F(FusedOps, AttentionWithLargeScores) {
  const at::Tensor cos = at::ones({20, 4}), sin = at::zeros({20, 4});
  ExpectSame(
      {at::randn({20, 24}) * 20},
      [&](const Inputs& x) {
        return RotateAndAttend(x[0], cos, sin, {1, 1, 8}, 1);
      },
      1e-4);
}

TEST_F(FusedOps, NotANumberIsNotHidden) {
  at::Tensor x = at::randn({4, 20});
  x[2][17] = NAN;
  EXPECT_TRUE(RmsNorm(x, at::ones({20}), 1e-5).isnan()[2].any().item<bool>());
  EXPECT_TRUE(SwiGlu(x).isnan()[2].any().item<bool>());
  EXPECT_TRUE(GeluTanh(x).isnan()[2].any().item<bool>());
  EXPECT_TRUE(LayerNorm(x, at::ones({20}), at::zeros({20}), 1e-5).isnan()[2].any().item<bool>());
  float logits[3] = {1, NAN, 2};
  EXPECT_TRUE(std::isnan(cpu::Best().softmax_in_place(logits, 3, 0).nll));
}

TEST_F(FusedOps, ChoiceIsTheLowestOfEquals) {
  std::vector<float> logits(40, -1.0f);
  logits[37] = logits[20] = logits[39] = 2.0f;
  EXPECT_EQ(cpu::Best().top_two(logits.data(), 40).place, 20);
  EXPECT_EQ(cpu::Best().softmax_in_place(logits.data(), 40, 3).top.place, 20);
  const float one[] = {-INFINITY};
  EXPECT_EQ(cpu::Best().top_two(one, 1).place, 0);
}

// Against sorting, over widths that fill the lanes and that do not, with equals among the largest.
TEST_F(FusedOps, TopTwoEqualASort) {
  std::mt19937_64 random(TestSeed(8));
  const cpu::LoopsList all = cpu::AllForTest();
  for (int round = 0; round < 2000; ++round) {
    std::vector<float> numbers(1 + random() % 70);
    for (float& x : numbers) x = static_cast<float>(random() % 50) - 25;
    std::vector<float> sorted = numbers;
    sorted.push_back(-INFINITY);
    std::sort(sorted.begin(), sorted.end(), std::greater<>());
    const auto place = std::find(numbers.begin(), numbers.end(), sorted[0]) - numbers.begin();
    for (int level = 0; level < all.count; ++level) {
      std::vector<float> copy = numbers;
      const auto width = static_cast<int64_t>(numbers.size());
      const cpu::TopTwo tops[] = {all.loops[level]->top_two(copy.data(), width),
                                  all.loops[level]->softmax_in_place(copy.data(), width, 0).top};
      for (const cpu::TopTwo& top : tops) {
        ASSERT_EQ(top.place, place) << all.loops[level]->name;
        ASSERT_EQ(top.largest, sorted[0]) << all.loops[level]->name;
        ASSERT_EQ(top.second, sorted[1]) << all.loops[level]->name;
      }
    }
  }
}

// The product of a few rows, at every level, over widths that fill the registers and that do not.
TEST_F(FusedOps, FewRowsEqualAMatrixProduct) {
  at::NoGradGuard no_grad;
  const cpu::LoopsList all = cpu::AllForTest();
  for (int64_t rows = 1; rows <= 20; ++rows) {
    for (const int64_t inputs : {1, 16, 37, 96}) {
      const int64_t outputs = 1 + (rows * inputs) % 7;
      const at::Tensor x = at::randn({rows, inputs}), w = at::randn({outputs, inputs});
      const at::Tensor bias = rows % 2 ? at::randn({outputs}) : at::Tensor();
      const auto doubled = [](const at::Tensor& t) { return t.defined() ? t.to(at::kDouble) : t; };
      const at::Tensor want = at::linear(doubled(x), doubled(w), doubled(bias));
      EXPECT_LE(Gap(Linear(x, w, bias), want), 1e-5);
      for (int level = 0; level < all.count; ++level) {
        at::Tensor y = at::full({rows, outputs}, NAN);
        const cpu::FewRows product{.x = x.data_ptr<float>(),
                                   .weight = w.data_ptr<float>(),
                                   .bias = bias.defined() ? bias.data_ptr<float>() : nullptr,
                                   .y = y.data_ptr<float>(),
                                   .rows = rows,
                                   .inputs = inputs,
                                   .outputs = outputs};
        const int64_t part = outputs / 3;  // as two threads would
        all.loops[level]->multiply_few_rows(product, part, outputs - part);
        all.loops[level]->multiply_few_rows(product, 0, part);
        EXPECT_LE(Gap(y, want), 1e-5) << all.loops[level]->name << " " << rows << " " << inputs;
      }
    }
  }
}

// By hand: logits (0, ln 3), so probabilities 1/4 and 3/4.
TEST_F(FusedOps, SoftmaxByHand) {
  float logits[2] = {0, std::log(3.0f)};
  const cpu::Choice made = cpu::Best().softmax_in_place(logits, 2, 0);
  EXPECT_NEAR(made.nll, std::log(4.0), 1e-6);
  EXPECT_EQ(made.top.place, 1);
  EXPECT_NEAR(logits[0], 0.25, 1e-6);
  EXPECT_NEAR(logits[1], 0.75, 1e-6);
}

// The loops for plain x86-64, AVX2 and AVX-512 give the same numbers but for the order of sums.
TEST_F(FusedOps, LevelsAgree) {
  const cpu::LoopsList all = cpu::AllForTest();
  RecordProperty("levels", all.count);
  const int64_t T = 37, h = 12, H = 4, K = 2, group = 2, stride = (H + 2 * K) * h;
  const at::Tensor qkv = at::randn({T, stride}), grad = at::randn({T, H * h});
  const at::Tensor gate_up = at::randn({9, 2 * 21}) * 5, row = at::randn({301}) * 3;
  std::vector<std::vector<at::Tensor>> results;
  for (int level = 0; level < all.count; ++level) {
    const cpu::Loops& loops = *all.loops[level];
    at::Tensor out = at::zeros({T, H * h}), sums = at::zeros({K * group, T});
    at::Tensor grads = at::zeros_like(qkv), y = at::zeros({9, 21}), probabilities = row.clone();
    std::vector<float> scratch(cpu::BackwardScratch(T, h) + cpu::ForwardScratch(T, h));
    const float* x = qkv.data_ptr<float>();
    float* g = grads.data_ptr<float>();
    for (int64_t k = 0; k < K; ++k) {
      const int64_t q = k * group * h, key = (H + k) * h, value = (H + K + k) * h;
      const cpu::HeadGroup<float> head{.tokens = T,
                                       .head_dim = h,
                                       .group = group,
                                       .scale = 0.3f,
                                       .window = 19,
                                       .query = x + q,
                                       .key = x + key,
                                       .value = x + value,
                                       .stride = stride,
                                       .out = out.data_ptr<float>() + q,
                                       .out_stride = H * h,
                                       .log_sums = sums.data_ptr<float>() + k * group * T,
                                       .scratch = scratch.data()};
      loops.fp32.causal_attention(head);
      loops.fp32.causal_attention_backward(head, {.grad_out = grad.data_ptr<float>() + q,
                                                  .grad_query = g + q,
                                                  .grad_key = g + key,
                                                  .grad_value = g + value});
    }
    loops.fp32.swi_glu(gate_up.data_ptr<float>(), y.data_ptr<float>(), 9, 21);
    at::Tensor normed = at::zeros({9, 42}), moments = at::zeros({2, 9});
    at::Tensor sloped = at::zeros({9, 42}), summed = at::zeros({2, 42}), gelu = at::zeros({9, 42});
    loops.fp32.layer_norm(gate_up.data_ptr<float>(), row.data_ptr<float>(),
                          row.data_ptr<float>() + 42, 1e-5f, normed.data_ptr<float>(),
                          moments.data_ptr<float>(), moments.data_ptr<float>() + 9, 9, 42);
    loops.fp32.layer_norm_backward(grad.data_ptr<float>(), gate_up.data_ptr<float>(),
                                   row.data_ptr<float>(), moments.data_ptr<float>(),
                                   moments.data_ptr<float>() + 9, sloped.data_ptr<float>(),
                                   summed.data_ptr<float>(), summed.data_ptr<float>() + 42, 9, 42);
    loops.fp32.gelu_tanh(gate_up.data_ptr<float>(), gelu.data_ptr<float>(), 9 * 42);
    at::Tensor gelu_slope = at::zeros({9, 42});
    loops.fp32.gelu_tanh_backward(grad.data_ptr<float>(), gate_up.data_ptr<float>(),
                                  gelu_slope.data_ptr<float>(), 9 * 42);
    const cpu::Choice choice = loops.softmax_in_place(probabilities.data_ptr<float>(), 301, 7);
    results.push_back({out, sums, grads, y, probabilities, normed, sloped, summed, gelu, gelu_slope,
                       at::tensor({choice.nll, static_cast<float>(choice.top.place)})});
  }
  for (const auto& result : results) {
    for (size_t i = 0; i < result.size(); ++i) EXPECT_LE(Gap(result[i], results[0][i]), 1e-5) << i;
  }
}

}  // namespace
}  // namespace lethe
