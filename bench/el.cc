// EL_10 of some sequences beside the published procedure, in the same run: the same weights and
// tokens, as many threads, in turns.
//
//   bench_el --model DIR --text corpus.jsonl    against transformers, one generate() a prefix
//
// Two kinds of text: unmemorised, the first sequences of the file; memorised, what the model itself
// says after their first ten tokens, which it recites without a mistake.
//
// The published procedure (Jang et al., ACL 2023) generates to the end from each prefix of each
// sequence, which takes hours on a model of any size: the peer does every `--stride`th prefix of
// one sequence after the other, and its time is that times the stride. With --stride 1 it does all,
// and EL_10 must come out the same.
//
// Limit      forward tokens: what a procedure feeds to the model, whatever the machine. They are
//            those of texts that are read, and those that were generated and are fed again; the
//            last of a text is not. The published procedure feeds (T-1)^2 a sequence: 39,601 of 200
//            tokens.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "bench/peer.h"
#include "engine/metric/memorisation.h"
#include "engine/model/generate.h"
#include "engine/model/model_folder.h"
#include "text/tokenizer.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kN = 10;
constexpr int64_t kPrompt = 10;

struct Options {
  std::string model, text;
  int threads = 0, rounds = 3;
  int64_t sequences = 8, tokens = 200, stride = 20;
  bool peer = true;
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

absl::StatusOr<std::vector<Sequence>> Unmemorised(const Options& options) {
  LETHE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Load(options.model));
  LETHE_ASSIGN_OR_RETURN(const std::vector<Sequence> all, LoadSequences(options.text, &tokenizer));
  std::vector<Sequence> chosen;
  for (const Sequence& s : all) {
    if (static_cast<int64_t>(chosen.size()) == options.sequences) break;
    if (static_cast<int64_t>(s.ids.size()) < options.tokens) continue;
    chosen.push_back({.ids = {s.ids.begin(), s.ids.begin() + options.tokens}});
  }
  if (static_cast<int64_t>(chosen.size()) == options.sequences) return chosen;
  return Error(absl::StatusCode::kInvalidArgument, "TOO_FEW_SEQUENCES",
               options.text + " has only " + std::to_string(chosen.size()) + " sequences of " +
                   std::to_string(options.tokens) + " tokens; ask for fewer or shorter ones");
}

absl::StatusOr<std::vector<Sequence>> Memorised(const Decoder& model, const Options& options,
                                                const std::vector<Sequence>& beginnings) {
  std::vector<TokenIds> prompts;
  for (const Sequence& s : beginnings) {
    prompts.emplace_back(s.ids.begin(), s.ids.begin() + kPrompt);
  }
  LETHE_ASSIGN_OR_RETURN(
      const auto said,
      GenerateContinuations(model, prompts, {.max_new_tokens = options.tokens - kPrompt}));
  std::vector<Sequence> recited;
  for (size_t i = 0; i < prompts.size(); ++i) {
    Sequence s{.ids = prompts[i]};
    s.ids.insert(s.ids.end(), said[i][0].begin(), said[i][0].end());
    recited.push_back(std::move(s));
  }
  return recited;
}

struct Ours {
  double seconds = 1e99;  // least
  double el = 0, ma = 0;  // means over the sequences
  int64_t read = 0, generated = 0;
  int64_t ties =
      0;  // each reads its text once more, in float64: among `seconds`, not in the counts
};

void PrintRow(const char* kind, const char* who, double seconds, int64_t read, int64_t generated,
              double el) {
  std::printf("%-12s %-14s %10.3f %10ld %10ld %10ld %10.4f", kind, who, seconds, read, generated,
              read + generated, el);
}

