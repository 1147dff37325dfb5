// How good an estimate is: real unlearnings and verifications of different sizes beside what
// engine/estimate.h said of them.
//
//   bench_estimate                                a model trained here, on invented people
//   bench_estimate --model DIR --corpus FOLDER    any model; FOLDER as `lethe-engine synth` makes
//
// Each run is a process of its own, so that its largest resident set is its own. Two predictions
// stand beside what was measured: with the steps that the run then took, which judges the cost of a
// step and of all else, and the range that a preview would have given, steps and all.
// Limit      the pieces are predicted from constants that PrepareModel measured before; nothing is
//            fitted here.
// Proof      each run ended by its own rule or at --max-steps, and a candidate was attacked; else
//            the exit code is 1.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

#include "base/file.h"
#include "base/status.h"
#include "bench/peer.h"
#include "engine/attack.h"
#include "engine/synth_corpus.h"
#include "engine/train.h"
#include "engine/unlearn.h"
#include "text/tokenizer.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

struct Options {
  std::string model, corpus, preset;
  std::vector<int> sizes = {1, 4, 12};
  int threads = 0, train_steps = 500, max_steps = 0, holdout = 0;
};

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Runs `body` in a process of its own and reads the JSON that it returns. LibTorch's threads do not
// survive a fork, so the process that calls this must not have used it.
absl::StatusOr<json> InChild(const std::function<absl::StatusOr<json>()>& body) {
  int ends[2];
  if (pipe(ends) != 0) return Error(absl::StatusCode::kInternal, "NO_PIPE", "cannot open a pipe");
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    const absl::StatusOr<json> result = body();
    const std::string text =
        result.ok() ? result->dump() : "\"" + ErrorReason(result.status()) + "\"";
    const bool written =
        write(ends[1], text.data(), text.size()) == static_cast<ssize_t>(text.size());
    _exit(written && result.ok() ? 0 : 1);
  }
  close(ends[1]);
  std::string text(1 << 16, '\0');
  size_t length = 0;
  for (ssize_t n; (n = read(ends[0], text.data() + length, text.size() - length)) > 0;) length += n;
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) {
    return Error(absl::StatusCode::kInternal, "RUN_FAILED",
                 "a run failed: " + text.substr(0, length));
  }
  return json::parse(text.substr(0, length));
}

struct Data {
  std::vector<Sequence> forget, retain, holdout, other;
};

absl::StatusOr<Data> Load(const Options& options) {
  LETHE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Load(options.model));
  Data data;
  const fs::path corpus = options.corpus;
  LETHE_ASSIGN_OR_RETURN(data.forget, LoadSequences(corpus / "forget.jsonl", &tokenizer));
  LETHE_ASSIGN_OR_RETURN(data.retain, LoadSequences(corpus / "retain.jsonl", &tokenizer));
  LETHE_ASSIGN_OR_RETURN(data.holdout, LoadSequences(corpus / "holdout.jsonl", &tokenizer));
  LETHE_ASSIGN_OR_RETURN(data.other, LoadSequences(corpus / "other.jsonl", &tokenizer));
  if (options.holdout > 0)
    data.holdout.resize(std::min<size_t>(options.holdout, data.holdout.size()));
  return data;
}

// The demo's model: a small Llama trained from nothing until it knows the records by heart.
absl::StatusOr<json> MakeModel(const Options& options) {
  const SynthCorpus corpus = MakeSynthCorpus({.seed = 7, .forget = 12});
  LETHE_RETURN_IF_ERROR(WriteSynthCorpus(corpus, options.corpus));
  std::set<std::string> texts;
  for (const SynthText& text : corpus.train) texts.insert(text.text);
  const std::vector<std::string> list(texts.begin(), texts.end());
  LETHE_ASSIGN_OR_RETURN(const std::string json_text, TrainBpe(list, {.vocab_size = 1024}));
  LETHE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::FromJson(json_text));
  TrainRequest request{.config_json = SmallLlamaConfig(tokenizer.vocab_size(), 128),
                       .tokenizer_json = json_text,
                       .out_folder = options.model,
                       .steps = options.train_steps,
                       .seed = 7};
  LETHE_ASSIGN_OR_RETURN(request.device, OpenDevice({.device = "cpu", .threads = options.threads}));
  LETHE_ASSIGN_OR_RETURN(request.sequences, LoadSequences(fs::path(options.corpus) / "corpus.jsonl",
                                                          &tokenizer, {.max_tokens = 128}));
  LETHE_RETURN_IF_ERROR(Train(request).status());
  return json::object();
}

// The constants, and the thresholds for the runs.
struct Prepared {
  ModelCosts costs;
  ModelThresholds thresholds;
};

