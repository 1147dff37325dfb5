// What the engine does on a GPU, with random weights made from a configuration alone: no files.
//
//   bench_gpu                       all rows; beside PyTorch where python3 has torch and transformers
//   bench_gpu --only smollm2 --no-peer
//
// Rows       a training step of 8 x 200 tokens, clipped, as `lethe-engine train` makes it; EL_10 of
//            32 x 200 tokens; the 7B shape in pure bf16 with recomputation. Each in a process of its
//            own.
// Proof      each step of a 125M model is made in two processes, whose weights must then have one
//            digest; what is recorded as a CUDA graph must not have been refused; the peak of memory
//            that the allocator took from the device is printed.
// Exit code  0 all rows within their limits; 1 one is not, or a proof fails; 2 it could not be
//            measured; 77 there is no GPU here (one line says why), and nothing was measured.
#include <ATen/TensorOperators.h>
#include <ATen/ops/scalar_tensor.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <random>

#include "base/digest.h"
#include "bench/peer.h"
#include "engine/checkpoint/decoder_config.h"
#include "engine/cuda/cuda_library.h"
#include "engine/loss/sequence_loss.h"
#include "engine/metric/memorisation.h"
#include "engine/model/decoder.h"
#include "engine/precision.h"
#include "engine/torch_status.h"
#include "engine/train/loop.h"

namespace lethe {
namespace {

constexpr int kNoGpu = 77;
constexpr double kGiB = 1024.0 * 1024 * 1024;

// Shapes of public models.
constexpr char kGptNeo125M[] = R"({"architectures": ["GPTNeoForCausalLM"], "model_type": "gpt_neo",
  "hidden_size": 768, "num_layers": 12, "num_heads": 12, "window_size": 256, "vocab_size": 50257,
  "max_position_embeddings": 2048, "attention_types": [[["global", "local"], 6]]})";
constexpr char kGptNeo1B[] = R"({"architectures": ["GPTNeoForCausalLM"], "model_type": "gpt_neo",
  "hidden_size": 2048, "num_layers": 24, "num_heads": 16, "window_size": 256, "vocab_size": 50257,
  "max_position_embeddings": 2048, "attention_types": [[["global", "local"], 12]]})";
constexpr char kSmolLm2[] = R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
  "hidden_size": 576, "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
  "intermediate_size": 1536, "vocab_size": 49152, "max_position_embeddings": 8192,
  "rope_theta": 100000, "tie_word_embeddings": true})";
constexpr char kLlama7B[] = R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
  "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
  "num_key_value_heads": 32, "intermediate_size": 11008, "vocab_size": 32000,
  "max_position_embeddings": 4096, "tie_word_embeddings": false})";
// For a look at this program where there is no GPU: --device cpu --only tiny.
constexpr char kTiny[] = R"({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
  "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
  "intermediate_size": 128, "vocab_size": 512, "max_position_embeddings": 512,
  "tie_word_embeddings": true})";

enum class Work { kStep, kEl };

struct Row {
  const char* name;
  const char* config;
  Work work;
  const char* precision;
  bool recompute;
  int64_t rows;
  double limit_seconds;  // 0: none
  double limit_gib;      // 0: none
  bool twice;            // two runs, one digest
};
constexpr Row kRows[] = {
    {"gpt-neo-125m", kGptNeo125M, Work::kStep, "auto", false, 8, 10.6e-3, 0, true},
    {"gpt-neo-1.3b", kGptNeo1B, Work::kStep, "auto", false, 8, 40e-3, 0, false},
    {"smollm2", kSmolLm2, Work::kStep, "auto", false, 8, 20e-3, 0, false},
    {"el10-125m", kGptNeo125M, Work::kEl, "fp32", false, 32, 2, 0, false},
    {"llama-7b", kLlama7B, Work::kStep, "bf16_pure", true, 8, 0, 80, false},
    {"tiny", kTiny, Work::kStep, "bf16", false, 8, 0, 0, true},
    {"el10-tiny", kTiny, Work::kEl, "fp32", false, 4, 0, 0, false},
};

