// The losses of gradient ascent against values worked out by hand.
#include "engine/unlearn/gradient_ascent.h"

#include <ATen/ops/tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace lethe {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

at::Tensor Vector(const std::vector<float>& values) { return at::tensor(values); }

struct LossAndGrad {
  double loss;
  std::vector<float> grad;
};

template <typename Loss>
LossAndGrad Take(const std::vector<float>& nll, Loss loss_of) {
  at::Tensor x = Vector(nll).requires_grad_(true);
  const at::Tensor loss = loss_of(x);
  loss.backward();
  const at::Tensor g = x.grad().contiguous();
  return {loss.item<double>(),
          std::vector<float>(g.data_ptr<float>(), g.data_ptr<float>() + g.numel())};
}

// nll (1, 2, 6) of 3 labelled tokens: L = -9/3; each token is pushed by 1/3.
TEST(AscentLoss, ByHand) {
  const auto got = Take({1, 2, 6}, [](const at::Tensor& x) { return AscentLoss(x, 3); });
  EXPECT_FLOAT_EQ(got.loss, -3.0);
  EXPECT_THAT(got.grad, testing::Each(testing::FloatEq(-1.0F / 3)));
}

// Micro-batches: the parts of (1, 2) and (6) add up to the loss of the whole when the count is that
// of the step.
TEST(AscentLoss, MicroBatchesAddUp) {
  const auto a = Take({1, 2}, [](const at::Tensor& x) { return AscentLoss(x, 3); });
  const auto b = Take({6}, [](const at::Tensor& x) { return AscentLoss(x, 3); });
  EXPECT_FLOAT_EQ(a.loss + b.loss, -3.0);
}

// Target 3, three sequences at 1, 3, 4: only the first is short, by 2, and is pushed.  L = 2 / 3.
TEST(CalibratedAscentLoss, ByHand) {
  const auto got = Take({1, 3, 4}, [](const at::Tensor& x) {
    return CalibratedAscentLoss(x, Vector({3, 3, 3}), 3);
  });
  EXPECT_FLOAT_EQ(got.loss, 2.0F / 3);
  EXPECT_FLOAT_EQ(got.grad[0], -1.0F / 3);
  EXPECT_FLOAT_EQ(got.grad[2], 0);
}

TEST(CalibratedAscentLoss, NoTargetGivesNothing) {
  const auto got = Take({0, 100}, [](const at::Tensor& x) {
    return CalibratedAscentLoss(x, Vector({-kInf, -kInf}), 2);
  });
  EXPECT_FLOAT_EQ(got.loss, 0);
  EXPECT_THAT(got.grad, testing::Each(0.0F));
}

// Ceilings 5, 5, none; steep 2: at 4 nothing, at 8 it is 2 * 3^2, shared among three.  dL/dnll = 2
// s (nll - c) / 3.
TEST(LeadBackLoss, ByHand) {
  const auto got = Take({4, 8, 99}, [](const at::Tensor& x) {
    return LeadBackLoss(x, Vector({5, 5, kInf}), Vector({2, 2, 0}), 3);
  });
  EXPECT_FLOAT_EQ(got.loss, 6);
  EXPECT_FLOAT_EQ(got.grad[0], 0);
  EXPECT_FLOAT_EQ(got.grad[1], 4);
  EXPECT_FLOAT_EQ(got.grad[2], 0);
}

// nll (1, 4) against (2, 4) of 2 tokens: L = (1 + 0) / (2 * 2); dL/dnll = (nll - ref) / N = (-1/2,
// 0).
TEST(HoldLoss, ByHand) {
  const auto got = Take({1, 4}, [](const at::Tensor& x) { return HoldLoss(x, Vector({2, 4}), 2); });
  EXPECT_FLOAT_EQ(got.loss, 0.25);
  EXPECT_FLOAT_EQ(got.grad[0], -0.5);
  EXPECT_FLOAT_EQ(got.grad[1], 0);
}

}  // namespace
}  // namespace lethe