template <typename Visit>
void EachCost(Visit visit, ModelCosts& c) {
  visit("score_token_seconds", c.score_token_seconds);
  visit("train_token_seconds", c.train_token_seconds);
  visit("rollout_token_seconds", c.rollout_token_seconds);
  visit("generate_token_seconds", c.generate_token_seconds);
  visit("step_seconds", c.step_seconds);
  visit("load_seconds", c.load_seconds);
  visit("rollout_share", c.rollout_share);
  visit("weight_bytes", c.weight_bytes);
  visit("step_bytes", c.step_bytes);
  visit("token_bytes", c.token_bytes);
  visit("evaluation_bytes", c.evaluation_bytes);
}

absl::StatusOr<json> Prepare(const Options& options) {
  LETHE_ASSIGN_OR_RETURN(const Device device,
                         OpenDevice({.device = "cpu", .threads = options.threads}));
  LETHE_ASSIGN_OR_RETURN(const Data data, Load(options));
  LETHE_ASSIGN_OR_RETURN(PrepareResult made, PrepareModel({.model_folder = options.model,
                                                           .holdout = data.holdout,
                                                           .retain = data.retain,
                                                           .device = device}));
  json out = {{"seconds", made.run.seconds}};
  EachCost([&](const char* name, double& value) { out[name] = value; }, made.costs);
  const ModelThresholds& t = made.thresholds;
  out["thresholds"] = {t.ma, t.nll_mean, t.nll_sd, t.span_nll_mean, t.span_nll_sd, t.span_ma};
  for (const auto& [n, el] : t.el) out["el"][std::to_string(n)] = el;
  out["sequences"] = t.sequences;
  return out;
}

Prepared FromJson(const json& from) {
  Prepared prepared;
  EachCost([&](const char* name, double& value) { value = from.at(name); }, prepared.costs);
  ModelThresholds& t = prepared.thresholds;
  const std::vector<double> means = from.at("thresholds");
  t = {.ma = means[0],
       .nll_mean = means[1],
       .nll_sd = means[2],
       .span_nll_mean = means[3],
       .span_nll_sd = means[4],
       .span_ma = means[5],
       .sequences = from.at("sequences")};
  const json measured = from.value("el", json::object());
  for (const auto& [n, el] : measured.items()) t.el[std::stoi(n)] = el;
  return prepared;
}

// One unlearning and its verification, as worker and verifier do them.
absl::StatusOr<json> Unlearned(const Options& options, const ModelThresholds& thresholds, int size,
                               const fs::path& out) {
  LETHE_ASSIGN_OR_RETURN(const Device device,
                         OpenDevice({.device = "cpu", .threads = options.threads}));
  LETHE_ASSIGN_OR_RETURN(const Data data, Load(options));
  UnlearnRequest request{.base_folder = options.model,
                         .out_folder = out,
                         .forget = data.forget,
                         .retain = data.retain,
                         .watch = data.holdout,
                         .preset = options.preset,
                         .thresholds = thresholds,
                         .seed = 1,
                         .device = device};
  request.forget.resize(size);
  if (options.max_steps > 0) request.overrides["max_steps"] = options.max_steps;
  const double empty = MemoryNow(), begin = Now();
  LETHE_ASSIGN_OR_RETURN(const UnlearnResult made, Unlearn(request));
  const double unlearned = Now(), memory = PeakMemory() - empty;
  AttackRequest attack{.base_folder = options.model,
                       .candidate_folder = out,
                       .forgotten = request.forget,
                       .control = data.holdout,
                       .texts = {{"control", data.holdout}, {"retain", data.retain}},
                       .plan = DefaultPlan(),
                       .seed = 1,
                       .device = device};
  if (attack.control.size() > kMaxControl) attack.control.resize(kMaxControl);
  if (!data.other.empty()) attack.texts.push_back({"other", data.other});
  LETHE_ASSIGN_OR_RETURN(const AttackReport report, RunAttacks(attack));
  int64_t asked = 0;
  for (const StepRecord& record : made.records) asked += record.el >= 0;
  return json{
      {"unlearn", unlearned - begin},    {"verify", Now() - unlearned},  {"memory", memory},
      {"steps", made.run.steps},         {"stop", made.run.stop_reason}, {"el_asked", asked},
      {"attacks", report.attacks.size()}};
}

Workload WorkOf(const Options& options, const Data& data, int size) {
  const MethodEntry& method = Methods().front();
  const PresetEntry& preset = *FindPreset(method, options.preset);
  ParameterValues parameters = ResolveParameters(method.parameters, preset.values, {});
  if (options.max_steps > 0) parameters["max_steps"] = options.max_steps;
  return {.forget = SizeOf(std::span(data.forget).first(size)),
          .retain = SizeOf(data.retain),
          .holdout = SizeOf(data.holdout),
          .others = SizeOf(data.other),
          .parameters = parameters,
          .steps = ExpectedSteps(preset, parameters, size, {}),
          .attacks = DefaultAttacks()};
}