struct Options {
  std::string device = "cuda", serve;
  std::vector<std::string> only;
  int64_t tokens = 200, steps = 40;
  bool peer = true;
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::vector<Sequence> RandomSequences(int64_t rows, int64_t tokens, int64_t vocab) {
  std::mt19937_64 random(1);
  std::vector<Sequence> sequences(rows);
  for (Sequence& s : sequences) {
    for (int64_t t = 0; t < tokens; ++t) s.ids.push_back(static_cast<int32_t>(random() % vocab));
  }
  return sequences;
}

// Bytes that LibTorch took from the device, at their most.
double PeakOnDevice(const at::Device& device) {
  if (device.is_cpu()) return PeakMemory();
  const auto stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  return static_cast<double>(stats.reserved_bytes[0].peak);  // over large and small blocks
}

std::string DigestOf(const Decoder& model) {
  Sha256 digest;
  for (const NamedTensor& named : model.Named()) {
    const at::Tensor host = named.tensor.contiguous().cpu();
    digest.Update({static_cast<const char*>(host.const_data_ptr()), host.nbytes()});
  }
  return digest.Hex();
}

// As engine/train.cc cuts its steps.
absl::StatusOr<std::vector<StepPart>> PartsOf(const Decoder& model,
                                              const std::vector<Sequence>& sequences) {
  LETHE_ASSIGN_OR_RETURN(
      const auto batches,
      MakeBatches(model, sequences,
                  {.in_buckets = RepeatsSteps(model.device(), nullptr), .on_host = true}));
  const at::Tensor labelled = at::scalar_tensor(LabelledTokens(sequences), at::kFloat);
  std::vector<StepPart> parts;
  for (const LossBatch& batch : batches) {
    StepPart part{.kind = "train", .inputs = batch.Tensors()};
    part.inputs.push_back(labelled);
    part.loss = [&model, batch](std::span<const at::Tensor> inputs) {
      const at::Tensor loss =
          ComputeTokenLosses(model, batch.With(inputs)).nll.sum() / inputs.back();
      return PartLoss{.slope_of = loss, .value = loss};
    };
    parts.push_back(std::move(part));
  }
  return parts;
}

// Seconds a step behind the first third: those are told one by one and recorded.
absl::StatusOr<nlohmann::json> MeasureSteps(const Row& row, const Options& options,
                                            const Device& device, Decoder model) {
  const std::vector<Sequence> sequences =
      RandomSequences(row.rows, options.tokens, model.config().vocab_size);
  LETHE_ASSIGN_OR_RETURN(const Precision precision,
                         ChoosePrecision(row.precision, model.ParameterCount(), device));
  const Decoder training = ForTraining(model, precision, row.recompute);
  std::vector<double> ends, losses;
  const LoopHooks hooks{.parts = [&](int64_t) { return PartsOf(training, sequences); },
                        .judge = [&](const StepReport& step) -> absl::StatusOr<Judgement> {
                          ends.push_back(Now());
                          losses.push_back(step.loss);
                          return Judgement{};
                        },
                        .notes_only = true};
  LETHE_ASSIGN_OR_RETURN(const LoopResult result,
                         RunLoop(training, hooks,
                                 {.max_steps = options.steps,
                                  .learning_rate = [](int64_t) { return 1e-5; },
                                  .max_grad_norm = 1}));
  const size_t first = ends.size() / 3;
  const double seconds = (ends.back() - ends[first]) / static_cast<double>(ends.size() - 1 - first);
  return nlohmann::json{
      {"seconds", seconds},
      {"what", std::string(NameOf(precision)) + (row.recompute ? ", recomputed" : "")},
      {"first", losses.front()},
      {"last", losses.back()},
      {"refused", result.not_recorded},
      {"memory", PeakOnDevice(model.device())},
      {"digest", row.twice ? DigestOf(model) : ""}};
}

absl::StatusOr<nlohmann::json> MeasureEl(const Row& row, const Options& options,
                                         const Decoder& model) {
  const std::vector<Sequence> sequences =
      RandomSequences(row.rows, options.tokens, model.config().vocab_size);
  const MemorisationOptions how{.el_n = {10}};
  LETHE_RETURN_IF_ERROR(
      MeasureMemorisation(model, std::span(sequences).first(1), how).status());  // warms up
  const double begin = Now();
  LETHE_ASSIGN_OR_RETURN(const auto measured, MeasureMemorisation(model, sequences, how));
  const double seconds = Now() - begin;
  int64_t fed = 0, rollouts = 0;
  for (const Memorisation& m : measured) {
    fed += m.forward_tokens;
    rollouts += m.rollouts;
  }
  return nlohmann::json{
      {"seconds", seconds},
      {"what", std::to_string(rollouts) + " roll-outs, " + std::to_string(fed) + " tokens, fp32"},
      {"refused", ""},
      {"memory", PeakOnDevice(model.device())},
      {"digest", ""}};
}

const Row* FindRow(const std::string& name) {
  const auto* found = std::find_if(std::begin(kRows), std::end(kRows),
                                   [&](const Row& r) { return r.name == name; });
  return found == std::end(kRows) ? nullptr : found;
}

// In the process of one row: measures when it is asked, and answers with a line.
absl::StatusOr<int> Serve(const Options& options) {
  const Row& row = *FindRow(options.serve);
  LETHE_ASSIGN_OR_RETURN(const Device device, OpenDevice({.device = options.device}));
  for (std::string line; std::getline(std::cin, line);) {
    LETHE_ASSIGN_OR_RETURN(const DecoderConfig config, ParseDecoderConfig(row.config));
    LETHE_ASSIGN_OR_RETURN(Decoder model, Decoder::Init(config, 1, device));
    const double parameters = static_cast<double>(model.ParameterCount());
    absl::StatusOr<nlohmann::json> answer =
        row.work == Work::kStep ? MeasureSteps(row, options, device, std::move(model))
                                : MeasureEl(row, options, model);
    LETHE_RETURN_IF_ERROR(answer.status());
    (*answer)["parameters"] = parameters;
    std::printf("%s\n", answer->dump().c_str());
    std::fflush(stdout);
  }
  return 0;
}

absl::StatusOr<nlohmann::json> Ask(const Row& row, const Options& options) {
  LETHE_ASSIGN_OR_RETURN(
      const auto process,
      Peer::Run({"/proc/self/exe", "--serve", row.name, "--device", options.device, "--tokens",
                 std::to_string(options.tokens), "--steps", std::to_string(options.steps)}));
  return process->Ask("measure");
}

// Seconds of the peer, or what stands in its place: a line of the table does not end the run.
std::string AskPeer(const Row& row, const Options& options, bool compiled) {
  std::vector<std::string> words = {"/usr/bin/env",
                                    "python3",
                                    std::string(LETHE_SOURCE_DIR) + "/bench/transformers/gpu.py",
                                    "--config",
                                    row.config,
                                    "--batch",
                                    std::to_string(row.rows),
                                    "--tokens",
                                    std::to_string(options.tokens),
                                    "--device",
                                    options.device};
  if (compiled) words.push_back("--compile");
  const auto process = Peer::Run(std::move(words));
  if (!process.ok()) return "-";
  const bool steps = row.work == Work::kStep;
  const auto answer = (*process)->Ask(steps ? "step " + std::to_string(options.steps) : "el 8");
  if (!answer.ok()) return "failed";
  double seconds = answer->at("seconds");
  // One generation a prefix, for all prefixes of all sequences.
  if (!steps) seconds *= static_cast<double>(row.rows * (options.tokens - 10));
  char text[32];
  std::snprintf(text, sizeof(text), "%.2f ms", 1e3 * seconds);
  return text;
}

bool HasPeer() {
  return std::system("python3 -c 'import torch, transformers' >/dev/null 2>&1") == 0;
}

// Prints a row; false where it misses a limit or a proof.
absl::StatusOr<bool> MeasureRow(const Row& row, const Options& options, bool with_peer) {
  LETHE_ASSIGN_OR_RETURN(const nlohmann::json made, Ask(row, options));
  const double seconds = made.at("seconds"), gib = made.at("memory").get<double>() / kGiB;
  std::printf("%-14s %8.0f M %10.2f ms", row.name, made.at("parameters").get<double>() / 1e6,
              1e3 * seconds);
  bool good = true;
  const auto judge = [&](double value, double limit, const char* unit) {
    if (limit == 0) return;
    good = good && value <= limit;
    std::printf("  [%s %g %s: %s]", "at most", limit, unit, value <= limit ? "yes" : "NO");
  };
  judge(1e3 * seconds, 1e3 * row.limit_seconds, "ms");
  std::printf("  peak %.1f GiB", gib);
  judge(gib, row.limit_gib, "GiB");
  std::printf("  %s\n", made.at("what").get<std::string>().c_str());
  if (const std::string refused = made.at("refused"); !refused.empty()) {
    std::printf("  not recorded as a graph: %s\n", refused.c_str());
    good = false;
  }
  if (made.contains("first")) {
    std::printf("  loss %.4f, then %.4f\n", made.at("first").get<double>(),
                made.at("last").get<double>());
  }
  if (row.twice) {
    LETHE_ASSIGN_OR_RETURN(const nlohmann::json again, Ask(row, options));
    const bool same = again.at("digest") == made.at("digest");
    std::printf("  two runs give one digest: %s (%s)\n", same ? "yes" : "NO",
                made.at("digest").get<std::string>().substr(0, 16).c_str());
    good = good && same;
  }
  if (with_peer && row.limit_seconds > 0) {
    std::printf("  PyTorch and transformers: %s", AskPeer(row, options, false).c_str());
    if (row.work == Work::kStep) {
      std::printf(", compiled %s", AskPeer(row, options, true).c_str());
    }
    std::printf("\n");
  }
  std::fflush(stdout);
  return good;
}

absl::StatusOr<int> Run(const Options& options) {
  const absl::StatusOr<Device> device = OpenDevice({.device = options.device});
  if (!device.ok()) {
    std::printf("bench_gpu: nothing measured: %s\n",
                std::string(device.status().message()).c_str());
    return kNoGpu;
  }
  const CudaLibrary* cuda = OpenedCuda();
  std::printf("%s, LibTorch %s; %ld tokens a sequence, %ld steps\n",
              cuda != nullptr ? cuda->NameOf(at::Device(device->name)).c_str() : "a CPU",
              device->libtorch.c_str(), options.tokens, options.steps);
  const bool with_peer = options.peer && HasPeer();
  if (!with_peer)
    std::printf("without a peer: python3 has no torch and transformers, or --no-peer\n");
  bool good = true;
  for (const Row& row : kRows) {
    const bool asked =
        std::find(options.only.begin(), options.only.end(), row.name) != options.only.end();
    const bool tiny = std::string_view(row.name).find("tiny") != std::string_view::npos;
    if (options.only.empty() ? tiny : !asked) continue;
    LETHE_ASSIGN_OR_RETURN(const bool within, MeasureRow(row, options, with_peer));
    good = good && within;
  }
  return good ? 0 : 1;
}

}  // namespace
}  // namespace lethe

