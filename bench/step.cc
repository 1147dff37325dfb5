// One training step (forward, backward, AdamW) and one EL measurement, in tokens a second, on
// random weights of a given shape.
//
//   bench_step [small | medium] [--threads N]
//
// small is the shape of stories260k, medium has about 3 million parameters.
//
// Limit      the matrix products of a step at the speed of a large one, measured in the same run.
// Proof      the loss of the trained tokens must have fallen, else the exit code is 1.
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <random>
#include <string>

#include "engine/loss/sequence_loss.h"
#include "engine/metric/memorisation.h"

namespace lethe {
namespace {

constexpr int64_t kBatch = 8, kTokens = 200;

// Processor seconds of all threads: on a busy machine the wall clock measures the others.
double Now() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Best of some runs, each at least a fifth of a second: other work on the machine only ever slows.
template <typename Body>
double SecondsOf(const Body& body) {
  body();
  double best = 1e9;
  for (int round = 0; round < 5; ++round) {
    const double begin = Now();
    int runs = 0;
    while (Now() - begin < 0.2) {
      body();
      ++runs;
    }
    best = std::min(best, (Now() - begin) / runs);
  }
  return best;
}

DecoderConfig Shape(const std::string& name) {
  DecoderConfig c;
  c.vocab_size = 512, c.hidden_size = 64, c.num_layers = 5, c.num_heads = 8, c.num_kv_heads = 4;
  c.head_dim = 8, c.intermediate_size = 172, c.context = 512, c.tied_embeddings = true;
  if (name == "medium") {
    c.vocab_size = 2048, c.hidden_size = 256, c.num_layers = 4, c.head_dim = 32,
    c.intermediate_size = 688;
  }
  return c;
}

struct AdamW {
  explicit AdamW(const Decoder& model) : parameters(model.Leaves()) {
    for (const at::Tensor& leaf : parameters) {
      means.push_back(at::zeros_like(leaf).detach());
      squares.push_back(at::zeros_like(leaf).detach());
      steps.push_back(at::zeros({}, at::kFloat));
    }
  }
  void Step(double rate) {
    at::NoGradGuard no_grad;
    std::vector<at::Tensor> grads;
    for (const at::Tensor& leaf : parameters) grads.push_back(leaf.grad());
    for (at::Tensor& s : steps) s.add_(1);
    at::_fused_adamw_(parameters, grads, means, squares, {}, steps, rate, 0.9, 0.999, 0.0, 1e-8,
                      false, false);
  }
  std::vector<at::Tensor> parameters, means, squares, steps;
};

double PeakFlops() {
  at::NoGradGuard no_grad;
  constexpr int64_t n = 1024;
  const at::Tensor a = at::randn({n, n}), b = at::randn({n, n});
  return 2.0 * n * n * n / SecondsOf([&] { at::mm(a, b); });
}

int Run(const std::string& shape, int threads) {
  const auto device = OpenDevice({.device = "cpu", .threads = threads});
  const DecoderConfig config = Shape(shape);
  const Decoder model = *Decoder::Init(config, 1, *device);
  std::mt19937_64 random(1);
  std::vector<Sequence> sequences(kBatch);
  for (Sequence& s : sequences) {
    for (int64_t t = 0; t < kTokens; ++t)
      s.ids.push_back(static_cast<int32_t>(random() % config.vocab_size));
  }
  const LossBatch batch = MakeBatches(model, sequences)->front();
  AdamW adam(model);
  double first = -1, last = 0;
  const auto forward = [&] { return ComputeTokenLosses(model, batch).nll.mean(); };
  const double forward_s = SecondsOf([&] {
    at::NoGradGuard no_grad;
    forward();
  });
  const double both_s = SecondsOf([&] {
    model.ZeroGradients();
    forward().backward();
  });
  const double step_s = SecondsOf([&] {
    model.ZeroGradients();
    const at::Tensor loss = forward();
    loss.backward();
    adam.Step(1e-3);
    last = loss.item<double>();
    if (first < 0) first = last;
  });
  const int64_t layer =
      config.hidden_size * config.head_dim * 2 * (config.num_heads + config.num_kv_heads) +
      3 * config.hidden_size * config.intermediate_size;
  const double products =
      6.0 * kBatch * kTokens *
      static_cast<double>(config.num_layers * layer + config.vocab_size * config.hidden_size);
  const double limit_s = products / PeakFlops(), tokens = kBatch * kTokens;

  int64_t rollouts = 0, forward_tokens = 0;
  const double el_begin = Now();
  const auto el = MeasureMemorisation(model, sequences, {.el_n = {10}});
  const double el_s = Now() - el_begin;
  for (const Memorisation& m : *el) rollouts += m.rollouts, forward_tokens += m.forward_tokens;
  std::printf(
      "{\"shape\":\"%s\",\"parameters\":%ld,\"threads\":%d,\"cpu\":\"%s\",\"batch\":\"%ldx%ld\","
      "\"forward_ms\":%.2f,\"forward_backward_ms\":%.2f,\"step_ms\":%.2f,\"step_tokens_per_s\":%."
      "0f,"
      "\"matrix_products_at_peak_ms\":%.2f,\"share_of_peak\":%.2f,\"loss_first\":%.3f,\"loss_"
      "last\":%.3f,"
      "\"el10_s\":%.3f,\"el10_rollouts\":%ld,\"el10_forward_tokens\":%ld}\n",
      shape.c_str(), model.ParameterCount(), device->threads, device->cpu_capability.c_str(),
      kBatch, kTokens, forward_s * 1e3, both_s * 1e3, step_s * 1e3, tokens / step_s, limit_s * 1e3,
      limit_s / both_s, first, last, el_s, rollouts, forward_tokens);
  return last < first ? 0 : 1;
}

}  // namespace
}  // namespace lethe

int main(int argc, char** argv) {
  lethe::LetThreadsSleep(argv);
  std::string shape = "small";
  int threads = 0;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--threads") == 0 && i + 1 < argc) {
      threads = std::atoi(argv[++i]);
    } else {
      shape = argv[i];
    }
  }
  return lethe::Run(shape, threads);
}
