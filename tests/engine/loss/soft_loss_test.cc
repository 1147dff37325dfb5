// The loss towards distributions: against PyTorch's own figures (soft_loss_golden.py), against
// autograd of the plain formula in float64, and what soft_loss.h says of the error of keeping a few
// entries.
#include "engine/loss/soft_loss.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "base/file.h"
#include "tests/engine/random_models.h"
#include "tests/support/seeded_random.h"

namespace lethe {
namespace {

using Json = nlohmann::json;

at::Tensor Numbers(const Json& json) {
  if (json[0].is_number()) return at::tensor(json.get<std::vector<double>>(), at::kDouble);
  std::vector<at::Tensor> rows;
  for (const Json& row : json) rows.push_back(Numbers(row));
  return at::stack(rows);
}

double Largest(const at::Tensor& difference) { return difference.abs().max().item<double>(); }

TEST(SoftLoss, GivesPyTorchsLossesAndGradients) {
  const Json golden = Json::parse(ReadFile(LETHE_SOFT_LOSS_GOLDEN).value());
  ASSERT_EQ(golden["cases"].size(), 4U);
  for (const Json& c : golden["cases"]) {
    SCOPED_TRACE(c["mode"]);
    SoftLabels labels = {.ids = at::empty({4, 0}, at::kLong),
                         .probabilities = Numbers(c["probabilities"]).to(at::kFloat),
                         .rest = Numbers(c["rest"]).to(at::kFloat)};
    if (!c["ids"].empty()) labels.ids = Numbers(c["ids"]).to(at::kLong);
    for (const int64_t bytes : {1, 1 << 20}) {   // row by row, all at once
      for (const int64_t kept : {0, 1 << 20}) {  // the slopes made again, remembered
        at::Tensor hidden = Numbers(c["hidden"]).to(at::kFloat).requires_grad_(true);
        at::Tensor weight = Numbers(c["weight"]).to(at::kFloat).requires_grad_(true);
        const at::Tensor loss =
            SoftOutputLoss(hidden, weight, labels, {.logit_bytes = bytes, .kept_bytes = kept});
        (loss * Numbers(c["slope"]).to(at::kFloat)).sum().backward();
        // fp32 sums of nine terms of up to 10 against float64.
        EXPECT_LE(Largest(loss - Numbers(c["loss"])), 3e-6);
        EXPECT_LE(Largest(hidden.grad() - Numbers(c["hidden_grad"])), 3e-6);
        EXPECT_LE(Largest(weight.grad() - Numbers(c["weight_grad"])), 3e-6);
      }
    }
  }
}

// A distribution over V, and what is kept of it.
struct Case {
  at::Tensor exact;  // (N,V) float64
  SoftLabels labels;
};
Case RandomCase(int64_t rows, int64_t vocabulary, int64_t k, double sharp) {
  Case made;
  made.exact = (sharp * at::randn({rows, vocabulary}, at::kDouble)).softmax(1);
  const auto [top, ids] = made.exact.topk(k, 1);
  made.labels = {.ids = ids,
                 .probabilities = top.to(at::kFloat),
                 .rest = (1 - top.sum(1)).clamp_min(0).to(at::kFloat)};
  return made;
}

SoftLabels Whole(const Case& c) {
  return {.ids = at::empty({c.exact.size(0), 0}, at::kLong),
          .probabilities = c.exact.to(at::kFloat),
          .rest = at::zeros({c.exact.size(0)})};
}

// The plain formula with nothing left out of it, in float64: losses and their gradients by autograd.
struct Naive {
  at::Tensor loss, hidden_grad, weight_grad;
};
Naive Exactly(const at::Tensor& h0, const at::Tensor& w0, const at::Tensor& q,
              const at::Tensor& slope) {
  at::Tensor h = h0.to(at::kDouble).requires_grad_(true);
  at::Tensor w = w0.to(at::kDouble).requires_grad_(true);
  const at::Tensor loss = -(q * at::mm(h, w.t()).log_softmax(1)).sum(1);
  (loss * slope).sum().backward();
  return {loss.detach(), h.grad(), w.grad()};
}

TEST(SoftLoss, TheExactModeIsTheCrossEntropyOfTheWholeDistribution) {
  at::manual_seed(TestSeed(3));
  for (const int64_t vocabulary : {2, 37, 1000}) {
    const Case c = RandomCase(50, vocabulary, 1, 2);
    const at::Tensor h0 = at::randn({50, 24}), w0 = at::randn({vocabulary, 24});
    const at::Tensor slope = at::randn({50}, at::kDouble);
    const Naive want = Exactly(h0, w0, c.exact, slope);
    for (const int64_t bytes : {int64_t{1}, int64_t{3 * 37 * 4}, int64_t{1} << 22}) {
      at::Tensor h = h0.clone().requires_grad_(true), w = w0.clone().requires_grad_(true);
      const at::Tensor loss = SoftOutputLoss(h, w, Whole(c), {.logit_bytes = bytes});
      (loss * slope.to(at::kFloat)).sum().backward();
      EXPECT_LE(Largest(loss - want.loss), 2e-5);
      EXPECT_LE(Largest(h.grad() - want.hidden_grad), 2e-5);
      EXPECT_LE(Largest(w.grad() - want.weight_grad), 1e-4);
    }
  }
}

// soft_loss.h, Error: the slopes of the exact loss and of the kept one are no further apart than
// 2 r in the sum over the vocabulary, and are r |q_R - p_R| exactly.
TEST(SoftLoss, TheSlopesErrorIsTheOneThatIsStated) {
  at::manual_seed(TestSeed(4));
  for (int round = 0; round < 200; ++round) {
    const int64_t vocabulary = 3 + round % 60, k = 1 + round % (vocabulary - 1);
    const Case c = RandomCase(8, vocabulary, k, 0.5 + 0.05 * round);
    // The identity as output weight: the hidden state's gradient is the logits'.
    const at::Tensor logits = 3 * at::randn({8, vocabulary}), eye = at::eye(vocabulary);
    at::Tensor h = logits.clone().requires_grad_(true);
    SoftOutputLoss(h, eye, c.labels).sum().backward();
    const at::Tensor p = logits.to(at::kDouble).softmax(1);
    const at::Tensor outside = at::ones_like(p).scatter(1, c.labels.ids, 0);
    const at::Tensor r = (c.exact * outside).sum(1), p_rest = (p * outside).sum(1);
    const at::Tensor within = ((c.exact / r.unsqueeze(1) - p / p_rest.unsqueeze(1)) * outside);
    const at::Tensor stated = r * within.abs().sum(1);
    const at::Tensor error = (h.grad() - (p - c.exact)).abs().sum(1);
    EXPECT_LE(Largest(error - stated), 1e-5) << round;
    EXPECT_TRUE(error.le(2 * r + 1e-5).all().item<bool>()) << round;
  }
}

// The losses differ by r KL(q_R|p_R) and never the other way; and total variation is bounded by
// what the kept entries say of it.
TEST(SoftLoss, TheKeptLossBoundsHowFarTheWholeDistributionsAreApart) {
  at::manual_seed(TestSeed(5));
  for (int round = 0; round < 200; ++round) {
    const int64_t vocabulary = 4 + round % 50, k = 1 + round % (vocabulary - 2);
    const Case c = RandomCase(6, vocabulary, k, 1);
    const double apart = 0.02 * round;  // from the same distribution to quite another
    const at::Tensor logits = (c.exact.log() + apart * at::randn_like(c.exact)).to(at::kFloat);
    const at::Tensor eye = at::eye(vocabulary);
    const at::Tensor kept = SoftOutputLoss(logits, eye, c.labels).to(at::kDouble);
    const at::Tensor exact = SoftOutputLoss(logits, eye, Whole(c)).to(at::kDouble);
    const at::Tensor p = logits.to(at::kDouble).softmax(1), &q = c.exact;
    const at::Tensor outside = at::ones_like(p).scatter(1, c.labels.ids, 0);
    const at::Tensor r = (q * outside).sum(1), p_rest = (p * outside).sum(1);
    const at::Tensor within = (q / r.unsqueeze(1) * outside *
                               ((q / r.unsqueeze(1)).log() - (p / p_rest.unsqueeze(1)).log()))
                                  .sum(1);
    // The exact cross-entropy also has the entropy within the rest.
    const at::Tensor within_entropy =
        -(q / r.unsqueeze(1) * outside * (q / r.unsqueeze(1)).log()).sum(1);
    EXPECT_LE(Largest(exact - kept - r * (within + within_entropy)), 2e-5) << round;
    const at::Tensor entropy = -(q * (1 - outside) * q.log()).sum(1) - r * r.log();
    const at::Tensor kl = (kept - entropy).clamp_min(0);
    EXPECT_TRUE((q * (q.log() - p.log())).sum(1).ge(kl - 1e-5).all().item<bool>()) << round;
    // A KL of 0 comes out as up to 2e-6 in fp32, whose root is 1.4e-3.
    const at::Tensor variation = (q - p).abs().sum(1) / 2;
    EXPECT_TRUE(variation.le((kl / 2).sqrt() + r + 1.5e-3).all().item<bool>()) << round;
  }
}

// One kept token of mass 1 is a label.
TEST(SoftLoss, OneTokenIsTheLossOfALabel) {
  at::manual_seed(TestSeed(6));
  const at::Tensor targets = at::randint(0, 31, {20}, at::kLong);
  const SoftLabels labels = {
      .ids = targets.unsqueeze(1), .probabilities = at::ones({20, 1}), .rest = at::zeros({20})};
  // Logits of 40 and more: labels that are certain, and ones that are out of reach.
  const at::Tensor h0 = 12 * at::randn({20, 8}), w0 = at::randn({31, 8});
  at::Tensor h = h0.clone().requires_grad_(true), g = h0.clone().requires_grad_(true);
  at::Tensor w = w0.clone().requires_grad_(true), v = w0.clone().requires_grad_(true);
  const at::Tensor soft = SoftOutputLoss(h, w, labels), hard = OutputLoss(g, v, targets).nll;
  soft.sum().backward();
  hard.sum().backward();
  EXPECT_LE(Largest((soft - hard) / hard.clamp_min(1)), 2e-6);
  EXPECT_LE(Largest(h.grad() - g.grad()), 2e-5);
  EXPECT_LE(Largest(w.grad() - v.grad()), 1e-3);  // sums of twenty terms of up to 40
}

// A rest that the model gives nothing to, and one that holds nothing: finite, both.
TEST(SoftLoss, ExtremesAreFinite) {
  at::Tensor logits = at::tensor({200.0F, 0.0F, 0.0F, -300.0F}).unsqueeze(0).requires_grad_(true);
  for (const double rest : {0.0, 0.25, 1.0}) {
    logits.mutable_grad() = at::Tensor();
    const SoftLabels labels = {.ids = at::tensor({int64_t{0}}).unsqueeze(0),
                               .probabilities = at::full({1, 1}, 1 - rest),
                               .rest = at::full({1}, rest)};
    const at::Tensor loss = SoftOutputLoss(logits, at::eye(4), labels);
    // -r log p(R), with p(R) = 2 e^-200
    EXPECT_NEAR(loss.item<double>(), rest * (200 - std::log(2)), 1e-3);
    loss.sum().backward();
    const at::Tensor want = at::tensor({rest, -rest / 2, -rest / 2, 0.0}, at::kDouble);
    EXPECT_LE(Largest(logits.grad()[0] - want), 1e-6);
  }
}

// Through a model, with prompts, pads and buckets: the naive softmax of each lone row.
TEST(SoftLoss, ABatchsLossesAreThoseOfLoneRows) {
  const Decoder model = RandomModel({}, 3);
  std::mt19937_64 random(TestSeed(7));
  std::vector<Sequence> sequences;
  for (const int length : {17, 3, 40, 9}) {
    sequences.push_back({.ids = RandomIds(random, length, 12), .prompt_tokens = length / 3});
  }
  for (const bool in_buckets : {false, true}) {
    const auto batches =
        MakeBatches(model, sequences, {.max_tokens = 60, .in_buckets = in_buckets});
    ASSERT_TRUE(batches.ok()) << batches.status();
    for (const LossBatch& batch : *batches) {
      const Case c = RandomCase(batch.targets.size(0), 12, 4, 1);
      const at::Tensor losses = ComputeSoftLosses(model, batch, c.labels).to(at::kDouble);
      at::Tensor seen = at::zeros({batch.targets.size(0), 12});
      VisitProbabilities(
          model, batch,
          [&](int64_t row, const at::Tensor& p) { seen.narrow(0, row, p.size(0)).copy_(p); },
          {.logit_bytes = 5 * 12 * 4});
      int64_t row = 0;
      for (const size_t s : batch.sequences) {
        c10::InferenceMode inference;
        const auto& ids = sequences[s].ids;
        const at::Tensor lone =
            at::tensor(std::vector<int64_t>(ids.begin(), ids.end())).unsqueeze(0);
        const at::Tensor p = model.Logits(model.Hidden(lone)).to(at::kDouble).softmax(1);
        for (size_t t = std::max(1, sequences[s].prompt_tokens); t < ids.size(); ++t, ++row) {
          const at::Tensor here = p[static_cast<int64_t>(t) - 1];
          EXPECT_LE(Largest(seen[row] - here), 1e-5);
          const at::Tensor kept = here.index_select(0, c.labels.ids[row]);
          const double want =
              -(c.labels.probabilities[row] * kept.log()).sum().item<double>() -
              c.labels.rest[row].item<double>() * std::log(1 - kept.sum().item<double>());
          EXPECT_NEAR(losses[row].item<double>(), want, 5e-5);
        }
      }
      for (; row < losses.size(0); ++row) EXPECT_EQ(losses[row].item<double>(), 0);
    }
  }
}

TEST(SoftLoss, TwiceTheSameBits) {
  at::manual_seed(TestSeed(8));
  const Case c = RandomCase(40, 500, 20, 2);
  const at::Tensor h0 = at::randn({40, 24}), w0 = at::randn({500, 24});
  const auto once = [&] {
    at::Tensor h = h0.clone().requires_grad_(true), w = w0.clone().requires_grad_(true);
    SoftOutputLoss(h, w, c.labels, {.logit_bytes = 7 * 500 * 4}).sum().backward();
    return at::cat({h.grad().flatten(), w.grad().flatten()});
  };
  EXPECT_TRUE(once().equal(once()));
}

}  // namespace
}  // namespace lethe
