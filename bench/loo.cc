// Leave-one-out distillation beside gradient ascent, hard labels and exact retraining: secrets that
// come out against perplexity, as Liu & Kalinli (ICASSP 2024) draw it.
//
//   bench_loo --seeds 1-5 --out loo.jsonl                 runs, and prints a line for each look
//   bench_loo --read loo.jsonl --svg docs/loo.svg         the tables and the picture of what has run
//   bench_loo --sequential --seeds 1 --out tickets.jsonl  tickets one after another, and in batches
//   bench_loo --seeds 1 --methods loo,ascent --folder models    models are kept and found again
//
// A generated corpus (loo_corpus.h) trains the deployed model, a teacher a shard, and the deployed
// model again without a third of the people with secrets. Each method then forgets that third in one
// run and is measured along it (loo_methods.h, loo_measure.h). Seeds and methods may run in processes
// of their own, with one --folder; --read takes the files of all. Each run belongs there once.
//
// Limit      training again: what a model that never saw the forgotten says by chance.
// Peer       the methods are one another's, on the same model, people and attacks.
// Tables     for each method the rise in log-perplexity when extraction has fallen to shares of what
//            it was, and how much more that is than leave-one-out's: a paired difference over seeds
//            with Student's interval of 95 % (loo_summary.h).
// Exit code  1 of --read, where a deployed model says fewer than half of the secrets told most often,
//            or one trained again says some: the figures would mean nothing.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "base/file.h"
#include "bench/loo_methods.h"
#include "bench/loo_plot.h"
#include "bench/loo_points.h"
#include "bench/loo_sequential.h"
#include "bench/loo_summary.h"

namespace lethe::loo {
namespace {

namespace fs = std::filesystem;

struct Options {
  CorpusOptions corpus;
  ModelOptions models;
  std::string seeds = "1", methods;
  int64_t steps = 210;
  int threads = 0;
  bool sequential = false;
  int tickets = 100;
  std::vector<int> batches = {1, 10, 100};
  int64_t job_steps = 0;
  fs::path out, folder, svg;
  std::vector<fs::path> read;
};

// "1-5" or "2" or "1,4".
std::vector<int> Seeds(const std::string& text) {
  std::vector<int> seeds;
  for (const std::string& part : CLI::detail::split(text, ',')) {
    const size_t dash = part.find('-');
    const int first = std::stoi(part.substr(0, dash));
    const int last = dash == std::string::npos ? first : std::stoi(part.substr(dash + 1));
    for (int seed = first; seed <= last; ++seed) seeds.push_back(seed);
  }
  return seeds;
}

// Prints each look and keeps it.
class Notes {
 public:
  Notes(int seed, fs::path out) : seed_(seed), out_(std::move(out)) {}

  Take Of(const std::string& run) {
    if (!headed_) {
      std::printf("%4s %-13s %5s %6s %6s %6s %6s %6s %6s %6s %6s %8s %8s %6s\n", "seed", "run",
                  "step", "beam", "x16", "x4", "x1", "drawn", "exp16", "exp4", "exp1", "retained",
                  "held out", "kept");
      headed_ = true;
    }
    return [this, run](int64_t step, Figures f) {
      std::printf(
          "%4d %-13s %5lld %6.3f %6.3f %6.3f %6.3f %6.3f %6.1f %6.1f %6.1f %8.3f %8.3f %6.2f\n",
          seed_, run.c_str(), static_cast<long long>(step), f["beam"], f["beam_16"], f["beam_4"],
          f["beam_1"], f["drawn"], f["exposure_16"], f["exposure_4"], f["exposure_1"],
          f["retained"], f["held_out"], f["kept_beam"]);
      std::fflush(stdout);
      Keep(PointLine(seed_, run, {.step = static_cast<double>(step), .figures = std::move(f)}));
    };
  }
  Take OfTickets(const std::string& run) {
    if (!headed_) {
      std::printf("%4s %-17s %5s %6s %6s %6s %8s %8s %6s %5s %5s %5s %5s\n", "seed", "run", "done",
                  "beam", "drawn", "coming", "retained", "held out", "steps", "jobs", "rule",
                  "most", "other");
      headed_ = true;
    }
    return [this, run](int64_t done, Figures f) {
      std::printf("%4d %-17s %5lld %6.3f %6.3f %6.3f %8.3f %8.3f %6.0f %5.0f %5.0f %5.0f %5.0f\n",
                  seed_, run.c_str(), static_cast<long long>(done), f["done_beam"], f["done_drawn"],
                  f["coming_beam"], f["retained"], f["held_out"], f["steps"], f["jobs"],
                  f["ended_by_rule"], f["at_max_steps"], f["stalled"] + f["refused"]);
      std::fflush(stdout);
      Keep(PointLine(seed_, run, {.step = static_cast<double>(done), .figures = std::move(f)}));
    };
  }
  void Keep(const std::string& line) {
    if (status_.ok()) status_ = AppendLine(out_, line);
  }
  const absl::Status& status() const { return status_; }