absl::Status Measure(const Decoder& model, const std::vector<Sequence>& sequences, Ours* ours) {
  const double begin = Now();
  LETHE_ASSIGN_OR_RETURN(const auto measured,
                         MeasureMemorisation(model, sequences, {.el_n = {kN}}));
  ours->seconds = std::min(ours->seconds, Now() - begin);
  ours->el = ours->ma = 0;
  ours->read = ours->generated = ours->ties = 0;
  for (size_t i = 0; i < measured.size(); ++i) {
    const Memorisation& m = measured[i];
    const auto tokens = static_cast<int64_t>(sequences[i].ids.size());
    ours->el += m.el.at(kN) / static_cast<double>(measured.size());
    ours->ma += m.ma / static_cast<double>(measured.size());
    ours->read += tokens;
    ours->generated += m.forward_tokens - tokens;
    ours->ties += m.ties;
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Compare(const char* kind, const Decoder& model, const Options& options,
                             int threads, const std::vector<Sequence>& sequences) {
  const fs::path ids = fs::temp_directory_path() / ("lethe-el-" + std::to_string(getpid()));
  nlohmann::json rows = nlohmann::json::array();
  for (const Sequence& s : sequences) rows.push_back(s.ids);
  std::ofstream(ids) << rows << std::flush;
  std::unique_ptr<Peer> peer;
  if (options.peer) {
    LETHE_ASSIGN_OR_RETURN(
        peer, Peer::Start("el.py", {"--model", options.model, "--ids", ids.string(), "--threads",
                                    std::to_string(threads), "--n", std::to_string(kN)}));
    LETHE_RETURN_IF_ERROR(peer->Ask("warm-up").status());
  }

  Ours ours;
  double peer_seconds = 0, peer_el = 0;
  int64_t peer_read = 0, peer_generated = 0;
  for (int round = 0; round < options.rounds; ++round) {
    LETHE_RETURN_IF_ERROR(Measure(model, sequences, &ours));
    if (peer == nullptr) continue;
    // Its share of the sequences in this round.
    for (size_t s = round; s < sequences.size(); s += options.rounds) {
      LETHE_ASSIGN_OR_RETURN(
          const nlohmann::json answer,
          peer->Ask("sequence " + std::to_string(s) + " " + std::to_string(options.stride)));
      peer_seconds += answer.at("seconds").get<double>() * static_cast<double>(options.stride);
      peer_el += answer.at("el").get<double>() / static_cast<double>(sequences.size());
      peer_read += answer.at("read").get<int64_t>();
      peer_generated += answer.at("generated").get<int64_t>();
    }
  }
  std::error_code ignored;
  fs::remove(ids, ignored);

  PrintRow(kind, "lethe", ours.seconds, ours.read, ours.generated, ours.el);
  std::printf(" %10.4f %6ld\n", ours.ma, ours.ties);
  if (peer == nullptr) return true;
  PrintRow("", "transformers", peer_seconds, peer_read, peer_generated, peer_el);
  std::printf("\n%-12s lethe is %.1f times as fast and feeds %.1f times fewer tokens\n", "",
              peer_seconds / ours.seconds,
              static_cast<double>(peer_read + peer_generated) /
                  static_cast<double>(ours.read + ours.generated));
  // transformers decides a tie in fp32, so that it may fall either way.
  return options.stride > 1 || std::abs(ours.el - peer_el) < 1e-3;
}

absl::StatusOr<int> Run(const Options& options) {
  LETHE_ASSIGN_OR_RETURN(const Device device,
                         OpenDevice({.device = "cpu", .threads = options.threads}));
  LETHE_ASSIGN_OR_RETURN(const ModelFolder folder, ModelFolder::Load(options.model, device));
  LETHE_ASSIGN_OR_RETURN(const std::vector<Sequence> unmemorised, Unmemorised(options));
  LETHE_ASSIGN_OR_RETURN(const std::vector<Sequence> memorised,
                         Memorised(folder.model, options, unmemorised));
  std::printf("EL_%ld of %ld sequences of %ld tokens, fp32, %s, %d threads, %s\n", kN,
              options.sequences, options.tokens, options.model.c_str(), device.threads,
              device.cpu_capability.c_str());
  if (options.peer) {
    std::printf("transformers: every %ldth prefix, its time times %ld\n", options.stride,
                options.stride);
  }
  std::printf("%-12s %-14s %10s %10s %10s %10s %10s %10s %6s\n", "text", "", "seconds", "read",
              "generated", "forward", "EL_10", "MA", "ties");
  LETHE_ASSIGN_OR_RETURN(const bool recited,
                         Compare("memorised", folder.model, options, device.threads, memorised));
  LETHE_ASSIGN_OR_RETURN(
      const bool read, Compare("unmemorised", folder.model, options, device.threads, unmemorised));
  if (recited && read) return 0;
  std::printf("EL_10 DIFFERS\n");
  return 1;
}

}  // namespace
}  // namespace lethe

int main(int argc, char** argv) {
  lethe::LetThreadsSleep(argv);
  lethe::Options options;
  CLI::App app("EL_10 beside the published procedure by Hugging Face transformers.", "bench_el");
  app.add_option("--model", options.model, "Hugging Face folder")->required();
  app.add_option("--text", options.text, "JSON Lines of text or ids")->required();
  app.add_option("--threads", options.threads, "CPU threads of both; 0: one a core");
  app.add_option("--rounds", options.rounds, "Measurements of ours, between the peer's sequences")
      ->check(CLI::Range(1, 100));
  app.add_option("--sequences", options.sequences, "Sequences of each kind")
      ->check(CLI::Range(1, 1000));
  app.add_option("--tokens", options.tokens, "Tokens of each")->check(CLI::Range(30, 1 << 20));
  app.add_option("--stride", options.stride, "The peer does every so many-th prefix")
      ->check(CLI::Range(1, 1000));
  app.add_flag("!--no-peer", options.peer, "Leave transformers out");
  CLI11_PARSE(app, argc, argv);
  const absl::StatusOr<int> code = lethe::Run(options);
  if (code.ok()) return *code;
  std::fprintf(stderr, "bench_el: %s\n", std::string(code.status().message()).c_str());
  return 2;
}
