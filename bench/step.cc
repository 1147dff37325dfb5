// One training step (forward, backward, gradient norm, Adam) beside Hugging Face transformers, in
// the same run: the same weights and tokens, as many threads, one step each in turns.
//
//   bench_step --model DIR               against transformers, eager fp32
//   bench_step --shape small | medium    random weights, without a peer
//
// Rows       fp32, bf16 with fp32 masters, each with recomputation too, and the peer; each in a
//            process of its own.
// Limit      the matrix products of a step at the speed of a large one of the same type, measured
//            in the same run.
// Proof      the first loss is that of the peer, to 1e-4 in fp32 and 1e-2 in bf16; else the exit
//            code is 1.
// Memory     the largest resident set less that of the process before the weights were read.
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
#include <iostream>
#include <random>

#include "bench/peer.h"
#include "engine/loss/sequence_loss.h"
#include "engine/model/linear.h"
#include "engine/model/model_folder.h"
#include "engine/train/adam.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

constexpr double kRate = 1e-5;

struct Options {
  std::string model, shape = "small", serve;
  int threads = 0, rounds = 5;
  int64_t batch = 8, tokens = 200;
  std::vector<std::string> only;
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
  Stepper(const Decoder& model, std::vector<LossBatch> batches)
      : model_(model), batches_(std::move(batches)), adam_(model.Leaves(), {}) {}

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

// Floating-point operations a second of a large matrix product of the type; the better of LibTorch's
// product and the engine's own way to one.
double PeakFlops(at::ScalarType type) {
  at::NoGradGuard no_grad;
  constexpr int64_t n = 2048;
  const at::Tensor a = at::randn({n, n}).to(type), b = at::randn({n, n}).to(type);
  double best = 1e9;
  for (int i = 0; i < 5; ++i) {
    best = std::min(best, SecondsOf([&] { at::mm(a, b); }));
    best = std::min(best, SecondsOf([&] { ProductWithTransposed(a, b); }));
  }
  return 2.0 * n * n * n / best;
}

// One way to make a step, in a process of its own, so that each has its own peak of memory.
struct Contender {
  std::string name;
  std::vector<std::string> words;  // of its command line
  bool rounded = false;            // its products are bf16's
  std::unique_ptr<Peer> process;
  std::vector<double> seconds;
  double first = 0, memory = 0;
};

// Answers as bench/transformers/step.py does.
absl::StatusOr<int> Serve(const Options& options) {
  LETHE_ASSIGN_OR_RETURN(const Device device,
                         OpenDevice({.device = "cpu", .threads = options.threads}));
  const double empty = MemoryNow();
  LETHE_ASSIGN_OR_RETURN(Decoder model, LoadModel(options, device));
  const Decoder training = ForTraining(model, *PrecisionNamed(options.serve), options.recompute);
  LETHE_ASSIGN_OR_RETURN(std::vector<LossBatch> batches,
                         MakeBatches(model, RandomSequences(options, model.config().vocab_size)));
  Stepper stepper(training, std::move(batches));
  for (std::string line; std::getline(std::cin, line);) {
    double loss = 0;
    const double seconds = SecondsOf([&] { loss = stepper.Step(); });
    const nlohmann::json answer = {
        {"seconds", {seconds}}, {"loss", loss}, {"memory", PeakMemory() - empty}};
    std::printf("%s\n", answer.dump().c_str());
    std::fflush(stdout);
  }
  return 0;
}

std::vector<Contender> Contenders(const Options& options, int threads, const fs::path& ids) {
  const auto ours = [&](const std::string& precision, bool recompute) {
    std::vector<std::string> words = {"/proc/self/exe",
                                      "--serve",
                                      precision,
                                      "--threads",
                                      std::to_string(threads),
                                      "--batch",
                                      std::to_string(options.batch),
                                      "--tokens",
                                      std::to_string(options.tokens)};
    const std::vector<std::string> of = options.model.empty()
                                            ? std::vector<std::string>{"--shape", options.shape}
                                            : std::vector<std::string>{"--model", options.model};
    words.insert(words.end(), of.begin(), of.end());
    if (recompute) words.push_back("--recompute");
    return Contender{.name = precision + (recompute ? ", recompute" : ""),
                     .words = words,
                     .rounded = precision != "fp32"};
  };
  std::vector<Contender> all;
  all.push_back(ours("fp32", false));
  if (CpuComputesBf16()) all.push_back(ours("bf16", false));
  all.push_back(ours("fp32", true));
  if (CpuComputesBf16()) all.push_back(ours("bf16", true));
  if (!options.only.empty()) {
    std::erase_if(all, [&](const Contender& one) {
      return std::find(options.only.begin(), options.only.end(), one.name) == options.only.end();
    });
  }
  if (options.peer && !options.model.empty()) {
    all.push_back({.name = "transformers",
                   .words = {"--model", options.model, "--ids", ids.string(), "--threads",
                             std::to_string(threads)}});
  }
  return all;
}

absl::Status RunInTurns(const Options& options, std::vector<Contender>& all) {
  for (int round = 0; round <= options.rounds; ++round) {  // the first is a warm-up
    for (Contender& one : all) {
      if (one.process == nullptr) {
        LETHE_ASSIGN_OR_RETURN(one.process, one.name == "transformers"
                                                ? Peer::Start("step.py", one.words)
                                                : Peer::Run(one.words));
      }
      LETHE_ASSIGN_OR_RETURN(const nlohmann::json answer, one.process->Ask("step 1"));
      if (round == 0) one.first = answer.at("loss");
      if (round > 0) one.seconds.push_back(answer.at("seconds").at(0));
      one.memory = answer.at("memory");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<int> Run(const Options& options) {
  LETHE_ASSIGN_OR_RETURN(const Device device,
                         OpenDevice({.device = "cpu", .threads = options.threads}));
  const double peak = PeakFlops(at::kFloat), rounded_peak = PeakFlops(at::kBFloat16);
  double flops = 0;
  const fs::path ids = fs::temp_directory_path() / ("lethe-step-" + std::to_string(getpid()));
  {
    LETHE_ASSIGN_OR_RETURN(const Decoder model, LoadModel(options, device));
    flops = StepFlops(model, options);
    nlohmann::json rows = nlohmann::json::array();
    for (const Sequence& s : RandomSequences(options, model.config().vocab_size)) {
      rows.push_back(s.ids);
    }
    std::ofstream(ids) << rows;
  }
  std::vector<Contender> all = Contenders(options, device.threads, ids);
  const absl::Status status = RunInTurns(options, all);
  std::error_code ignored;
  fs::remove(ids, ignored);
  LETHE_RETURN_IF_ERROR(status);

  std::printf("one training step, %ld x %ld tokens, %s; %d threads, %s; %d steps each, in turns\n",
              options.batch, options.tokens,
              options.model.empty() ? options.shape.c_str() : options.model.c_str(), device.threads,
              device.cpu_capability.c_str(), options.rounds);
  std::printf("a 2048 x 2048 x 2048 matrix product: fp32 %.1f GFLOP/s, bf16 %.1f\n", peak / 1e9,
              rounded_peak / 1e9);
  std::printf("%-16s %10s %10s %10s %8s %10s %10s %10s\n", "", "least ms", "median ms", "tokens/s",
              "of peak", "memory MB", "speed", "memory");
  const Contender& last = all.back();  // what the others are held to
  bool sound = true;
  for (const Contender& one : all) {
    const double least = Least(one.seconds);
    std::printf("%-16s %10.1f %10.1f %10.0f %8.2f %10.0f %9.2fx %9.2fx\n", one.name.c_str(),
                1e3 * least, 1e3 * Median(one.seconds),
                static_cast<double>(options.batch * options.tokens) / least,
                flops / least / (one.rounded ? rounded_peak : peak), one.memory / 1e6,
                Least(last.seconds) / least, one.memory / last.memory);
    const double tolerance = one.rounded ? 1e-2 : 1e-4;
    sound = sound && std::abs(one.first - last.first) < tolerance * last.first;
  }
  std::printf("speed and memory beside those of the last row; first losses agree: %s\n",
              sound ? "yes" : "NO");
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
  app.add_option("--serve", options.serve,
                 "Answer one step a line, as a peer does, in fp32 or bf16");
  app.add_flag("--recompute", options.recompute, "With --serve: run each layer again backwards");
  app.add_option("--threads", options.threads, "CPU threads of both; 0: one a core");
  app.add_option("--rounds", options.rounds, "Steps of each")->check(CLI::Range(1, 1000));
  app.add_option("--batch", options.batch, "Sequences")->check(CLI::Range(1, 4096));
  app.add_option("--tokens", options.tokens, "Tokens of each")->check(CLI::Range(2, 1 << 20));
  app.add_option("--only", options.only, "Only these rows beside the peer, by name")
      ->check(CLI::IsMember({"fp32", "bf16", "fp32, recompute", "bf16, recompute"}));
  app.add_flag("!--no-peer", options.peer, "Leave transformers out");
  CLI11_PARSE(app, argc, argv);
  const absl::StatusOr<int> code =
      options.serve.empty() ? lethe::Run(options) : lethe::Serve(options);
  if (code.ok()) return *code;
  std::fprintf(stderr, "bench_step: %s\n", std::string(code.status().message()).c_str());
  return 2;
}
