// What a deletion costs when a corpus is trained in S shards of R slices, beside training it whole.
//
//   bench_slices                          S of 2, 4, 8 and R of 1, 4, 8
//   bench_slices --shards 4 --slices 4 --deletions 50
//
// A generated corpus of people, one record each, is sharded by an HMAC of the person and sliced by
// arrival. Each shard's model is trained slice by slice, all of it; then people drawn at random are
// deleted, each from the whole again, and their shard is trained on from the state before.
//
// Limit      of one deletion with slices of equal size: a shard of S, and in it on average the share
//            (2R + 1) / 3R of the work of its R stages, since stage r costs r times the first.
// Peer       training everything again, without shards and slices, in the same run.
// Touched    K deletions touch S (1 - (1 - 1/S)^K) shards on average: counted over random draws.
// Prints     steps of the optimizer, which do not hang on the machine, and seconds; the loss on
//            records that no model saw, and that of the mean of the shards' probabilities.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <numeric>
#include <set>

#include "base/digest.h"
#include "engine/evaluate.h"
#include "engine/seeded_generator.h"
#include "engine/synth_corpus.h"
#include "engine/train.h"
#include "engine/train_slices.h"
#include "text/tokenizer.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

struct Options {
  std::vector<int> shards = {2, 4, 8}, slices = {1, 4, 8};
  int people = 2000, deletions = 8, threads = 0, vocab_size = 1024, hidden = 64, layers = 2;
  double epochs = 3;
  uint64_t seed = 7;
  std::string folder;
};

// People in the order of their arrival, and some that no model sees.
struct Corpus {
  std::vector<Sequence> people, unseen;
  std::string tokenizer_json;
  int vocab_size = 0;
  int64_t tokens = 0;
};

// A shard's slices: places in Corpus::people.
using Slices = std::vector<std::vector<size_t>>;

absl::StatusOr<std::vector<Sequence>> Ids(const Tokenizer& tokenizer,
                                          const std::vector<SynthText>& texts) {
  std::vector<Sequence> out;
  for (const SynthText& text : texts) {
    LETHE_ASSIGN_OR_RETURN(Sequence s, SequenceFromText(tokenizer, text.text, {}, {}));
    out.push_back(std::move(s));
  }
  return out;
}

absl::StatusOr<Corpus> MakeCorpus(const Options& options) {
  const SynthCorpus made = MakeSynthCorpus({.seed = options.seed,
                                            .forget = 0,
                                            .famous = 0,
                                            .retain = options.people,
                                            .holdout = 200,
                                            .background = 0,
                                            .other = 0});
  std::vector<std::string> texts;
  for (const SynthText& text : made.train) texts.push_back(text.text);
  Corpus corpus;
  LETHE_ASSIGN_OR_RETURN(corpus.tokenizer_json,
                         TrainBpe(texts, {.vocab_size = options.vocab_size}));
  LETHE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::FromJson(corpus.tokenizer_json));
  corpus.vocab_size = tokenizer.vocab_size();
  LETHE_ASSIGN_OR_RETURN(corpus.people, Ids(tokenizer, made.train));
  LETHE_ASSIGN_OR_RETURN(corpus.unseen, Ids(tokenizer, made.holdout));
  for (const Sequence& s : corpus.people) corpus.tokens += static_cast<int64_t>(s.ids.size());
  return corpus;
}

size_t ShardOf(size_t person, size_t shards, uint64_t seed) {
  const std::string digest =
      HmacSha256Hex("bench " + std::to_string(seed), "person " + std::to_string(person));
  return std::stoull(digest.substr(0, 15), nullptr, 16) % shards;
}

std::vector<Slices> Split(size_t people, int shards, int slices, uint64_t seed) {
  std::vector<std::vector<size_t>> members(static_cast<size_t>(shards));
  for (size_t i = 0; i < people; ++i) members[ShardOf(i, members.size(), seed)].push_back(i);
  std::vector<Slices> out;
  for (const auto& list : members) {
    Slices cut(static_cast<size_t>(slices));
    for (size_t i = 0; i < list.size(); ++i) cut[i * cut.size() / list.size()].push_back(list[i]);
    out.push_back(std::move(cut));
  }
  return out;
}

