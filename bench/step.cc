// One training step (forward, backward, gradient norm, Adam) beside Hugging Face transformers, in
// the same run: the same weights and tokens, as many threads, one step each in turns.
//
//   bench_step --model DIR               against transformers, eager fp32
//   bench_step --shape small | medium    random weights, without a peer
//
// Limit      the matrix products of a step at the speed of a large one, measured in the same run.
// Proof      the first loss is that of the peer, and the loss of the trained tokens has fallen;
//            else the exit code is 1.
// Memory     the largest resident set less that of the process before the weights were read, for
//            both.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>

#include "bench/peer.h"
#include "engine/loss/sequence_loss.h"
#include "engine/model/model_folder.h"
#include "engine/train/adam.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

constexpr double kRate = 1e-5;

struct Options {
  std::string model, shape = "small", precision = "fp32";
  int threads = 0, rounds = 5;
  int64_t batch = 8, tokens = 200;
  bool peer = true, recompute = false;
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <typename Body>
double SecondsOf(const Body& body) {
  const double begin = Now();
  body();
  return Now() - begin;
}

double Least(const std::vector<double>& values) {
  return *std::min_element(values.begin(), values.end());
}
double Median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + values.size() / 2, values.end());
  return values[values.size() / 2];
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

absl::StatusOr<Decoder> LoadModel(const Options& options, const Device& device) {
  if (options.model.empty()) return Decoder::Init(Shape(options.shape), 1, device);
  LETHE_ASSIGN_OR_RETURN(ModelFolder folder, ModelFolder::Load(options.model, device));
  return std::move(folder.model);
}

std::vector<Sequence> RandomSequences(const Options& options, int64_t vocab) {
  std::mt19937_64 random(1);
  std::vector<Sequence> sequences(options.batch);
  for (Sequence& s : sequences) {
    for (int64_t t = 0; t < options.tokens; ++t) {
      s.ids.push_back(static_cast<int32_t>(random() % vocab));
    }
  }
  return sequences;
}

// One step at a time of the engine's own parts, as train/loop.cc puts them together.
class Stepper {
 public:
  Stepper(const Decoder& model, std::vector<LossBatch> batches, Precision precision, bool recompute)
      : model_(recompute ? model.In(precision).Recomputing() : model.In(precision)),
        batches_(std::move(batches)),
        adam_(model.Leaves(), {}) {}

  double Step() {  // the loss before it
    model_.ZeroGradients();
    const auto labelled = static_cast<double>(LabelledTokens(batches_));
    double loss = 0;
    for (const LossBatch& batch : batches_) {
      const at::Tensor part = ComputeTokenLosses(model_, batch).nll.sum() / labelled;
      part.backward();
      loss += part.item<double>();
    }
    norm_ = adam_.GradientNorm();
    adam_.Step(kRate);
    model_.ZeroGradients();
    return loss;
  }

 private:
  const Decoder model_;
  const std::vector<LossBatch> batches_;
  Adam adam_;
  double norm_ = 0;
};

// Floating-point operations a second of a large matrix product.
double PeakFlops() {
  at::NoGradGuard no_grad;
  constexpr int64_t n = 2048;
  const at::Tensor a = at::randn({n, n}), b = at::randn({n, n});
  double best = 1e9;
  for (int i = 0; i < 5; ++i) best = std::min(best, SecondsOf([&] { at::mm(a, b); }));
  return 2.0 * n * n * n / best;
}

// Of one step's matrix products with weights: each is done once forward and twice backward. The
// embedding is read, not multiplied, where it is not the output layer as well.
double StepFlops(const Decoder& model, const Options& options) {
  double weights = 0;
  for (const at::Tensor& leaf : model.Leaves()) {
    const bool output = leaf.is_same(model.OutputWeight());
    if (leaf.dim() == 2 && (output || leaf.size(0) != model.config().vocab_size)) {
      weights += static_cast<double>(leaf.numel());
    }
  }
  return 6.0 * weights * static_cast<double>(options.batch * options.tokens);
}

absl::StatusOr<std::unique_ptr<Peer>> StartPeer(const Options& options, int threads,
                                                const std::vector<Sequence>& sequences,
                                                const fs::path& ids) {
  nlohmann::json rows = nlohmann::json::array();
  for (const Sequence& s : sequences) rows.push_back(s.ids);
  std::ofstream(ids) << rows;
  return Peer::Start("step.py", {"--model", options.model, "--ids", ids.string(), "--threads",
                                 std::to_string(threads)});
}

void PrintRow(const char* name, const std::vector<double>& seconds, double flops, double peak,
              double tokens, double memory) {
  std::printf("%-14s %10.1f %10.1f %10.0f %14.2f %12.0f\n", name, 1e3 * Least(seconds),
              1e3 * Median(seconds), tokens / Least(seconds), flops / Least(seconds) / peak,
              memory / 1e6);
}

