// Continuations in tokens a second beside Hugging Face transformers, in the same run: the same
// weights, prompts and threads, in turns.
//
//   bench_generate --model DIR [--prompts 8] [--tokens 32] [--new 64] [--beams 4]
//
// Greedy, then a beam search. Prompts are random ids of one length, so that the peer needs no
// padding. Each figure is of the fastest round; what both say must be the same but for ties, of which
// transformers makes what its rounding says: a first difference is printed with its place.
//
// Limit      a step reads all weights once, whatever the number of prompts: bytes of weights x steps
//            / seconds is printed as GB/s, beside what one thread reads of memory. With many prompts
//            or beams it is the arithmetic that limits.
#include "engine/model/generate.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>

#include "bench/peer.h"
#include "engine/model/beam_search.h"
#include "engine/model/model_folder.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::string model;
  int threads = 0, rounds = 3;
  int64_t prompts = 8, tokens = 32, fresh = 64, beams = 4;
  bool peer = true;
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Bytes a second that one thread reads of a large array.
double ReadSpeed() {
  std::vector<uint64_t> data(size_t{32} << 20, 1);
  double best = 0;
  uint64_t sum = 0;
  for (int round = 0; round < 3; ++round) {
    const double begin = Now();
    for (const uint64_t x : data) sum += x;
    best = std::max(best, static_cast<double>(data.size() * 8) / (Now() - begin));
  }
  return sum > 0 ? best : 0;
}

std::vector<TokenIds> RandomPrompts(const Options& options, int64_t vocabulary) {
  std::mt19937_64 random(1);
  std::vector<TokenIds> prompts(static_cast<size_t>(options.prompts));
  for (TokenIds& prompt : prompts) {
    for (int64_t t = 0; t < options.tokens; ++t) {
      prompt.push_back(static_cast<int32_t>(random() % static_cast<uint64_t>(vocabulary)));
    }
  }
  return prompts;
}

using Said = std::vector<TokenIds>;

absl::StatusOr<Said> Continue(const Decoder& model, const std::vector<TokenIds>& prompts,
                              const Options& options, bool beams) {
  Said said;
  if (beams) {
    LETHE_ASSIGN_OR_RETURN(
        auto found,
        SearchBeams(model, prompts, {.beams = options.beams, .max_new_tokens = options.fresh}));
    for (auto& hypotheses : found) said.push_back(std::move(hypotheses.front().ids));
  } else {
    LETHE_ASSIGN_OR_RETURN(
        auto continued, GenerateContinuations(model, prompts, {.max_new_tokens = options.fresh}));
    for (auto& samples : continued) said.push_back(std::move(samples.front()));
  }
  return said;
}

void PrintDifference(const Said& ours, const Said& theirs) {
  size_t same = 0;
  for (size_t p = 0; p < ours.size(); ++p) same += ours[p] == theirs[p];
  std::printf("%-8s %ld of %ld texts are the same", "", same, ours.size());
  for (size_t p = 0; p < ours.size(); ++p) {
    if (ours[p] == theirs[p]) continue;
    const auto at = std::mismatch(ours[p].begin(), ours[p].end(), theirs[p].begin()).first;
    std::printf("; text %ld differs from token %ld on", p, at - ours[p].begin());
    break;
  }
  std::printf("\n");
}