 private:
  const int seed_;
  const fs::path out_;
  bool headed_ = false;
  absl::Status status_;
};

void PrintSetUp(const Options& options, const Corpus& corpus) {
  std::printf(
      "%d people with a secret of %d digits, told 1, 4 and 16 times, %zu of them forgotten; %d "
      "others, %d texts of a grammar; %lld tokens of a vocabulary of %d\n"
      "Llama of %d layers of %d, %.3g epochs of batches of %lld tokens at %.3g; %d teachers of %d, "
      "a shard each, %.3g epochs\n\n",
      options.corpus.people, options.corpus.secret_digits, corpus.forgotten.size(),
      options.corpus.others, options.corpus.background, static_cast<long long>(corpus.tokens),
      corpus.vocab_size, options.models.layers, options.models.hidden, options.models.epochs,
      static_cast<long long>(options.models.batch_tokens), options.models.learning_rate,
      options.corpus.shards, options.models.teacher_hidden, options.models.teacher_epochs);
}

Figures SetUp(const Options& options, const Corpus& corpus) {
  return {{"people", options.corpus.people},
          {"forgotten", static_cast<double>(corpus.forgotten.size())},
          {"others", options.corpus.others},
          {"background", options.corpus.background},
          {"tokens", static_cast<double>(corpus.tokens)},
          {"vocab_size", corpus.vocab_size},
          {"shards", options.corpus.shards},
          {"hidden", options.models.hidden},
          {"layers", options.models.layers},
          {"epochs", options.models.epochs},
          {"teacher_hidden", options.models.teacher_hidden},
          {"secret_digits", options.corpus.secret_digits},
          {"teacher_epochs", options.models.teacher_epochs},
          {"learning_rate", options.models.learning_rate},
          {"batch_tokens", static_cast<double>(options.models.batch_tokens)},
          {"max_steps", static_cast<double>(options.steps)}};
}

// Whether a list by commas has the name; an empty one has all.
bool Names(const std::string& list, const std::string& name) {
  const auto names = CLI::detail::split(list, ',');
  return list.empty() || std::find(names.begin(), names.end(), name) != names.end();
}

absl::Status Curves(const Options& options, const ModelOptions& recipe, const Setting& setting,
                    Notes& notes) {
  const auto named = [&](const char* name) { return Names(options.methods, name); };
  if (named("base")) {
    LETHE_RETURN_IF_ERROR(MeasureModel(setting, setting.models.base, notes.Of("base")));
  }
  for (size_t t = 0; named("teachers") && t < setting.models.teachers.size(); ++t) {
    LETHE_RETURN_IF_ERROR(MeasureModel(setting, setting.models.teachers[t].folder,
                                       notes.Of("teacher_" + std::to_string(t))));
  }
  for (const MethodRow& row : Methods()) {
    if (!named(row.name)) continue;
    LETHE_RETURN_IF_ERROR(RunCurve(row, setting, options.steps, notes.Of(row.name)));
  }
  if (!named("retrained")) return notes.status();
  LETHE_ASSIGN_OR_RETURN(const fs::path retrained, TrainWithout(setting.corpus, recipe));
  LETHE_RETURN_IF_ERROR(MeasureModel(setting, retrained, notes.Of("retrained")));
  return notes.status();
}

absl::Status Sequential(const Options& options, const Setting& setting, Notes& notes) {
  for (const MethodRow& row : Methods()) {
    if (!Names(options.methods.empty() ? kTicketMethods : options.methods, row.name)) continue;
    for (const int batch : options.batches) {
      LETHE_RETURN_IF_ERROR(
          RunTickets(row, setting,
                     {.tickets = options.tickets, .batch = batch, .max_steps = options.job_steps},
                     notes.OfTickets(TicketRun(row.name, batch))));
    }
  }
  return notes.status();
}

absl::Status RunSeed(const Options& options, int seed, const Device& device) {
  CorpusOptions sizes = options.corpus;
  sizes.seed = static_cast<uint64_t>(seed);
  LETHE_ASSIGN_OR_RETURN(const Corpus corpus, MakeCorpus(sizes));
  PrintSetUp(options, corpus);
  ModelOptions recipe = options.models;
  recipe.folder = options.folder / ("seed-" + std::to_string(seed));
  recipe.seed = static_cast<uint64_t>(seed);
  recipe.device = device;
  LETHE_ASSIGN_OR_RETURN(const Models models, TrainModels(corpus, recipe));
  LETHE_ASSIGN_OR_RETURN(const Probe probe, Probe::Make(corpus));
  const Setting setting{.corpus = corpus,
                        .models = models,
                        .probe = probe,
                        .device = device,
                        .seed = static_cast<uint64_t>(seed)};
  Notes notes(seed, options.out);
  notes.Keep(SetUpLine(seed, SetUp(options, corpus)));
  return options.sequential ? Sequential(options, setting, notes)
                            : Curves(options, recipe, setting, notes);
}

// What has run, in whatever processes.
absl::Status Summarise(const Options& options) {
  LETHE_ASSIGN_OR_RETURN(const Points points, ReadPoints(options.read));
  const bool curves = points.runs.contains("base");
  if (curves) PrintSummary(points);
  PrintTickets(points);
  if (!options.svg.empty()) {
    LETHE_RETURN_IF_ERROR(WriteFileAtomically(
        options.svg, curves && !options.sequential ? DrawCurves(points) : DrawTickets(points)));
  }
  const std::string wrong = WhatIsWrong(points);
  if (wrong.empty()) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "NO_POWER", wrong);
}

absl::Status Run(const Options& options) {
  if (!options.read.empty()) return Summarise(options);
  LETHE_ASSIGN_OR_RETURN(const Device device,
                         OpenDevice({.device = "cpu", .threads = options.threads}));
  for (const int seed : Seeds(options.seeds)) {
    LETHE_RETURN_IF_ERROR(RunSeed(options, seed, device));
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace lethe::loo

int main(int argc, char** argv) {
  lethe::LetThreadsSleep(argv);
  lethe::loo::Options options;
  CLI::App app("Secrets that come out against perplexity, method by method.");
  app.add_option("--seeds", options.seeds, "1-5, or 1,3");
  app.add_option("--methods", options.methods,
                 "names of loo_methods.cc, base, teachers, retrained, by commas; default: all");
  app.add_option("--steps", options.steps, "at most, of each run")->check(CLI::Range(1, 100000));
  app.add_flag("--sequential", options.sequential,
               "tickets one after another and in batches, in place of the curves");
  app.add_option("--tickets", options.tickets)->check(CLI::Range(10, 100000));
  app.add_option("--batches", options.batches, "tickets of a job")->delimiter(',');
  app.add_option("--job-steps", options.job_steps, "at most, of a job; 0: the preset's");
  app.add_option("--out", options.out, "lines of JSON are appended to it");
  app.add_option("--read", options.read,
                 "files of --out: runs nothing, prints what they say together");
  app.add_option("--svg", options.svg, "with --read: the picture");
  app.add_option("--people", options.corpus.people)->check(CLI::Range(12, 100000));
  app.add_option("--others", options.corpus.others)->check(CLI::Range(400, 1000000));
  app.add_option("--background", options.corpus.background)->check(CLI::Range(400, 10000000));
  app.add_option("--vocab", options.corpus.vocab_size)->check(CLI::Range(256, 65536));
  app.add_option("--shards", options.corpus.shards)->check(CLI::Range(2, 64));
  app.add_option("--hidden", options.models.hidden)->check(CLI::Range(32, 4096));
  app.add_option("--teacher-hidden", options.models.teacher_hidden)->check(CLI::Range(32, 4096));
  app.add_option("--secret-digits", options.corpus.secret_digits)->check(CLI::IsMember({4, 8}));
  app.add_option("--layers", options.models.layers)->check(CLI::Range(1, 64));
  app.add_option("--epochs", options.models.epochs)->check(CLI::PositiveNumber);
  app.add_option("--teacher-epochs", options.models.teacher_epochs)->check(CLI::PositiveNumber);
  app.add_option("--learning-rate", options.models.learning_rate)->check(CLI::PositiveNumber);
  app.add_option("--batch-tokens", options.models.batch_tokens)->check(CLI::Range(64, 1 << 20));
  app.add_option("--threads", options.threads, "CPU threads; 0: one a core");
  app.add_option("--folder", options.folder, "where models are kept; default: a temporary one");
  CLI11_PARSE(app, argc, argv);
  const bool temporary = options.folder.empty();
  if (temporary) {
    std::string name = (std::filesystem::temp_directory_path() / "bench-loo-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) return std::perror("mkdtemp"), 1;
    options.folder = name;
  }
  const absl::Status status = lethe::loo::Run(options);
  std::error_code ignored;
  if (temporary) std::filesystem::remove_all(options.folder, ignored);
  if (status.ok()) return 0;
  std::fprintf(stderr, "bench_loo: %s\n", std::string(status.message()).c_str());
  return 1;
}