TrainSlicesRequest RequestFor(const Options& options, const Corpus& corpus, const Slices& slices,
                              const fs::path& states, uint64_t seed) {
  TrainSlicesRequest request{
      .states_folder = states,
      .config_json = SmallLlamaConfig(corpus.vocab_size, 256, options.hidden, options.layers),
      .tokenizer_json = corpus.tokenizer_json,
      .epochs = options.epochs,
      .batch_tokens = 1024,
      .seed = seed,
      .device = {.threads = options.threads}};
  for (const std::vector<size_t>& slice : slices) {
    std::string places;
    for (const size_t i : slice) places += std::to_string(i) + ",";
    request.slices.push_back(
        {.digest = Sha256Hex(places),
         .sequences = {.size = slice.size(),
                       .read = [&corpus, &slice](size_t i) { return corpus.people[slice[i]]; }}});
  }
  return request;
}

struct Cost {
  double steps = 0, seconds = 0;
  Cost& operator+=(const TrainSlicesResult& result) {
    steps += static_cast<double>(result.run.steps);
    seconds += result.run.seconds;
    return *this;
  }
};

// NLL a token of unseen records: each shard's model alone on average, and the ensemble of all, whose
// probability of a token is the mean of theirs.
struct Loss {
  double alone = 0, together = 0;
};

absl::StatusOr<Loss> Measure(const std::vector<fs::path>& models, const Corpus& corpus,
                             const Options& options) {
  std::vector<double> sums;
  double alone = 0;
  for (const fs::path& model : models) {
    LETHE_ASSIGN_OR_RETURN(const EvaluateResult result,
                           Evaluate({.model_folder = model,
                                     .sequences = corpus.unseen,
                                     .token_log_probs = true,
                                     .device = {.threads = options.threads}}));
    size_t at = 0;
    for (const SequenceEvaluation& s : result.sequences) {
      for (const double log_prob : s.log_probs) {
        if (sums.size() <= at) sums.push_back(0);
        sums[at++] += std::exp(log_prob);
        alone -= log_prob;
      }
    }
  }
  const auto count = static_cast<double>(models.size());
  const auto tokens = static_cast<double>(sums.size());
  double together = 0;
  for (const double sum : sums) together -= std::log(sum / count);
  return Loss{.alone = alone / count / tokens, .together = together / tokens};
}

struct Whole {
  Cost cost;
  double loss = 0;
};

absl::StatusOr<Whole> TrainWhole(const Options& options, const Corpus& corpus) {
  const std::vector<Slices> one = Split(corpus.people.size(), 1, 1, options.seed);
  LETHE_ASSIGN_OR_RETURN(
      const TrainSlicesResult result,
      TrainSlices(RequestFor(options, corpus, one[0], fs::path(options.folder) / "whole", 1)));
  Whole whole;
  whole.cost += result;
  LETHE_ASSIGN_OR_RETURN(const Loss loss,
                         Measure({result.states.back().model_folder}, corpus, options));
  whole.loss = loss.together;
  return whole;
}

// One deletion: the person's shard, trained on from the state before their slice.
absl::StatusOr<TrainSlicesResult> Delete(const Options& options, const Corpus& corpus,
                                         Slices slices, size_t person, const fs::path& states,
                                         uint64_t seed) {
  for (auto& slice : slices)
    slice.erase(std::remove(slice.begin(), slice.end(), person), slice.end());
  return TrainSlices(RequestFor(options, corpus, slices, states, seed));
}

absl::Status Row(const Options& options, const Corpus& corpus, const Whole& whole, int shards,
                 int slices) {
  const std::vector<Slices> split = Split(corpus.people.size(), shards, slices, options.seed);
  const fs::path folder =
      fs::path(options.folder) / (std::to_string(shards) + "x" + std::to_string(slices));
  Cost all;
  std::vector<fs::path> models;
  for (size_t m = 0; m < split.size(); ++m) {
    LETHE_ASSIGN_OR_RETURN(
        const TrainSlicesResult result,
        TrainSlices(RequestFor(options, corpus, split[m], folder / std::to_string(m), m)));
    all += result;
    models.push_back(result.states.back().model_folder);
  }
  LETHE_ASSIGN_OR_RETURN(const Loss loss, Measure(models, corpus, options));
  SeededGenerator random(options.seed + 1);
  Cost deletions;
  for (int i = 0; i < options.deletions; ++i) {
    const size_t person = random.Below(corpus.people.size());
    const size_t m = ShardOf(person, split.size(), options.seed);
    LETHE_ASSIGN_OR_RETURN(const TrainSlicesResult result, Delete(options, corpus, split[m], person,
                                                                  folder / std::to_string(m), m));
    deletions += result;
  }
  fs::remove_all(folder);
  const double expected = (2.0 * slices + 1) / (3.0 * slices) / shards;
  const double steps = deletions.steps / options.deletions / whole.cost.steps;
  const double seconds = deletions.seconds / options.deletions / whole.cost.seconds;
  std::printf("%6d %6d %9.0f %8.1f %13.3f %12.3f %12.3f %10.3f %9.3f\n", shards, slices, all.steps,
              all.seconds, expected, steps, seconds, loss.alone, loss.together);
  std::fflush(stdout);
  return absl::OkStatus();
}