absl::Status Compare(bool beams, const Decoder& model, const Options& options,
                     const std::vector<TokenIds>& prompts, Peer* peer) {
  const char* what = beams ? "beams" : "greedy";
  double ours = 1e99, theirs = 1e99;
  Said said, peer_said;
  for (int round = 0; round < options.rounds; ++round) {
    const double begin = Now();
    LETHE_ASSIGN_OR_RETURN(said, Continue(model, prompts, options, beams));
    ours = std::min(ours, Now() - begin);
    if (peer == nullptr) continue;
    LETHE_ASSIGN_OR_RETURN(const nlohmann::json answer, peer->Ask(what));
    theirs = std::min(theirs, answer.at("seconds").get<double>());
    peer_said = answer.at("ids").get<Said>();
  }
  const auto tokens = static_cast<double>(options.prompts * options.fresh);
  const double bytes = 4.0 * static_cast<double>(model.ParameterCount() * options.fresh);
  const auto print = [&](const char* who, double seconds) {
    std::printf("%-8s %-14s %10.3f %12.1f %10.2f\n", what, who, seconds, tokens / seconds,
                bytes / seconds * 1e-9);
  };
  print("lethe", ours);
  if (peer == nullptr) return absl::OkStatus();
  print("transformers", theirs);
  std::printf("%-8s lethe is %.2f times as fast\n", "", theirs / ours);
  PrintDifference(said, peer_said);
  return absl::OkStatus();
}

absl::Status Run(const Options& options) {
  LETHE_ASSIGN_OR_RETURN(const Device device,
                         OpenDevice({.device = "cpu", .threads = options.threads}));
  LETHE_ASSIGN_OR_RETURN(const ModelFolder folder, ModelFolder::Load(options.model, device));
  const std::vector<TokenIds> prompts = RandomPrompts(options, folder.model.config().vocab_size);
  std::unique_ptr<Peer> peer;
  if (options.peer) {
    const fs::path ids = fs::temp_directory_path() / ("lethe-generate-" + std::to_string(getpid()));
    std::ofstream(ids) << nlohmann::json(prompts) << std::flush;
    auto started = Peer::Start(
        "generate.py", {"--model", options.model, "--ids", ids.string(), "--threads",
                        std::to_string(device.threads), "--new", std::to_string(options.fresh),
                        "--beams", std::to_string(options.beams)});
    // It has read the file when it has answered.
    const absl::Status warm = started.ok() ? (*started)->Ask("greedy").status() : started.status();
    std::error_code ignored;
    fs::remove(ids, ignored);
    LETHE_RETURN_IF_ERROR(warm);
    peer = *std::move(started);
  }
  std::printf("%ld prompts of %ld tokens, %ld new ones each, %ld beams, fp32, %s, %d threads, %s\n",
              options.prompts, options.tokens, options.fresh, options.beams, options.model.c_str(),
              device.threads, device.cpu_capability.c_str());
  std::printf("memory read by one thread: %.1f GB/s\n", ReadSpeed() * 1e-9);
  std::printf("%-8s %-14s %10s %12s %10s\n", "", "", "seconds", "tokens/s", "GB/s");
  LETHE_RETURN_IF_ERROR(Compare(false, folder.model, options, prompts, peer.get()));
  return Compare(true, folder.model, options, prompts, peer.get());
}

}  // namespace
}  // namespace lethe

int main(int argc, char** argv) {
  lethe::LetThreadsSleep(argv);
  lethe::Options options;
  CLI::App app("Continuations beside Hugging Face transformers.", "bench_generate");
  app.add_option("--model", options.model, "Hugging Face folder")->required();
  app.add_option("--threads", options.threads, "CPU threads of both; 0: one a core");
  app.add_option("--rounds", options.rounds, "Measurements of each")->check(CLI::Range(1, 100));
  app.add_option("--prompts", options.prompts, "Side by side")->check(CLI::Range(1, 1000));
  app.add_option("--tokens", options.tokens, "Of a prompt")->check(CLI::Range(1, 1 << 20));
  app.add_option("--new", options.fresh, "New tokens")->check(CLI::Range(1, 1 << 20));
  app.add_option("--beams", options.beams, "Of the beam search")->check(CLI::Range(2, 1000));
  app.add_flag("!--no-peer", options.peer, "Leave transformers out");
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = lethe::Run(options);
  if (status.ok()) return 0;
  std::fprintf(stderr, "bench_generate: %s\n", std::string(status.message()).c_str());
  return 2;
}