int main(int argc, char** argv) {
  lethe::LetThreadsSleep(argv);
  lethe::Options options;
  CLI::App app("Training steps and EL on a GPU, with random weights.", "bench_gpu");
  std::vector<std::string> names;
  for (const lethe::Row& row : lethe::kRows) names.emplace_back(row.name);
  app.add_option("--device", options.device, "cuda, cuda:N, or cpu for a look at the program");
  app.add_option("--only", options.only, "Only these rows")->check(CLI::IsMember(names));
  app.add_option("--tokens", options.tokens, "Of a sequence")->check(CLI::Range(16, 2048));
  app.add_option("--steps", options.steps, "Of a training run")->check(CLI::Range(6, 10000));
  app.add_option("--serve", options.serve, "Measure one row when a line comes in")
      ->check(CLI::IsMember(names));
  app.add_flag("!--no-peer", options.peer, "Leave PyTorch out");
  CLI11_PARSE(app, argc, argv);
  const absl::StatusOr<int> code = lethe::CatchTorch("measuring", [&] {
    return options.serve.empty() ? lethe::Run(options) : lethe::Serve(options);
  });
  if (code.ok()) return *code;
  std::fprintf(stderr, "bench_gpu: %s\n", std::string(code.status().message()).c_str());
  return 2;
}