// Shards that K people drawn without repeats stand in, on average over draws.
void PrintTouched(const Options& options, size_t people) {
  constexpr int kDraws = 2000;
  std::printf("\nshards that K deletions touch, counted over %d draws / S (1 - (1 - 1/S)^K)\n",
              kDraws);
  std::printf("%6s", "S");
  for (const int k : {1, 2, 5, 10, 20, 50}) std::printf("     K = %-3d     ", k);
  std::printf("\n");
  SeededGenerator random(options.seed + 2);
  std::vector<size_t> order(people);
  std::iota(order.begin(), order.end(), size_t{0});
  for (const int shards : options.shards) {
    std::printf("%6d", shards);
    for (const int k : {1, 2, 5, 10, 20, 50}) {
      double touched = 0;
      for (int draw = 0; draw < kDraws; ++draw) {
        std::set<size_t> seen;
        for (int i = 0; i < k; ++i) {
          const auto at = static_cast<size_t>(i);
          std::swap(order[at], order[at + random.Below(people - at)]);
          seen.insert(ShardOf(order[at], static_cast<size_t>(shards), options.seed));
        }
        touched += static_cast<double>(seen.size());
      }
      std::printf("   %5.3f / %5.3f ", touched / kDraws,
                  shards * (1 - std::pow(1 - 1.0 / shards, k)));
    }
    std::printf("\n");
  }
}

absl::Status Run(const Options& options) {
  LETHE_ASSIGN_OR_RETURN(const Corpus corpus, MakeCorpus(options));
  std::printf(
      "%zu people, %lld tokens; Llama of %d layers of %d, %.3g epochs; %d deletions a row, seed "
      "%llu\n",
      corpus.people.size(), static_cast<long long>(corpus.tokens), options.layers, options.hidden,
      options.epochs, options.deletions, static_cast<unsigned long long>(options.seed));
  LETHE_ASSIGN_OR_RETURN(const Whole whole, TrainWhole(options, corpus));
  std::printf(
      "everything again, without shards and slices: %.0f steps, %.1f s; unseen records %.3f "
      "nats a token\n\n",
      whole.cost.steps, whole.cost.seconds, whole.loss);
  std::printf("%6s %6s %9s %8s %13s %12s %12s %10s %9s\n", "", "", "all", "", "one deletion / all",
              "", "", "unseen", "");
  std::printf("%6s %6s %9s %8s %13s %12s %12s %10s %9s\n", "S", "R", "steps", "s", "expected",
              "steps", "seconds", "alone", "ensemble");
  for (const int shards : options.shards) {
    for (const int slices : options.slices) {
      LETHE_RETURN_IF_ERROR(Row(options, corpus, whole, shards, slices));
    }
  }
  PrintTouched(options, corpus.people.size());
  return absl::OkStatus();
}

}  // namespace
}  // namespace lethe

int main(int argc, char** argv) {
  lethe::Options options;
  CLI::App app("The cost of a deletion in a corpus of shards and slices.");
  app.add_option("--shards", options.shards, "S, one or several")->delimiter(',');
  app.add_option("--slices", options.slices, "R, one or several")->delimiter(',');
  app.add_option("--people", options.people)->check(CLI::Range(100, 1000000));
  app.add_option("--deletions", options.deletions, "people, in each row")
      ->check(CLI::Range(1, 10000));
  app.add_option("--epochs", options.epochs)->check(CLI::PositiveNumber);
  app.add_option("--hidden", options.hidden)->check(CLI::Range(32, 4096));
  app.add_option("--layers", options.layers)->check(CLI::Range(1, 64));
  app.add_option("--threads", options.threads, "CPU threads; 0: one a core");
  app.add_option("--seed", options.seed);
  app.add_option("--folder", options.folder, "for states; default: a temporary one");
  CLI11_PARSE(app, argc, argv);
  const bool temporary = options.folder.empty();
  if (temporary) {
    std::string name = (std::filesystem::temp_directory_path() / "bench-slices-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) return std::perror("mkdtemp"), 1;
    options.folder = name;
  }
  const absl::Status status = lethe::Run(options);
  std::error_code ignored;
  if (temporary) std::filesystem::remove_all(options.folder, ignored);
  if (status.ok()) return 0;
  std::fprintf(stderr, "bench_slices: %s\n", std::string(status.message()).c_str());
  return 1;
}