void PrintCosts(const json& costs) {
  std::printf("measured when prepared, in %.1f s:\n", costs.at("seconds").get<double>());
  for (const auto& [name, value] : costs.items()) {
    if (!value.is_structured() && name != "seconds" && name != "sequences") {
      std::printf("  %-24s %s\n", name.c_str(), value.dump().c_str());
    }
  }
}

void PrintRow(int size, const Estimate& known, const Estimate& before, const json& run) {
  const double unlearn = run.at("unlearn"), verify = run.at("verify"), memory = run.at("memory");
  const double whole = unlearn + verify;
  const double low = before.unlearn.low + before.verify.low;
  const double high = before.unlearn.high + before.verify.high;
  std::printf(
      "%5d %5ld %4ld  %8.1f %8.1f %5.2f  %8.1f %8.1f %5.2f  %7.0f %7.0f %5.2f  %6.0f %6.0f %6.0f "
      "%s\n",
      size, run.at("steps").get<int64_t>(), run.at("el_asked").get<int64_t>(),
      known.unlearn.typical, unlearn, unlearn / known.unlearn.typical, known.verify.typical, verify,
      verify / known.verify.typical, known.device_bytes / 1e6, memory / 1e6,
      memory / known.device_bytes, low, before.unlearn.typical + before.verify.typical, high,
      low <= whole && whole <= high ? "inside" : "OUTSIDE");
  std::fflush(stdout);
}

absl::StatusOr<int> Run(Options options) {
  const fs::path folder =
      fs::temp_directory_path() / ("lethe-estimate-" + std::to_string(getpid()));
  fs::create_directories(folder);
  struct Remover {
    const fs::path& folder;
    ~Remover() {
      std::error_code ignored;
      fs::remove_all(folder, ignored);
    }
  } remover{folder};
  if (options.model.empty()) {
    options.model = folder / "model";
    options.corpus = folder / "corpus";
    LETHE_RETURN_IF_ERROR(InChild([&] { return MakeModel(options); }).status());
  }
  LETHE_ASSIGN_OR_RETURN(const Data data, Load(options));
  LETHE_ASSIGN_OR_RETURN(const json costs, InChild([&] { return Prepare(options); }));
  PrintCosts(costs);
  const Prepared prepared = FromJson(costs);
  std::printf(
      "\n%5s %5s %4s  %23s  %23s  %21s  %s\n%5s %5s %4s  %8s %8s %5s  %8s %8s %5s  %7s %7s %5s  "
      "%6s %6s %6s\n",
      "", "", "EL", "unlearning, seconds", "verification, seconds", "memory, MB",
      "said before, seconds", "texts", "steps", "askd", "expected", "took", "ratio", "expected",
      "took", "ratio", "expect", "took", "ratio", "low", "typical", "high");
  bool sound = true;
  for (const int size : options.sizes) {
    if (size > static_cast<int>(data.forget.size())) continue;
    LETHE_ASSIGN_OR_RETURN(const json run, InChild([&] {
                             return Unlearned(options, prepared.thresholds, size,
                                              folder / ("candidate-" + std::to_string(size)));
                           }));
    Workload work = WorkOf(options, data, size);
    const Estimate before = EstimateWork(prepared.costs, work);
    const double steps = run.at("steps").get<double>();
    work.steps = {steps, steps, steps};
    PrintRow(size, EstimateWork(prepared.costs, work), before, run);
    sound &= !run.at("stop").get<std::string>().empty() && run.at("attacks").get<int>() > 0;
  }
  return sound ? 0 : 1;
}

}  // namespace
}  // namespace lethe

int main(int argc, char** argv) {
  using namespace lethe;
  LetThreadsSleep(argv);
  Options options;
  CLI::App app("Estimates of unlearnings beside what they take");
  app.add_option("--model", options.model, "Hugging Face folder; absent: a small one is trained");
  app.add_option("--corpus", options.corpus,
                 "folder with forget, retain, holdout and other.jsonl; with --model");
  app.add_option("--sizes", options.sizes, "texts to forget, a run for each")->delimiter(',');
  app.add_option("--preset", options.preset, "of gradient_ascent; absent: the first");
  app.add_option("--max-steps", options.max_steps, "at most so many steps a run; 0: the preset's");
  app.add_option("--holdout", options.holdout, "at most so many unseen texts; 0: all");
  app.add_option("--train-steps", options.train_steps, "of the model that is trained");
  app.add_option("--threads", options.threads, "0: as many as there are cores");
  CLI11_PARSE(app, argc, argv);
  const absl::StatusOr<int> code = Run(options);
  if (code.ok()) return *code;
  std::fprintf(stderr, "bench_estimate: %s\n", code.status().ToString().c_str());
  return 1;
}