absl::StatusOr<int> Run(const Options& options) {
  LETHE_ASSIGN_OR_RETURN(const Device device,
                         OpenDevice({.device = "cpu", .threads = options.threads}));
  const double peak = PeakFlops();
  const double empty = MemoryNow();
  LETHE_ASSIGN_OR_RETURN(const Decoder model, LoadModel(options, device));
  const std::vector<Sequence> sequences = RandomSequences(options, model.config().vocab_size);
  LETHE_ASSIGN_OR_RETURN(std::vector<LossBatch> batches, MakeBatches(model, sequences));
  Stepper ours(model, std::move(batches), *PrecisionNamed(options.precision), options.recompute);

  std::unique_ptr<Peer> peer;
  const fs::path ids = fs::temp_directory_path() / ("lethe-step-" + std::to_string(getpid()));
  if (options.peer && !options.model.empty()) {
    LETHE_ASSIGN_OR_RETURN(peer, StartPeer(options, device.threads, sequences, ids));
  }

  std::vector<double> our_seconds, peer_seconds;
  double first = 0, last = 0, peer_first = 0, peer_memory = 0;
  for (int round = 0; round <= options.rounds; ++round) {  // the first is a warm-up
    const double seconds = SecondsOf([&] { last = ours.Step(); });
    if (round == 0) first = last;
    if (round > 0) our_seconds.push_back(seconds);
    if (peer == nullptr) continue;
    LETHE_ASSIGN_OR_RETURN(const nlohmann::json answer, peer->Ask("step 1"));
    if (round == 0) peer_first = answer.at("loss");
    if (round > 0) peer_seconds.push_back(answer.at("seconds").at(0));
    peer_memory = answer.at("memory");
  }
  std::error_code ignored;
  fs::remove(ids, ignored);
  const double memory = PeakMemory() - empty, flops = StepFlops(model, options);
  const double tokens = static_cast<double>(options.batch * options.tokens);

  std::printf("one training step, %ld x %ld tokens, fp32, %s, %.1f M parameters\n", options.batch,
              options.tokens, options.model.empty() ? options.shape.c_str() : options.model.c_str(),
              static_cast<double>(model.ParameterCount()) / 1e6);
  std::printf("%d threads, %s; a %s matrix product: %.1f GFLOP/s; %d steps each, in turns\n",
              device.threads, device.cpu_capability.c_str(), "2048 x 2048 x 2048", peak / 1e9,
              options.rounds);
  std::printf("%-14s %10s %10s %10s %14s %12s\n", "", "least ms", "median ms", "tokens/s",
              "share of peak", "memory MB");
  PrintRow("lethe", our_seconds, flops, peak, tokens, memory);
  bool sound = last < first;
  if (peer != nullptr) {
    PrintRow("transformers", peer_seconds, flops, peak, tokens, peer_memory);
    std::printf("lethe is %.2f times as fast, with %.2f of the memory\n",
                Least(peer_seconds) / Least(our_seconds), memory / peer_memory);
    std::printf("first loss %.6f, of transformers %.6f\n", first, peer_first);
    sound = sound && std::abs(first - peer_first) < 1e-4 * peer_first;
  }
  std::printf("loss %.6f before the first step, %.6f before the last: %s\n", first, last,
              sound ? "sound" : "NOT SOUND");
  return sound ? 0 : 1;
}

}  // namespace
}  // namespace lethe

int main(int argc, char** argv) {
  lethe::LetThreadsSleep(argv);
  lethe::Options options;
  CLI::App app("One training step beside Hugging Face transformers, in the same run.",
               "bench_step");
  app.add_option("--model", options.model, "Hugging Face folder; else random weights of --shape");
  app.add_option("--shape", options.shape, "small: stories260k; medium: about 3 million parameters")
      ->check(CLI::IsMember({"small", "medium"}));
  app.add_option("--precision", options.precision, "fp32 or bf16");
  app.add_flag("--recompute", options.recompute, "Run each layer again in the backward pass");
  app.add_option("--threads", options.threads, "CPU threads of both; 0: one a core");
  app.add_option("--rounds", options.rounds, "Steps of each")->check(CLI::Range(1, 1000));
  app.add_option("--batch", options.batch, "Sequences")->check(CLI::Range(1, 4096));
  app.add_option("--tokens", options.tokens, "Tokens of each")->check(CLI::Range(2, 1 << 20));
  app.add_flag("!--no-peer", options.peer, "Leave transformers out");
  CLI11_PARSE(app, argc, argv);
  const absl::StatusOr<int> code = lethe::Run(options);
  if (code.ok()) return *code;
  std::fprintf(stderr, "bench_step: %s\n", std::string(code.status().message()).c_str());
  return 2;
}
